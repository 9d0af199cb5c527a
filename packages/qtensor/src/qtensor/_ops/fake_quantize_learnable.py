"""Fake quantize whose scale and zero point are learned (LSQ).

The forward pass is :func:`fake_quantize` with the zero point, a float, rounded and clamped to
the range. With ``t = x / scale`` and the rounded zero point ``z``, and ``inside`` as there:

    d y / d scale = round(t) - t inside, quant_min - z or quant_max - z where clamped
    d y / d zero_point = 0 inside, -scale where clamped

(Esser et al., Learned Step Size Quantization, equation 3; Jain et al., TQT, section 3). Both are
summed over what shares the parameter, in float64, and multiplied by ``grad_factor``.
"""

from typing import Any

import torch
from torch import Tensor

from .. import _fake_quantize
from .._threads import num_threads
from ._layout import FLOAT
from ._registry import operator
from .fake_quantize import (
    ARGUMENTS,
    Layout,
    Steps,
    check_grad,
    fake_quantize_cpu,
    fake_quantize_fake,
    fake_quantize_reference,
    formatted_as,
    needs_reference,
    read_under,
)


def _rounded(zero_point: Tensor, quant_min: int, quant_max: int) -> Tensor:
    if zero_point.dtype == torch.bool or zero_point.is_complex():
        raise TypeError(f"expected float zero points, got {zero_point.dtype}")
    return zero_point.detach().double().round().clamp(quant_min, quant_max).long()


def fake_quantize_learnable_reference(
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int | None,
    quant_min: int,
    quant_max: int,
    grad_factor: float = 1.0,
) -> Tensor:
    """As :func:`fake_quantize`, differentiable in scale and zero point too.

    Args:
        input, scale, axis, quant_min, quant_max: see :func:`fake_quantize`.
        zero_point: float, as many values as scales; rounded and clamped to the range.
        grad_factor: what the gradients of scale and zero point are multiplied by.

    Returns:
        A tensor of the shape, dtype and memory format of ``input``.

    Raises:
        TypeError, ValueError: as :func:`fake_quantize`.

    Example:
        >>> import torch, qtensor
        >>> x, scale, zero = torch.tensor([0.3, 9.0]), torch.tensor([0.5]), torch.tensor([0.2])
        >>> torch.ops.qtensor.fake_quantize_learnable(x, scale, zero, None, -2, 2)
        tensor([0.5000, 1.0000])
    """
    zero_point = _rounded(zero_point, quant_min, quant_max)
    return fake_quantize_reference(input, scale, zero_point, axis, quant_min, quant_max)


def fake_quantize_learnable_fake(
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int | None,
    quant_min: int,
    quant_max: int,
    grad_factor: float = 1.0,
) -> Tensor:
    return fake_quantize_fake(input, scale, zero_point, axis, quant_min, quant_max)


def fake_quantize_learnable_cpu(
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int | None,
    quant_min: int,
    quant_max: int,
    grad_factor: float = 1.0,
) -> Tensor:
    zero_point = _rounded(zero_point, quant_min, quant_max)
    return fake_quantize_cpu(input, scale, zero_point, axis, quant_min, quant_max)


Gradients = tuple[Tensor, Tensor, Tensor]


def fake_quantize_learnable_backward_reference(
    grad: Tensor,
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int | None,
    quant_min: int,
    quant_max: int,
    grad_factor: float = 1.0,
) -> Gradients:
    """The gradients of input, scale and zero point of :func:`fake_quantize_learnable`.

    Args:
        grad: of the output; shape and dtype of ``input``. The others are those of the forward.

    Returns:
        Tensors of the shapes and dtypes of ``input``, ``scale`` and ``zero_point``.
    """
    rounded = _rounded(zero_point, quant_min, quant_max)
    steps = Steps(input, scale, rounded, axis, quant_min, quant_max)
    zero = steps.product.new_zeros(())
    errors = grad * (steps.difference - torch.where(steps.inside, steps.product, zero))
    clamped = torch.where(steps.inside, zero, grad)
    others = [d for d in range(input.ndim) if axis is None or d != axis % input.ndim]
    sums = [x.double().sum(others) if others else x.double() for x in (errors, clamped)]
    grad_scale, grad_zero_point = (
        (factor * x.reshape(scale.shape)).to(scale.dtype)
        for factor, x in ((grad_factor, sums[0]), (-grad_factor * scale.double(), sums[1]))
    )
    passed = torch.where(steps.inside, grad, torch.zeros_like(grad))
    return formatted_as(passed, input), grad_scale, grad_zero_point.to(zero_point.dtype)


def fake_quantize_learnable_backward_fake(
    grad: Tensor,
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int | None,
    quant_min: int,
    quant_max: int,
    grad_factor: float = 1.0,
) -> Gradients:
    check_grad(grad, input)
    output = fake_quantize_fake(input, scale, zero_point, axis, quant_min, quant_max)
    shape = scale.shape
    return output, scale.new_empty(shape), zero_point.new_empty(zero_point.shape)


def fake_quantize_learnable_backward_cpu(
    grad: Tensor,
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int | None,
    quant_min: int,
    quant_max: int,
    grad_factor: float = 1.0,
) -> Gradients:
    arguments = input, scale, zero_point, axis, quant_min, quant_max
    output, grad_scale, grad_zero_point = fake_quantize_learnable_backward_fake(grad, *arguments)
    if needs_reference(input):
        return fake_quantize_learnable_backward_reference(grad, *arguments, grad_factor)
    if output.numel() == 0:
        return output, grad_scale.zero_(), grad_zero_point.zero_()
    rounded = _rounded(zero_point, quant_min, quant_max)
    layout = Layout(output, scale, rounded, axis, quant_min, quant_max)
    sums = scale.new_empty(2, scale.numel(), dtype=torch.float32)
    operands = *read_under(output, grad), *read_under(output, input)
    results = output.data_ptr(), sums[0].data_ptr(), sums[1].data_ptr()
    call = FLOAT[input.dtype], *operands, *results, grad_factor, layout.fields, num_threads()
    if not _fake_quantize.learn(*call):
        layout.explain()
    shaped = sums.reshape(2, *scale.shape)
    return output, grad_scale.copy_(shaped[0]), grad_zero_point.copy_(shaped[1].view_as(zero_point))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    input, scale, zero_point, *rest = inputs
    ctx.save_for_backward(input, scale, zero_point)
    ctx.rest = rest


def _gradients(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    gradients = fake_quantize_learnable_backward(grad, *ctx.saved_tensors, *ctx.rest)
    return *gradients, *(None,) * 4


fake_quantize_learnable_backward = operator(
    f"fake_quantize_learnable_backward(Tensor grad, {ARGUMENTS}, float grad_factor=1.0) -> "
    "(Tensor, Tensor, Tensor)",
    cpu=fake_quantize_learnable_backward_cpu,
    reference=fake_quantize_learnable_backward_reference,
    fake=fake_quantize_learnable_backward_fake,
)

fake_quantize_learnable = operator(
    f"fake_quantize_learnable({ARGUMENTS}, float grad_factor=1.0) -> Tensor",
    cpu=fake_quantize_learnable_cpu,
    reference=fake_quantize_learnable_reference,
    fake=fake_quantize_learnable_fake,
    gradient=(_save, _gradients),
)
