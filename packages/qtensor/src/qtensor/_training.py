"""Fake quantization: what a model sees while it is trained to be quantized."""

import torch
from torch import Tensor

from ._ops._channels import channels_along
from ._ops._checks import check_parameters
from ._ops.fake_quantize import check_fake_quantize, fake_quantize
from ._ops.fake_quantize_learnable import fake_quantize_learnable
from ._ops.running_range import RangeRule, RangeScheme, follow_range

_INF = float("inf")


def fake_quantize_per_tensor_affine(
    input: Tensor,
    scale: float | Tensor,
    zero_point: int | Tensor,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    """``(clamp(round(x / scale) + zero_point, quant_min, quant_max) - zero_point) * scale``.

    The values that quantizing and dequantizing give, in float and differentiable: the gradient is
    that of the output where a value is not clamped, and 0 where it is, and for NaN.

    Args:
        input: any float dtype, any shape and strides; float32 on the CPU has a kernel.
        scale: a positive number, or a float tensor of one element.
        zero_point: an integer within the range, or a tensor of one integer or real zero point.
        quant_min, quant_max: the integers to use, both included.

    Returns:
        A tensor of the shape, dtype and memory format of ``input``. NaN gives what ``quant_min``
        stands for.

    Raises:
        TypeError: ``input`` is no float tensor.
        ValueError: the scale is not positive and finite, or zero point or range do not fit.

    Example:
        >>> import torch, qtensor
        >>> x = torch.tensor([-0.3, 0.3, 9.0], requires_grad=True)
        >>> y = qtensor.fake_quantize_per_tensor_affine(x, 0.5, 0, 0, 7)
        >>> y.sum().backward()
        >>> y.detach(), x.grad
        (tensor([0.0000, 0.5000, 3.5000]), tensor([0., 1., 0.]))
    """
    if not isinstance(scale, Tensor) and not isinstance(zero_point, Tensor):
        check_parameters(scale, zero_point, quant_min, quant_max)
    scale, zero_point = _tensor(scale, input, torch.float32), _tensor(zero_point, input, None)
    return fake_quantize(input, scale, zero_point, None, quant_min, quant_max)


def fake_quantize_per_channel_affine(
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int,
    quant_min: int,
    quant_max: int,
) -> Tensor:
    """:func:`fake_quantize_per_tensor_affine` with parameters for each channel along ``axis``.

    Args:
        input: any float dtype, one dimension or more.
        scale: float, shape ``(channels,)``, positive.
        zero_point: integers of the same shape; or real zero points (float), which are added
            before rounding instead of after it.
        axis: the channel axis; a negative one counts from the end.
        quant_min, quant_max: the integers to use, both included.

    Returns:
        A tensor of the shape, dtype and memory format of ``input``.

    Raises:
        TypeError: ``input`` or ``scale`` is no float tensor.
        ValueError: shapes, axis, range, scales or zero points do not fit.

    Example:
        >>> import torch, qtensor
        >>> scales, zeros = torch.tensor([0.5, 1.0]), torch.tensor([0, 0])
        >>> x = torch.full((2, 1), 0.7)
        >>> qtensor.fake_quantize_per_channel_affine(x, scales, zeros, 0, 0, 7)
        tensor([[0.5000],
                [1.0000]])
    """
    return fake_quantize(input, scale, zero_point, axis, quant_min, quant_max)


def fake_quantize_learnable_per_tensor_affine(
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    quant_min: int,
    quant_max: int,
    grad_factor: float = 1.0,
) -> Tensor:
    """:func:`fake_quantize_per_tensor_affine` that is differentiable in its parameters too (LSQ).

    With ``z`` the zero point rounded and clamped to the range, the gradient of the scale is the
    sum of ``grad · (round(x / scale) - x / scale)`` over values inside the range and of
    ``grad · (bound - z)`` over clamped ones; that of the zero point the sum of ``-scale · grad``
    over clamped values; both times ``grad_factor``. (Esser et al., Learned Step Size Quantization,
    2020, equation 3.)

    Args:
        input: any float dtype, any shape.
        scale: a float tensor of one positive element.
        zero_point: a float tensor of one element.
        quant_min, quant_max: the integers to use, both included.
        grad_factor: scales the gradients of the parameters; LSQ takes
            ``1 / sqrt(input.numel() * quant_max)``.

    Returns:
        A tensor of the shape, dtype and memory format of ``input``.

    Raises:
        TypeError, ValueError: as :func:`fake_quantize_per_tensor_affine`.

    Example:
        >>> import torch, qtensor
        >>> scale, zero = torch.tensor([0.5], requires_grad=True), torch.tensor([0.0])
        >>> x = torch.tensor([0.3, 9.0])
        >>> y = qtensor.fake_quantize_learnable_per_tensor_affine(x, scale, zero, 0, 7)
        >>> y.sum().backward()
        >>> scale.grad  # 1 - 0.6 from the first, quant_max from the second
        tensor([7.4000])
    """
    return fake_quantize_learnable(
        input, scale, zero_point, None, quant_min, quant_max, grad_factor
    )


def fake_quantize_learnable_per_channel_affine(
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int,
    quant_min: int,
    quant_max: int,
    grad_factor: float = 1.0,
) -> Tensor:
    """:func:`fake_quantize_learnable_per_tensor_affine` with parameters for each channel.

    Args:
        input: any float dtype, one dimension or more.
        scale, zero_point: float, shape ``(channels,)``.
        axis: the channel axis; a negative one counts from the end.
        quant_min, quant_max: the integers to use, both included.
        grad_factor: scales the gradients of the parameters.

    Returns:
        A tensor of the shape, dtype and memory format of ``input``.

    Raises:
        TypeError, ValueError: as :func:`fake_quantize_per_channel_affine`.

    Example:
        >>> import torch, qtensor
        >>> scale, zero = torch.tensor([0.5, 1.0], requires_grad=True), torch.zeros(2)
        >>> x = torch.tensor([[0.3], [9.0]])
        >>> qtensor.fake_quantize_learnable_per_channel_affine(
        ...     x, scale, zero, 0, 0, 7).sum().backward()
        >>> scale.grad
        tensor([0.4000, 7.0000])
    """
    return fake_quantize_learnable(
        input, scale, zero_point, axis, quant_min, quant_max, grad_factor
    )


def fused_moving_avg_obs_fake_quant(
    self: Tensor,
    observer_on: Tensor,
    fake_quant_on: Tensor,
    running_min: Tensor,
    running_max: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    averaging_const: float,
    quant_min: int,
    quant_max: int,
    ch_axis: int,
    per_row_fake_quant: bool = False,
    symmetric_quant: bool = False,
) -> Tensor:
    """Observes a tensor and fake-quantizes it with what was learnt, reading it twice.

    The range of the batch's finite values moves the running range by ``averaging_const`` of the
    difference (the first one sets it); scale and zero point follow from the running range by the
    rule of :class:`qobserve.MovingAverageMinMaxObserver`, so that training uses the very parameters
    that conversion will. (torch's function of this name takes other formulas than its observers.)
    The four buffers are written in place; where nothing was seen, scale and zero point are 1 and 0.

    Args:
        self: the input, any float dtype and shape.
        observer_on: one value, 0 not to take the batch's range in.
        fake_quant_on: one value, 0 to give a copy of the input.
        running_min, running_max: float, one element, or ``(channels,)``; ``inf`` and ``-inf``
            before anything was seen. Empty ones, with scale and zero point, are given their size.
        scale: float, one element or ``(channels,)``.
        zero_point: integers (int32 has a kernel), as many.
        averaging_const: the weight of a new batch.
        quant_min, quant_max: the integers to use, both included.
        ch_axis: the channel axis; only used per channel.
        per_row_fake_quant: one range for each index of ``ch_axis`` instead of one in all.
        symmetric_quant: a range around zero.

    Returns:
        A tensor of the shape, dtype and memory format of ``self``, differentiable as
        :func:`fake_quantize_per_tensor_affine` is.

    Raises:
        TypeError: ``self`` is no float tensor.
        ValueError: axis, range or the buffers' shapes do not fit.

    Example:
        >>> import torch, qtensor
        >>> on, low, high = torch.tensor([1]), torch.tensor([0.0]), torch.tensor([7.0])
        >>> scale, zero = torch.tensor([1.0]), torch.tensor([0], dtype=torch.int32)
        >>> x = torch.tensor([0.0, 1.2, 15.0])
        >>> qtensor.fused_moving_avg_obs_fake_quant(
        ...     x, on, on, low, high, scale, zero, 1.0, 0, 15, 0)
        tensor([ 0.,  1., 15.])
    """
    axis = ch_axis if per_row_fake_quant else None
    channels = channels_along(self, axis)
    state = running_min, running_max, scale, zero_point
    if running_min.numel() == 0 and channels:
        for tensor, unseen in zip(state, (_INF, -_INF, 1, 0), strict=True):
            tensor.resize_(channels).fill_(unseen)
    check_fake_quantize(self, scale, zero_point, axis, quant_min, quant_max)
    scheme = RangeScheme.SYMMETRIC if symmetric_quant else RangeScheme.AFFINE
    middle = 0 if quant_min < 0 else (quant_min + quant_max + 1) // 2
    rule = RangeRule(scheme, quant_min, quant_max, middle)
    if torch.compiler.is_compiling():  # a switch is not known yet
        _follow_if(observer_on, self.detach(), axis, averaging_const, rule, state)
    elif observer_on.item():
        _follow(self.detach(), axis, averaging_const, rule, state)
    return fake_quantize(self, scale, zero_point, axis, quant_min, quant_max, fake_quant_on)


_State = tuple[Tensor, Tensor, Tensor, Tensor]


def _follow(
    values: Tensor, axis: int | None, averaging_const: float, rule: RangeRule, state: _State
) -> None:
    low, high, *out = state
    follow_range(values, axis, low, high, averaging_const, rule, (out[0], out[1]), torch.tensor(0))


def _follow_if(
    on: Tensor,
    values: Tensor,
    axis: int | None,
    averaging_const: float,
    rule: RangeRule,
    state: _State,
) -> None:
    """Observe, and keep the result if a switch is on."""
    low, high, scale, zero_point = (tensor.clone() for tensor in state)
    new = low, high, scale, zero_point
    _follow(values, axis, averaging_const, rule, new)
    for tensor, value in zip(state, new, strict=True):
        tensor.copy_(torch.where(on.reshape(()) != 0, value, tensor))


def _tensor(value: float | Tensor, input: Tensor, dtype: torch.dtype | None) -> Tensor:
    if isinstance(value, Tensor):
        return value
    return torch.full((), value, dtype=dtype, device=input.device)
