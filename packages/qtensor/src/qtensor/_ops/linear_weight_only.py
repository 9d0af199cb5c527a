"""Linear layers of float activations and int8 weights."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import _kernels
from .._packing import PackedWeights, Run
from .._threads import num_threads
from ._checks import check_float32
from ._layout import blocks_of_rows
from ._product import Dequantization, check_weight, contiguous
from ._weighted import weighted_operator
from .linear import linear_outputs, linear_shape

_PANEL = 16  # CHANNELS of csrc/gemm.h


def linear_weight_only_reference(
    input: Tensor,
    weight: Tensor,
    weight_scales: Tensor,
    weight_zero_points: Tensor | None,
    bias: Tensor | None,
    activation_min: float | None = None,
    activation_max: float | None = None,
    activation: str = "",
    negative_slope: float = 0.01,
) -> Tensor:
    """Multiply float activations, as they are, by an int8 weight matrix.

    Saves memory and the time to read it, not arithmetic: for few rows, or where activations
    cannot be quantized.

    Args:
        input: float32, ``(..., K)``.
        weight: int8, ``(N, K)``.
        weight_scales: float32, ``(N,)``, or ``(1,)`` for one scale.
        weight_zero_points: int64, ``(N,)``; ``None`` if all are zero.
        bias: float32, ``(N,)``, or ``None``.
        activation_min, activation_max: bounds of the result: 0 and ``None`` for a ReLU.
        activation: a function of the result before it is bounded: ``"leaky_relu"`` (of
            ``negative_slope``), ``"tanh"``, ``"gelu"``, ``"gelu_tanh"``, or ``""`` for none.

    Returns:
        float32, ``(..., N)``: ``activation(sum of x * (w - w_zero_point) * weight_scale + bias)``,
        the sum in float32. Before the activation, it differs from the exact value by at most
        ``2 * K * 2**-24`` times the sum of the products' magnitudes (and ``2**-23`` of the bias).

    Raises:
        TypeError: a dtype, or the weight's number of dimensions, is not as above.
        ValueError: shapes or devices do not fit, or the activation is unknown.

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([[0.5, 1.0, 3.0]])
        >>> w = torch.tensor([[1, 1, 1], [0, 0, -1]], dtype=torch.int8)
        >>> torch.ops.qtensor.linear_weight_only(x, w, torch.full((2,), 0.5), None, None)
        tensor([[ 2.2500, -1.5000]])
    """
    centred = weight.float()
    if weight_zero_points is not None:
        centred = centred - weight_zero_points.float().unsqueeze(1)
    bounds = activation_min, activation_max
    finish = Dequantization(weight_scales, bias, *bounds, activation, negative_slope)
    return finish.reference(F.linear(input, centred), -1)


def check_linear_weight_only(
    input: Tensor, weight: Tensor, weight_zero_points: Tensor | None, finish: Dequantization
) -> tuple[int, ...]:
    """Raise unless everything fits; returns the output's shape."""
    check_float32(input)
    check_weight(input, weight, finish.weight_scales, weight_zero_points, finish.bias, 2)
    finish.check()
    return linear_shape(input, weight.shape)


def prepare_linear_weight_only(
    cache: PackedWeights,
    input: Tensor,
    weight: Tensor,
    weight_scales: Tensor,
    weight_zero_points: Tensor | None,
    bias: Tensor | None,
    *output_arguments: Any,
) -> Run:
    finish = Dequantization(weight_scales, bias, *output_arguments)
    check_linear_weight_only(input, weight, weight_zero_points, finish)
    call = _kernels.Product(0, contiguous(weight_zero_points))
    finish.configure(call)
    panels = _panels(weight.detach())
    n, k = weight_shape = tuple(weight.shape)
    row_bytes = n * torch.float32.itemsize
    outputs = linear_outputs(weight_shape, torch.float32)

    def run(arguments: tuple[Any, ...]) -> Tensor:
        input = arguments[0]
        output = outputs.of(input).new()
        if output.numel():
            place = output.data_ptr()
            for block, rows in blocks_of_rows(input, output.numel() // n):
                pointers = place, block.data_ptr(), panels.data_ptr()
                call.weight_only(num_threads(), *pointers, rows, k, n)
                place += rows * row_bytes
        return output

    return run


def _panels(weight: Tensor) -> Tensor:
    """16 channels side by side: ``(N / 16, K, 16)``, filled up with zeros."""
    n, k = weight.shape
    panels = -(-n // _PANEL)
    padded = F.pad(weight, (0, 0, 0, panels * _PANEL - n))
    return padded.view(panels, _PANEL, k).transpose(1, 2).contiguous()


def linear_weight_only_fake(
    input: Tensor,
    weight: Tensor,
    weight_scales: Tensor,
    weight_zero_points: Tensor | None,
    bias: Tensor | None,
    *output_arguments: Any,
    **named: Any,
) -> Tensor:
    finish = Dequantization(weight_scales, bias, *output_arguments, **named)
    return input.new_empty(check_linear_weight_only(input, weight, weight_zero_points, finish))


linear_weight_only = weighted_operator(
    "linear_weight_only(Tensor input, Tensor weight, Tensor weight_scales, "
    "Tensor? weight_zero_points, Tensor? bias, float? activation_min=None, "
    "float? activation_max=None, str activation='', float negative_slope=0.01) -> Tensor",
    prepare=prepare_linear_weight_only,
    reference=linear_weight_only_reference,
    fake=linear_weight_only_fake,
)
