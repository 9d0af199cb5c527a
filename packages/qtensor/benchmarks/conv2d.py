"""int8 convolution beside torch's fbgemm kernels: ``python benchmarks/conv2d.py``."""

import torch
from _peer import AMAX, kaiming_weight, peer_input, peer_weight, thread_counts
from torch import Tensor

from qtensor._ops.conv import conv2d
from qtensor._packing import PackedWeights, schedule_stats
from quintet_testing.bench import Table, compare, threads

SHAPES = (  # N, C, H = W, O, kernel, stride, groups
    (1, 64, 56, 64, 3, 1, 1),
    (1, 256, 14, 256, 3, 1, 1),
    (1, 64, 56, 256, 1, 1, 1),
    (1, 3, 224, 64, 7, 2, 1),
    (1, 96, 56, 96, 3, 1, 96),
    (1, 512, 7, 512, 3, 1, 1),
)


def time_conv2d(
    n: int, c: int, size: int, o: int, kernel: int, stride: int, groups: int, amax: int
) -> tuple[dict[str, float], int, str]:
    """Medians of ours and fbgemm's, the operations, and how our products are summed."""
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

    operations = 2 * ours().numel() * weight[0].numel()
    steps = str(schedule_stats(weight, amax, groups))
    return compare({"ours": ours, "fbgemm": fbgemm}), operations, steps


def main() -> None:
    counts = thread_counts(__doc__)
    for amax in AMAX:
        table = Table(f"int8 conv2d NxCxHxO kernel/stride, activations 0…{amax}", peer="fbgemm")
        for count in counts:
            for n, c, size, o, kernel, stride, groups in SHAPES:
                label = f"{n}x{c}x{size}x{o} {kernel}/{stride}" + " depthwise" * (groups > 1)
                with threads(count):
                    timings, operations, steps = time_conv2d(
                        n, c, size, o, kernel, stride, groups, amax
                    )
                    table.add(label, timings, operations=operations, steps=steps)
        table.print()


if __name__ == "__main__":
    main()
