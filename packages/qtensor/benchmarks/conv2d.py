"""int8 convolution beside fbgemm, ONNX Runtime and float: ``python benchmarks/conv2d.py``."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from _peer import (
    AMAX,
    SECONDS,
    kaiming_weight,
    onnx_operator,
    onnx_parameters,
    onnx_weight,
    peer_input,
    peer_weight,
    thread_counts,
)
from torch import Tensor

from qtensor._ops.conv import conv2d
from qtensor._packing import PackedWeights, schedule_stats
from quintet_testing.bench import Table, compare, threads

SHAPES = (  # N, C, H = W, O, kernel, stride, groups
    (1, 64, 56, 64, 3, 1, 1),
    (1, 256, 14, 256, 3, 1, 1),
    (1, 64, 56, 256, 1, 1, 1),
    (1, 3, 224, 64, 7, 2, 1),
    (1, 512, 7, 512, 3, 1, 1),
    (1, 96, 56, 96, 3, 1, 96),
    (1, 96, 56, 96, 5, 1, 96),
    # Neighbours, which nothing was tuned for.
    (1, 128, 28, 128, 3, 1, 1),
    (2, 48, 40, 80, 3, 2, 1),
    (1, 256, 28, 96, 1, 1, 1),
    (1, 144, 28, 144, 3, 1, 144),
    (1, 144, 28, 144, 5, 2, 144),
    (1, 96, 112, 96, 3, 2, 96),
    (1, 960, 7, 960, 3, 1, 960),
    (1, 16, 112, 16, 3, 1, 16),
)


def candidates(
    n: int, c: int, size: int, o: int, kernel: int, stride: int, groups: int, amax: int
) -> tuple[dict[str, Callable[[], Tensor]], Tensor]:
    """Ours and the peers' calls, and the weight they share."""
    weight, scales = kaiming_weight(o, c // groups, kernel, kernel)
    bias = torch.randn(o)
    input = torch.randint(0, amax + 1, (n, c, size, size)).to(torch.uint8)
    input = input.contiguous(memory_format=torch.channels_last)
    input_scale, output_scale, cache = 4 / amax, 0.05, PackedWeights()
    strides, padding, dilation = (stride, stride), (kernel // 2, kernel // 2), (1, 1)
    geometry = (strides, padding, dilation, groups)
    output = (output_scale, 60, 0, 255, torch.uint8)

    def ours() -> Tensor:
        parameters = (input_scale, 30, weight, scales, None, bias)
        return conv2d(input, *parameters, *geometry, "zeros", *output, cache=cache)

    packed = torch.ops.quantized.conv2d_prepack(peer_weight(weight, scales), bias, *geometry)
    quantized = peer_input(input, input_scale, 30)

    def fbgemm() -> Tensor:
        return torch.ops.quantized.conv2d(quantized, packed, output_scale, 60)

    real_weight = (weight * scales.view(-1, 1, 1, 1)).contiguous(memory_format=torch.channels_last)
    real_input = input.float()

    def real() -> Tensor:
        return F.conv2d(real_input, real_weight, bias, *geometry)

    operands = [input.permute(0, 2, 3, 1).contiguous(), *onnx_parameters(input_scale, 30)]
    operands += onnx_weight(weight, scales)
    operands += onnx_parameters(output_scale, 60)
    operands.append((bias / (scales * input_scale)).round().numpy().astype(np.int32))
    onnx = onnx_operator(
        "QLinearConv",
        "com.microsoft",  # its variant that reads channels-last images
        operands,
        channels_last=1,
        strides=strides,
        pads=(*padding, *padding),
        group=groups,
        kernel_shape=(kernel, kernel),
    )

    return {"ours": ours, "fbgemm": fbgemm, "onnxruntime": onnx, "float": real}, weight


def main() -> None:
    counts = thread_counts(__doc__)
    for amax in AMAX:
        table = Table(f"int8 conv2d NxCxHxO kernel/stride, activations 0…{amax}", peer="fbgemm")
        for count in counts:
            for shape in SHAPES:
                n, c, size, o, kernel, stride, groups = shape
                label = f"{n}x{c}x{size}x{o} {kernel}/{stride}" + " dw" * (groups > 1)
                with threads(count):
                    calls, weight = candidates(*shape, amax)
                    operations = 2 * calls["ours"]().numel() * weight[0].numel()
                    steps = str(schedule_stats(weight, amax, groups))
                    timings = compare(calls, seconds=SECONDS)
                    table.add(label, timings, operations=operations, steps=steps)
        table.print()


if __name__ == "__main__":
    main()
