"""The arguments of kernels, taken from quantized tensors and parameters."""

from typing import Any

import torch
from torch import Tensor

from ._direct import direct
from ._qparams import QParams, per_tensor_qparams
from ._qtensor import QTensor, described, parameters


def quantized(x: Any, caller: str, argument: str = "input") -> QTensor:
    """``x``, checked to be what a quantized kernel takes: a QTensor quantized per tensor.

    Raises:
        TypeError: it is not; the message names ``caller`` and ``argument``.
    """
    if not isinstance(x, QTensor):
        raise TypeError(
            f"{caller} expects a quantized tensor as {argument}, got {described(x)}; quantize it "
            "with qtensor.quantize_per_tensor(...), or put a QuantStub or Quantize module before it"
        )
    if x._axis is not None:
        raise TypeError(
            f"{caller} expects {argument} to be quantized per tensor, got one quantized per "
            f"channel along axis {x._axis}"
        )
    return x


def tensor(x: Any, caller: str, argument: str = "input") -> Tensor:
    """``x``, checked to be a dense tensor.

    Raises:
        TypeError: it is not; the message names ``caller`` and ``argument``.
    """
    if not isinstance(x, Tensor) or x.layout != torch.strided:
        raise TypeError(f"{caller} expects a dense tensor as {argument}, got {described(x)}")
    return x


def operands(qa: Any, qb: Any, caller: str) -> tuple[Any, ...]:
    """What operators on two quantized tensors take first: integers, scale and zero point of both.

    Raises:
        TypeError: one of them is not quantized per tensor.
    """
    a, b = quantized(qa, caller, "qa"), quantized(qb, caller, "qb")
    return a._data, a._scale, a._zero_point, b._data, b._scale, b._zero_point


def output_like(
    q: Any, scale: float, zero_point: int, caller: str, argument: str = "qx"
) -> QParams:
    """Parameters of an output that has the dtype of ``q``.

    Raises:
        TypeError: ``q`` is not quantized per tensor.
    """
    return per_tensor_qparams(scale, zero_point, parameters(quantized(q, caller, argument)).dtype)


def weight_arguments(
    weight: QTensor, caller: str, axis: int = 0
) -> tuple[Tensor, Tensor, Tensor | None]:
    """What kernels take for ``weight``: integers, scales, and zero points unless all are zero.

    Args:
        weight: quantized per tensor, or per channel along ``axis``.

    Raises:
        TypeError: it is not; the message names ``caller``.
    """
    if not isinstance(weight, QTensor) or parameters(weight).axis not in (None, axis):
        given = described(weight)
        if isinstance(weight, QTensor):
            given += f" per channel along axis {weight.q_per_channel_axis()}"
        raise TypeError(
            f"{caller} expects a weight quantized per tensor or per channel along axis {axis}, "
            f"got {given}"
        )
    qparams, device = parameters(weight), weight.device
    scales = torch.as_tensor(qparams.scale, dtype=torch.float32, device=device).reshape(-1)
    zeros = torch.as_tensor(qparams.zero_point, dtype=torch.int64, device=device).reshape(-1)
    if direct(zeros) and not bool(zeros.any()):  # a tracer cannot look at values
        return weight.int_repr(), scales, None
    # Kernels take one scale for all channels, but a zero point for each.
    return weight.int_repr(), scales, zeros.expand(weight.shape[axis]).contiguous()


def requantization(output: QParams) -> tuple[Any, ...]:
    """The arguments by which kernels know their output's parameters."""
    bounds = output.quant_min, output.quant_max
    return output.scale, output.zero_point, *bounds, output.dtype.storage
