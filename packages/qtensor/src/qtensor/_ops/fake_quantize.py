"""Fake quantize: float values rounded and clamped to those that integers would stand for.

    t = x / scale + offset    c = clamp(round(t), lowest, highest)    y = (c - offset) * scale

in float32, with the reciprocal of the scale rounded first, ties to even, NaN to the lower bound.
An integer zero point z moves the bounds (offset 0, bounds less z), so that rounding is the same
for all z; a real one (float_qparams) is the offset. The gradient passes straight through where
``round(t)`` is within the bounds and is 0 elsewhere; it is computed anew from the input, not from
a stored mask.

``axis`` is ``None`` per tensor. float64 takes the plain torch path; half floats are converted to
and from float32 a block at a time.
"""

from typing import Any

import torch
from torch import Tensor

from .. import _fake_quantize
from .._threads import num_threads
from ._channels import channels_along
from ._checks import check_channel_values
from ._layout import FLOAT, layout_under, outer_channels_inner
from ._registry import operator
from ._zero_points import ZERO_POINT_KINDS, zero_point_addresses

# ---- checks, and what is common to all kernels ---------------------------------------------------


def check_fake_quantize(
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int | None,
    quant_min: int,
    quant_max: int,
) -> None:
    """Raise ``TypeError`` or ``ValueError`` unless dtypes, shapes and range fit together."""
    for name, tensor in (("input", input), ("scale", scale)):
        if not tensor.is_floating_point():
            raise TypeError(f"expected a floating-point {name}, got {tensor.dtype}")
    if zero_point.dtype == torch.bool or zero_point.is_complex():
        raise TypeError(f"expected integer or float zero points, got {zero_point.dtype}")
    if not -(2**31) <= quant_min < quant_max < 2**31:
        raise ValueError(
            f"expected quant_min < quant_max within 32 bits, got {quant_min} … {quant_max}"
        )
    channels = channels_along(input, axis)
    for name, tensor in (("scale", scale), ("zero_point", zero_point)):
        if tensor.numel() != channels or (axis is not None and tensor.ndim != 1):
            whose = "the tensor" if axis is None else f"each index of axis {axis} of input"
            raise ValueError(
                f"expected {name} to have {channels} value(s), one for {whose} of shape "
                f"{tuple(input.shape)}, got shape {tuple(tensor.shape)}"
            )


def check_switch(enabled: Tensor | None) -> None:
    """Raise ``ValueError`` unless it is one value, or there is none."""
    if enabled is not None and enabled.numel() != 1:
        raise ValueError(f"expected enabled to be one value, got shape {tuple(enabled.shape)}")


def _is_off(enabled: Tensor | None) -> bool:
    check_switch(enabled)
    return enabled is not None and not enabled.item()


class Layout:
    """The arguments of the compiled kernels; keeps the memory alive that they point to."""

    def __init__(
        self,
        output: Tensor,
        scale: Tensor,
        zero_point: Tensor,
        axis: int | None,
        quant_min: int,
        quant_max: int,
    ) -> None:
        if scale.dtype is not torch.float32:
            scale = scale.to(torch.float32)
        if zero_point.dtype not in ZERO_POINT_KINDS:
            real = zero_point.is_floating_point()
            zero_point = zero_point.to(torch.float32 if real else torch.int64)
        self.scale, self.zero_point = scale.contiguous(), zero_point.contiguous()
        shape = (1, 1, output.numel()) if axis is None else outer_channels_inner(output, axis)
        addresses = self.scale.data_ptr(), *zero_point_addresses(self.zero_point)
        self.fields = shape, *addresses, quant_min, quant_max

    def explain(self) -> None:
        """Raise ``ValueError`` about the parameters that the kernel refused."""
        bounds = self.fields[-2:]
        check_channel_values(self.scale.reshape(-1), self.zero_point.reshape(-1), *bounds)


def needs_reference(input: Tensor) -> bool:
    """Whether no kernel reads this dtype."""
    return input.dtype not in FLOAT


def read_under(output: Tensor, input: Tensor) -> tuple[int, Any]:
    """What the compiled kernels take of an input: its address, and how it lies under the output."""
    return input.data_ptr(), layout_under(output, input)


class Steps:
    """The formula in plain torch: ``t``, which values are inside, and the clamped difference."""

    def __init__(
        self,
        input: Tensor,
        scale: Tensor,
        zero_point: Tensor,
        axis: int | None,
        quant_min: int,
        quant_max: int,
    ) -> None:
        x = input if input.dtype == torch.float64 else input.float()
        shape = [1] * input.ndim
        if axis is not None:
            shape[axis] = -1
        self.scale = scale.float().reshape(shape)
        zero_point = zero_point.reshape(shape)
        if zero_point.is_floating_point():
            offset, shift = zero_point.float(), zero_point.new_zeros(())
        else:
            offset, shift = self.scale.new_zeros(()), zero_point.long()
        low, high = (quant_min - shift).to(x.dtype), (quant_max - shift).to(x.dtype)
        self.product = x * (1.0 / self.scale)
        rounded = torch.round(self.product + offset)
        self.inside = (rounded >= low) & (rounded <= high)
        clamped = torch.where(rounded > low, rounded, low)  # NaN: low
        clamped = torch.where(clamped < high, clamped, high)
        self.difference = clamped + (0.0 - offset)  # + 0 makes -0 a 0, as integers would


# ---- forward -------------------------------------------------------------------------------------


def fake_quantize_reference(
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int | None,
    quant_min: int,
    quant_max: int,
    enabled: Tensor | None = None,
) -> Tensor:
    """Round and clamp a float tensor to the values that quantized integers stand for.

    Args:
        input: any float dtype, any shape; computed in float32, or float64 if it is that.
        scale: positive, one value per tensor or shape ``(channels,)``.
        zero_point: integers within the range, or real zero points (float), as many as scales.
        axis: the channel axis, ``None`` per tensor.
        quant_min, quant_max: the integers to use, both included.
        enabled: one value; 0 gives a copy of ``input`` instead.

    Returns:
        A tensor of the shape, dtype and memory format of ``input``.

    Raises:
        TypeError: an integer ``input`` or ``scale``.
        ValueError: shapes, axis or range do not fit; a scale is not positive and finite, or an
            integer zero point is out of range (not checked on devices other than the CPU).

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([-1.0, 0.3, 9.0])
        >>> parameters = torch.tensor(0.5), torch.tensor(0)
        >>> torch.ops.qtensor.fake_quantize(x, *parameters, None, -2, 2)
        tensor([-1.0000,  0.5000,  1.0000])
    """
    steps = Steps(input, scale, zero_point, axis, quant_min, quant_max)
    result = (steps.difference * steps.scale).to(input.dtype)
    if enabled is not None:
        result = torch.where(enabled.reshape(()) != 0, result, input)
    return formatted_as(result, input)


def formatted_as(result: Tensor, input: Tensor) -> Tensor:
    """In the memory format that ``empty_like(input)`` has, which broadcasting need not keep."""
    return torch.empty_like(input).copy_(result)


def fake_quantize_fake(
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int | None,
    quant_min: int,
    quant_max: int,
    enabled: Tensor | None = None,
) -> Tensor:
    check_switch(enabled)
    check_fake_quantize(input, scale, zero_point, axis, quant_min, quant_max)
    return torch.empty_like(input)


def fake_quantize_cpu(
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int | None,
    quant_min: int,
    quant_max: int,
    enabled: Tensor | None = None,
) -> Tensor:
    parameters = scale, zero_point, axis, quant_min, quant_max
    if _is_off(enabled):
        return fake_quantize_fake(input, *parameters).copy_(input)
    at_once = _fake_quantize.rounded(input, *parameters)
    if at_once is not None:
        return at_once
    output = fake_quantize_fake(input, *parameters)
    if needs_reference(input):
        return fake_quantize_reference(input, *parameters)
    if output.numel() == 0:
        return output
    layout = Layout(output, *parameters)
    operands = *read_under(output, input), output.data_ptr()
    if not _fake_quantize.forward(FLOAT[input.dtype], *operands, layout.fields, num_threads()):
        layout.explain()
    return output


# ---- backward ------------------------------------------------------------------------------------


def fake_quantize_backward_reference(
    grad: Tensor,
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int | None,
    quant_min: int,
    quant_max: int,
    enabled: Tensor | None = None,
) -> Tensor:
    """The gradient of :func:`fake_quantize`'s input: ``grad`` where nothing was clamped, else 0.

    Args:
        grad: of the output; shape and dtype of ``input``. The others are those of the forward.

    Returns:
        A tensor of the shape, dtype and memory format of ``input``.
    """
    passes = Steps(input, scale, zero_point, axis, quant_min, quant_max).inside
    if enabled is not None:
        passes = passes | (enabled.reshape(()) == 0)
    return formatted_as(torch.where(passes, grad, 0.0), input)


def check_grad(grad: Tensor, input: Tensor) -> None:
    """Raise ``ValueError`` unless the gradient is like the input."""
    if grad.shape != input.shape or grad.dtype != input.dtype:
        raise ValueError(
            f"expected a gradient of shape {tuple(input.shape)} and {input.dtype}, as the input, "
            f"got {tuple(grad.shape)} and {grad.dtype}"
        )


def fake_quantize_backward_fake(
    grad: Tensor,
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int | None,
    quant_min: int,
    quant_max: int,
    enabled: Tensor | None = None,
) -> Tensor:
    check_grad(grad, input)
    return fake_quantize_fake(input, scale, zero_point, axis, quant_min, quant_max, enabled)


def fake_quantize_backward_cpu(
    grad: Tensor,
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int | None,
    quant_min: int,
    quant_max: int,
    enabled: Tensor | None = None,
) -> Tensor:
    parameters = scale, zero_point, axis, quant_min, quant_max
    if _is_off(enabled):
        return fake_quantize_backward_fake(grad, input, *parameters).copy_(grad)
    output = fake_quantize_backward_fake(grad, input, *parameters)
    if needs_reference(input):
        return fake_quantize_backward_reference(grad, input, *parameters)
    if output.numel() == 0:
        return output
    layout = Layout(output, *parameters)
    operands = *read_under(output, grad), *read_under(output, input), output.data_ptr()
    if not _fake_quantize.backward(FLOAT[input.dtype], *operands, layout.fields, num_threads()):
        layout.explain()
    return output


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    input, scale, zero_point, *rest, enabled = inputs
    # Observers write the next batch's parameters into the same tensors, and a module may run twice
    # before its first backward.
    ctx.save_for_backward(input, *_own(scale, zero_point, enabled))
    ctx.rest = rest


def _own(*tensors: Tensor | None) -> tuple[Tensor | None, ...]:
    return tuple(None if t is None else t.clone() for t in tensors)


def _input_gradient(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    input, scale, zero_point, enabled = ctx.saved_tensors
    parameters = scale, zero_point, *ctx.rest
    result = None
    if enabled is None:
        result = _fake_quantize.straight_through(grad, input, *parameters)
    if result is None:
        result = fake_quantize_backward(grad, input, *parameters, enabled)
    return result, None, None, None, None, None, None


def _save_linear(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    _, input, scale, zero_point, *rest, enabled = inputs
    ctx.save_for_backward(input, scale, zero_point, enabled)
    ctx.rest = rest


ARGUMENTS = "Tensor input, Tensor scale, Tensor zero_point, int? axis, int quant_min, int quant_max"
"""What all operators of this family take, as schemas spell it."""

# Linear in grad: differentiating once more masks once more.
fake_quantize_backward = operator(
    f"fake_quantize_backward(Tensor grad, {ARGUMENTS}, Tensor? enabled=None) -> Tensor",
    cpu=fake_quantize_backward_cpu,
    reference=fake_quantize_backward_reference,
    fake=fake_quantize_backward_fake,
    gradient=(_save_linear, lambda ctx, grad: (*_input_gradient(ctx, grad), None)),
)

fake_quantize = operator(
    f"fake_quantize({ARGUMENTS}, Tensor? enabled=None) -> Tensor",
    cpu=fake_quantize_cpu,
    reference=fake_quantize_reference,
    fake=fake_quantize_fake,
    gradient=(_save, _input_gradient),
)
