"""Convolutions besides 2-d ones, transposed, and dynamic: ``python benchmarks/convolutions.py``.

Modules as a user calls them, beside the legacy kernels (fbgemm), ONNX Runtime where it has an
integer kernel (plain, static) and float. The legacy kernels of transposed convolutions know one
scale for a weight, so ours get the same there.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
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
from torch import Tensor, nn

from qtensor import QParams, QTensor, qint8, quint8
from qtensor.nn import quantized as nnq
from quintet_testing.bench import Call, Table, compare, threads

INPUT, OUTPUT = (0.03, 30), (0.05, 60)


@dataclass(frozen=True)
class Case:
    """A layer of torch.nn by its name and arguments, and the shape of its input."""

    name: str
    channels: tuple[int, int]
    kernel: int
    shape: tuple[int, ...]
    options: dict[str, int] = field(default_factory=dict)

    def layer(self) -> nn.Module:
        """In float."""
        layer: nn.Module = getattr(nn, self.name)(*self.channels, self.kernel, **self.options)
        return layer.eval()

    def __str__(self) -> str:
        image = "x".join(map(str, self.shape))
        stride = self.options.get("stride", 1)
        depthwise = " dw" if self.options.get("groups", 1) > 1 else ""
        return f"{self.name} {image} to {self.channels[1]} {self.kernel}/{stride}{depthwise}"


CASES = (
    Case("Conv1d", (64, 64), 3, (1, 64, 256), {"padding": 1}),
    Case("Conv1d", (512, 512), 3, (1, 512, 400), {"stride": 2}),
    Case("Conv1d", (256, 256), 31, (1, 256, 200), {"padding": 15, "groups": 256}),
    Case("Conv3d", (32, 64), 3, (1, 32, 8, 28, 28), {"padding": 1}),
    Case("Conv3d", (64, 128), 1, (1, 64, 8, 14, 14)),
    Case("ConvTranspose1d", (128, 64), 16, (1, 128, 64), {"stride": 8, "padding": 4}),
    Case("ConvTranspose2d", (64, 32), 2, (1, 64, 28, 28), {"stride": 2}),
    Case("ConvTranspose2d", (128, 64), 4, (1, 128, 16, 16), {"stride": 2, "padding": 1}),
    Case("ConvTranspose3d", (32, 16), 2, (1, 32, 8, 8, 8), {"stride": 2}),
)
DYNAMIC = (
    Case("Conv1d", (64, 64), 3, (1, 64, 256), {"padding": 1}),
    Case("Conv2d", (64, 64), 3, (1, 64, 56, 56), {"padding": 1}),
    Case("Conv3d", (32, 64), 3, (1, 32, 8, 28, 28), {"padding": 1}),
    Case("ConvTranspose2d", (64, 32), 2, (1, 64, 28, 28), {"stride": 2}),
)


def channels_last(image: Tensor) -> Tensor:
    """As the layer before would have left it, whichever side's."""
    return image.movedim(1, -1).contiguous().movedim(-1, 1)


def weights(layer: nn.Module) -> tuple[QTensor, Tensor]:
    """A kaiming-normal weight: ours, and torch's own quantized tensor."""
    if layer.transposed:
        real = nn.init.kaiming_normal_(torch.empty(layer.weight.shape))
        scale = float(real.abs().max()) / 127
        integers = (real / scale).round().to(torch.int8)
        ours = QTensor(integers, QParams(scale, 0, qint8))
        return ours, torch._make_per_tensor_quantized_tensor(integers, scale, 0)
    integers, scales = kaiming_weight(*layer.weight.shape)
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    return QTensor(integers, QParams(scales, zeros, qint8, axis=0)), peer_weight(integers, scales)


def candidates(case: Case, amax: int | None) -> tuple[dict[str, Call], int]:
    """Calls of ours and the peers' with activations up to ``amax``, dynamic without; operations."""
    layer = case.layer()
    weight, old_weight = weights(layer)
    bias = layer.bias.detach()
    layer.weight = nn.Parameter(channels_last(weight.dequantize()), requires_grad=False)
    layer.bias.requires_grad = False
    kind = getattr(nnq if amax is not None else nnq.dynamic, case.name)
    quantized = kind(*case.channels, case.kernel, **case.options)
    quantized.set_weight_bias(weight, bias)

    dims = case.name[-2:]
    function = f"conv_transpose{dims}" if layer.transposed else f"conv{dims}"
    geometry = [list(layer.stride), list(layer.padding), list(layer.dilation), layer.groups]
    if layer.transposed:
        geometry.insert(2, list(layer.output_padding))
    pack = getattr(torch.ops.quantized, f"{function}_prepack")
    packed = pack(old_weight, bias, *geometry)

    if amax is None:
        quantized.reduce_range = True  # as the peer, which saturates above
        x = channels_last(torch.randn(case.shape))
        old = getattr(torch.ops.quantized, f"{function}_dynamic")
        calls: dict[str, Call] = {
            "ours": lambda: quantized(x),
            "fbgemm": lambda: old(x, packed, True),
            "float": lambda: layer(x),
        }
    else:
        quantized.scale, quantized.zero_point = OUTPUT
        integers = channels_last(torch.randint(0, amax + 1, case.shape).to(torch.uint8))
        x = integers.float()
        given, old_given = QTensor(integers, QParams(*INPUT, quint8)), peer_input(integers, *INPUT)
        old = getattr(torch.ops.quantized, function)
        calls = {
            "ours": lambda: quantized(given),
            "fbgemm": lambda: old(old_given, packed, *OUTPUT),
            "float": lambda: layer(x),
        }
        if not layer.transposed:
            calls["onnxruntime"] = onnx_convolution(layer, weight, bias, integers)
    # Each input of a transposed convolution goes to as many outputs as others are sums of.
    ends = x if layer.transposed else layer(x)
    return calls, 2 * ends.numel() * layer.weight[0].numel()


def onnx_convolution(layer: nn.Module, weight: QTensor, bias: Tensor, image: Tensor) -> Call:
    """ONNX Runtime's kernel, in its own memory format."""
    scales = weight.q_per_channel_scales()
    operands = [image.movedim(1, -1).contiguous(), *onnx_parameters(*INPUT)]
    operands += onnx_weight(weight.int_repr(), scales)
    operands += onnx_parameters(*OUTPUT)
    operands.append((bias / (scales * INPUT[0])).round().numpy().astype(np.int32))
    return onnx_operator(
        "QLinearConv",
        "com.microsoft",  # its variant that reads channels-last images
        operands,
        channels_last=1,
        strides=layer.stride,
        pads=(*layer.padding, *layer.padding),
        group=layer.groups,
        kernel_shape=layer.kernel_size,
    )


def main() -> None:
    counts = thread_counts(__doc__)
    tables = [(f"convolutions, activations 0…{amax}", CASES, amax) for amax in AMAX]
    for title, cases, amax in [*tables, ("dynamic convolutions, activations 0…127", DYNAMIC, None)]:
        table = Table(title, peer="fbgemm")
        for count in counts:
            for case in cases:
                with threads(count):
                    calls, operations = candidates(case, amax)
                    timings = compare(calls, seconds=SECONDS)
                    table.add(str(case), timings, operations=operations)
        table.print()


if __name__ == "__main__":
    main()
