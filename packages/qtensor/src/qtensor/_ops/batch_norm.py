"""Batch norm of quantized tensors in inference: one multiplication and addition per channel."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .._packing import PackedWeights, Run
from .._qparams import SMALLEST_SCALE
from ._checks import check_float32
from ._conv_axes import channels_last_strides
from ._product import Requantization, check_input
from ._weighted import weighted_operator
from .conv import channels_last, conv1d, conv2d, conv3d


def affine_map(
    weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """Factors and summands, float32 ``(C,)``, that a batch norm is: computed in float64."""
    factors = weight.double() / (var.double() + eps).sqrt()
    return factors.float(), (bias.double() - mean.double() * factors).float()


_DOCUMENTATION = """Normalize by running statistics, bound and requantize.

Args:
    input: uint8 or int8, ``(N, C, S)`` of the spatial axes S, quantized by
        ``input_scale``, ``input_zero_point``.
    weight, bias, mean, var: float32, ``(C,)``.
    eps: added to ``var``.
    output_scale, output_zero_point: how the result is quantized.
    quant_min, quant_max: the integers the result may use, both included.
    dtype: of the result, ``torch.uint8`` or ``torch.int8``.
    activation_min, activation_max: bounds of the real result: 0 and ``None`` for a ReLU.

Returns:
    The input's shape, channels last in memory: the requantization of
    ``qtensor._ops._product.Requantization`` with ``sum = input - input_zero_point``,
    ``weight_scale = weight / sqrt(var + eps)`` and ``bias - mean * weight_scale``, both
    computed in float64 and rounded once.

Raises:
    TypeError: a dtype, or the number of dimensions, is not as above.
    ValueError: shapes do not fit, or a scale, a zero point or the range does not.

Example:
    >>> import torch, qtensor
    >>> x = torch.tensor([[[0, 10]]], dtype=torch.uint8)
    >>> one = torch.ones(1)
    >>> torch.ops.qtensor.batch_norm1d(
    ...     x, 1.0, 0, 2 * one, one, one, one, 0.0, 1.0, 5, 0, 255, torch.uint8
    ... )
    tensor([[[ 4, 24]]], dtype=torch.uint8)
"""


def _define(axes: int) -> Callable[..., Tensor]:
    convolution = (conv1d, conv2d, conv3d)[axes - 1]

    def read(
        input: Tensor,
        input_scale: float,
        input_zero_point: int,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        var: Tensor,
        eps: float,
        *output_arguments: Any,
    ) -> Requantization:
        """What follows the centred integers; raises unless everything fits."""
        check_input(input, input_scale, input_zero_point)
        if input.dim() != axes + 2:
            raise TypeError(
                f"expected an input of {axes + 2} dimensions, (N, C, …), got {tuple(input.shape)}"
            )
        statistics = {"weight": weight, "bias": bias, "mean": mean, "var": var}
        for name, tensor in statistics.items():
            check_float32(tensor, name)
            if tensor.shape != input.shape[1:2] or tensor.device != input.device:
                raise ValueError(
                    f"expected {name} of shape ({input.shape[1]},) on {input.device} for an input "
                    f"of shape {tuple(input.shape)}, got {tuple(tensor.shape)} on {tensor.device}"
                )
        factors, summands = affine_map(weight, bias, mean, var, eps)
        finish = Requantization(input_scale, factors, summands, *output_arguments)
        finish.check(input.shape)
        return finish

    def prepare(cache: PackedWeights, *arguments: Any) -> Run:
        input, scale, zero_point = arguments[:3]
        finish = read(*arguments)
        # A depthwise convolution of one tap: the weight is the factor's sign, its scale the rest.
        # Factors too small for a scale add nothing that float32 would keep.
        factors, channels, one = finish.weight_scales, input.shape[1], (1,) * axes
        if not bool(factors.isfinite().all()):
            raise ValueError(f"expected finite weight / sqrt(var + eps), got {factors}")
        matters = factors.abs() >= SMALLEST_SCALE
        signs = (factors.sign() * matters).to(torch.int8).view(channels, 1, *one)
        scales = torch.where(matters, factors.abs(), 1.0)
        parameters = (scale, zero_point, signs, scales, None, finish.bias)
        geometry = (one, (0,) * axes, one, channels, "zeros")
        rest = (*parameters, *geometry, *finish[3:])
        own = PackedWeights()

        def run(arguments: tuple[Any, ...]) -> Tensor:
            if not arguments[0].numel():  # which a convolution refuses
                return fake(*arguments)
            return convolution(arguments[0], *rest, cache=own)

        return run

    def reference(*arguments: Any) -> Tensor:
        input, _, zero_point = arguments[:3]
        return channels_last(read(*arguments).reference(input.double() - zero_point, 1))

    def fake(*arguments: Any) -> Tensor:
        input, dtype = arguments[0], read(*arguments).dtype
        strides = channels_last_strides(input.shape)
        return torch.empty_strided(input.shape, strides, dtype=dtype, device=input.device)

    reference.__doc__ = _DOCUMENTATION
    return weighted_operator(
        f"batch_norm{axes}d(Tensor input, float input_scale, int input_zero_point, Tensor weight, "
        "Tensor bias, Tensor mean, Tensor var, float eps, float output_scale, "
        "int output_zero_point, int quant_min, int quant_max, ScalarType dtype, "
        "float? activation_min=None, float? activation_max=None) -> Tensor",
        prepare=prepare,
        reference=reference,
        fake=fake,
    )


batch_norm1d, batch_norm2d, batch_norm3d = (_define(axes) for axes in (1, 2, 3))
