"""Pooling and dropout of quantized tensors, under their old names."""

from typing import Any

import torch.nn.functional as F

from .._arguments import quantized
from .._qparams import QParams
from .._qtensor import QTensor, parameters
from ._requantize import requantize

Ints = int | list[int] | tuple[int, ...]


def max_pool1d(
    qx: QTensor,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    ceil_mode: bool,
) -> QTensor:
    """See :func:`torch.nn.functional.max_pool1d`; with the parameters of ``qx``."""
    q = quantized(qx, "max_pool1d", "qx")
    pooled: Any = F.max_pool1d(q, kernel_size, stride, padding, dilation, ceil_mode)
    return pooled  # type: ignore[no-any-return]  # torch's function on a QTensor gives one


def max_pool2d(
    qx: QTensor,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    ceil_mode: bool,
) -> QTensor:
    """See :func:`torch.nn.functional.max_pool2d`; with the parameters of ``qx``."""
    q = quantized(qx, "max_pool2d", "qx")
    pooled: Any = F.max_pool2d(q, kernel_size, stride, padding, dilation, ceil_mode)
    return pooled  # type: ignore[no-any-return]  # torch's function on a QTensor gives one


def dropout(
    qx: QTensor,
    output_scale: float,
    output_zero_point: int,
    p: float = 0.5,
    training: bool = False,
) -> QTensor:
    """The values of ``qx`` with the output's parameters; nothing is dropped.

    Raises:
        NotImplementedError: ``training``, which integers cannot take part in.
    """
    if training:
        raise NotImplementedError("dropout of a quantized tensor in training: train in float")
    q = quantized(qx, "dropout", "qx")
    return requantize(q, QParams(output_scale, output_zero_point, parameters(q).dtype))
