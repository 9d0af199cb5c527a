"""The arguments of kernels, taken from quantized tensors and parameters."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ._direct import direct
from ._ops._errors import calling_module
from ._qparams import QParams, per_tensor_qparams
from ._qtensor import QTensor, described, parameters


def quantized(x: Any, caller: str, argument: str = "input") -> QTensor:
    """``x``, checked to be what a quantized kernel takes: a QTensor quantized per tensor.

    Raises:
        TypeError: it is not; the message names ``caller`` and ``argument``.
    """
    if not isinstance(x, QTensor):
        module = calling_module()
        where = f" in {module}" if module not in ("", caller) else ""
        raise TypeError(
            f"{caller}{where} expects a quantized tensor as {argument}, got {described(x)}; "
            "quantize it with qtensor.quantize_per_tensor(...), or put a QuantStub or Quantize "
            "module before it"
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

    Of one weight these are the same objects in every call, by which operators know their arguments
    again. They may belong to others: write to copies only.

    Args:
        weight: quantized per tensor, or per channel along ``axis`` with whole zero points.

    Raises:
        TypeError: it is not; the message names ``caller``.
    """
    if not isinstance(weight, QTensor) or parameters(weight).axis not in (None, axis):
        given = described(weight)
        if isinstance(weight, QTensor):
            given += f" per channel along axis {weight.q_per_channel_axis()}"
        raise TypeError(
            f"{caller} expects a weight quantized per tensor or per channel along axis {axis}, "
            f"got {given}; quantize the float weight so"
        )
    scale, zero_point = parameters(weight).scale, parameters(weight).zero_point
    data, device = weight.int_repr(), weight.device
    if not isinstance(scale, Tensor) or not isinstance(zero_point, Tensor):
        # Kernels take one scale for all channels, but a zero point for each.
        scales = filled(1, scale, torch.float32, device)
        if zero_point == 0:
            return data, scales, None
        return data, scales, filled(weight.shape[axis], zero_point, torch.int64, device)
    if zero_point.is_floating_point():
        raise TypeError(
            f"{caller} expects a weight with whole zero points, got real ones, which only "
            "embedding tables have"
        )
    scales, zeros = scale.to(device, torch.float32), zero_point.to(device, torch.int64)
    none = direct(zeros) and not bool(zeros.any())  # a tracer cannot look at values
    return data, scales, None if none else zeros


def filled(count: int, value: Any, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``count`` times ``value``: where no tracer looks on, the same tensor in every call, which is
    not to be written to."""
    if device.type == "cpu" and direct():
        return _remembered(count, value, dtype)
    return torch.full((count,), value, dtype=dtype, device=device)


@lru_cache(maxsize=1024)
def _remembered(count: int, value: float, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False):  # where tensors do not count their versions
        return torch.full((count,), value, dtype=dtype, device="cpu")


def requantization(output: QParams) -> tuple[Any, ...]:
    """The arguments by which kernels know their output's parameters."""
    bounds = output.quant_min, output.quant_max
    return output.scale, output.zero_point, *bounds, output.dtype.storage
