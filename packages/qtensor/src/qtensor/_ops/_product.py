"""What linear and convolution share: checks, how sums become output, the kernel call."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .. import _kernels
from .._direct import direct
from ._activation import ACTIVATIONS, activated, bounded, check_activation
from ._channels import along
from ._checks import BYTES, RANGES, check_bounds, check_parameters, check_range, check_scales
from ._requantize import integer_bounds


class Requantization(NamedTuple):
    """How exact integer sums become quantized output.

    In float32, in this order, and every implementation equals it bit for bit::

        t = sum * (weight_scale * (input_scale / output_scale))
        t = t + bias / output_scale
        t = t + (residual - residual_zero_point) * (residual_scale / output_scale)
        t = activation(t * output_scale) / output_scale       # see _activation
        t = t if t > lowest else lowest                       # so NaN becomes the lowest
        t = t if t < highest else highest
        output = round_half_to_even(t) + output_zero_point

    What stands in parentheses after a ``*``, and ``bias / output_scale``, is computed in float64
    and rounded once; ``lowest`` and ``highest`` come from
    :func:`qtensor._ops._requantize.integer_bounds`. The fields are arguments of the operators, in
    their order.
    """

    input_scale: float
    weight_scales: Tensor
    bias: Tensor | None
    output_scale: float
    output_zero_point: int
    quant_min: int
    quant_max: int
    dtype: torch.dtype
    activation_min: float | None = None
    activation_max: float | None = None
    residual: Tensor | None = None
    residual_scale: float = 1.0
    residual_zero_point: int = 0
    activation: str = ""
    negative_slope: float = 0.01

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise unless output of this shape, and the residual, can be what is asked for."""
        if self.dtype not in BYTES:
            raise TypeError(
                f"expected an output dtype of torch.uint8 or torch.int8, got {self.dtype}"
            )
        check_range(self.quant_min, self.quant_max, self.dtype)
        check_parameters(
            self.output_scale, self.output_zero_point, self.quant_min, self.quant_max, "output_"
        )
        check_activation(self.activation, self.negative_slope)
        check_bounds(self.activation_min, self.activation_max)
        if self.residual is not None:
            check_residual(self.residual, shape, self.dtype)
        check_parameters(
            self.residual_scale, self.residual_zero_point, *RANGES[self.dtype], "residual_"
        )

    def bounds(self) -> tuple[float, float]:
        """``lowest`` and ``highest`` of the formula above."""
        return integer_bounds(
            self.output_scale,
            self.output_zero_point,
            self.quant_min,
            self.quant_max,
            self.activation_min,
            self.activation_max,
        )

    def _multipliers(self) -> Tensor:
        ratio = self.input_scale / self.output_scale
        return (self.weight_scales.double() * ratio).float().contiguous()

    def _scaled_bias(self) -> Tensor | None:
        if self.bias is None:
            return None
        return (self.bias.double() / self.output_scale).float().contiguous()

    def reference(self, sums: Tensor, channel_axis: int) -> Tensor:
        """The formula in plain torch, on exact integer sums given as float64."""
        t = sums.float() * along(channel_axis, self._multipliers(), sums.dim())
        bias = self._scaled_bias()
        if bias is not None:
            t = t + along(channel_axis, bias, sums.dim())
        if self.residual is not None:
            centred = (self.residual.int() - self.residual_zero_point).float()
            t = t + centred * t.new_tensor(self.residual_scale / self.output_scale)
        t = activated(t, self.activation, self.negative_slope, self.output_scale)
        lowest, highest = (t.new_tensor(bound) for bound in self.bounds())
        t = torch.where(t > lowest, t, lowest)
        t = torch.where(t < highest, t, highest)
        return (t.round() + self.output_zero_point).to(self.dtype)

    def configure(self, call: _kernels.Product) -> None:
        """Makes a kernel call requantize its sums so."""
        call.scale(self._multipliers(), self._scaled_bias(), *self.bounds())
        call.requantize(
            self.output_scale,
            self.output_zero_point,
            self.dtype is torch.int8,
            self.residual_scale / self.output_scale,
            self.residual_zero_point,
        )
        call.activate(ACTIVATIONS.index(self.activation), self.negative_slope)


class Dequantization(NamedTuple):
    """How sums become float output.

    In float32, in this order, and every implementation of an operator equals it bit for bit::

        y = sum * weight_scale
        y = y * input_scale                                   # of what was quantized on the fly
        y = y + bias
        y = activation(y)                                     # then bounded; see _activation

    The fields are arguments of the operators, in their order.
    """

    weight_scales: Tensor
    bias: Tensor | None
    activation_min: float | None = None
    activation_max: float | None = None
    activation: str = ""
    negative_slope: float = 0.01

    def check(self) -> None:
        """Raise ``ValueError`` unless the activation and its bounds are known ones."""
        check_bounds(self.activation_min, self.activation_max)
        check_activation(self.activation, self.negative_slope)

    def reference(
        self, sums: Tensor, channel_axis: int, input_scale: Tensor | None = None
    ) -> Tensor:
        """The formula in plain torch, on float32 sums and a scale that broadcasts to them."""
        y = sums * along(channel_axis, self.weight_scales, sums.dim())
        if input_scale is not None:
            y = y * input_scale
        if self.bias is not None:
            y = y + along(channel_axis, self.bias, sums.dim())
        y = activated(y, self.activation, self.negative_slope)
        return bounded(y, self.activation_min, self.activation_max)

    def configure(self, call: _kernels.Product) -> None:
        """Makes a kernel call dequantize its sums so."""
        low, high = self.activation_min, self.activation_max
        call.scale(
            self.weight_scales.contiguous(),
            contiguous(self.bias),
            -math.inf if low is None else low,
            math.inf if high is None else high,
        )
        call.dequantize()
        call.activate(ACTIVATIONS.index(self.activation), self.negative_slope)


def check_residual(residual: Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    """Raise unless the residual is like the output."""
    if residual.dtype != dtype or residual.shape != shape:
        raise ValueError(
            f"expected a residual like the output, {dtype} of shape {tuple(shape)}, got "
            f"{residual.dtype} of shape {tuple(residual.shape)}"
        )


def readable_residual(residual: Tensor | None, output: Tensor) -> Tensor | None:
    """A residual checked to be like the output, where kernels read it: where it is, if it is laid
    out like the output, or in the output, each element of which is read before it is written."""
    if residual is None:
        return None
    check_residual(residual, output.shape, output.dtype)
    return residual if residual.stride() == output.stride() else output.copy_(residual)


def check_input(input: Tensor, scale: float, zero_point: int, name: str = "input") -> None:
    """Raise unless the input is uint8 or int8 and its parameters fit it."""
    if input.dtype not in BYTES:
        raise TypeError(
            f"expected a uint8 or int8 {name}, got {input.dtype} of shape {tuple(input.shape)}; "
            "quantize it first"
        )
    check_parameters(scale, zero_point, *RANGES[input.dtype], f"{name}_")


def check_weight(
    input: Tensor,
    weight: Tensor,
    weight_scales: Tensor,
    weight_zero_points: Tensor | None,
    bias: Tensor | None,
    dimensions: int,
    channel_axis: int = 0,
    groups: int = 1,
) -> None:
    """Raise unless weight, its parameters and bias fit each other and lie on input's device.

    Args:
        channel_axis: the weight's axis that its parameters belong to.
        groups: how many output channels share one index along that axis.
    """
    if weight.dtype is not torch.int8 or weight.dim() != dimensions:
        raise TypeError(
            f"expected an int8 weight of {dimensions} dimensions, got {weight.dtype} of shape "
            f"{tuple(weight.shape)}"
        )
    if weight.device != input.device:
        raise ValueError(f"expected weight on {input.device}, as input, got {weight.device}")
    channels = weight.shape[channel_axis]
    _check_per_channel("weight_scales", weight_scales, torch.float32, channels, weight)
    if direct(weight_scales):  # a tracer cannot look at values
        check_scales(weight_scales, "weight_scales")
    if weight_zero_points is not None:
        _check_per_channel("weight_zero_points", weight_zero_points, torch.int64, channels, weight)
    if bias is not None:
        _check_per_channel("bias", bias, torch.float32, channels * groups, weight)


def _check_per_channel(
    name: str, tensor: Tensor, dtype: torch.dtype, channels: int, weight: Tensor
) -> None:
    if tensor.dtype is not dtype:
        raise TypeError(
            f"expected {dtype} {name}, got {tensor.dtype}; convert it with .to({dtype})"
        )
    one_for_all = name == "weight_scales" and tensor.numel() == 1
    if tensor.dim() != 1 or not (tensor.shape[0] == channels or one_for_all):
        raise ValueError(
            f"expected {name} of shape ({channels},) for a weight of shape "
            f"{tuple(weight.shape)}, got {tuple(tensor.shape)}"
        )
    if tensor.device != weight.device:
        raise ValueError(f"expected {name} on {weight.device}, got {tensor.device}")


def contiguous(tensor: Tensor | None) -> Tensor | None:
    """``tensor.contiguous()``, also of ``None``."""
    return None if tensor is None else tensor.contiguous()


def sums_call(
    input: Tensor, input_zero_point: int, weight_zero_points: Tensor | None
) -> _kernels.Product:
    """A kernel call for inputs of this dtype, so far for the exact sums as int32."""
    zero_point = unsigned(input_zero_point, input.dtype)
    return _kernels.Product(zero_point, contiguous(weight_zero_points))


def unsigned(value: int, dtype: torch.dtype) -> int:
    """A byte's value as the kernels read it: they shift int8 by 128."""
    return value + 128 if dtype is torch.int8 else value


def proven_amax(input: Tensor) -> int:
    """127 if nothing in the input, which is dense, exceeds it; or 255.

    A calibrated range does not bind the input, so every call looks.
    """
    if input.dtype is torch.int8:
        return 255
    return 127 if _kernels.or_bytes(input.data_ptr(), input.numel()) <= 127 else 255
