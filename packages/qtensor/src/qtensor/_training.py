"""Fake quantization: what a model sees while it is trained to be quantized."""

import torch
from torch import Tensor

from ._ops._checks import check_parameters
from ._ops.fake_quantize import fake_quantize
from ._ops.fake_quantize_learnable import fake_quantize_learnable


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
        >>> qtensor.fake_quantize_per_channel_affine(torch.full((2, 1), 0.7), scales, zeros, 0, 0, 7)
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


def _tensor(value: float | Tensor, input: Tensor, dtype: torch.dtype | None) -> Tensor:
    if isinstance(value, Tensor):
        return value
    return torch.tensor(value, dtype=dtype, device=input.device)
