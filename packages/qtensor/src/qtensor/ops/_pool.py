"""Pooling and dropout of quantized tensors, under their old names."""

from .._arguments import quantized
from .._pools import pooling
from .._qparams import QParams
from .._qtensor import QTensor, parameters
from .._sizes import Ints
from ._requantize import requantize

_max_pool1d, _max_pool2d = pooling("max_pool1d"), pooling("max_pool2d")


def max_pool1d(
    qx: QTensor,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    ceil_mode: bool,
) -> QTensor:
    """See :func:`torch.nn.functional.max_pool1d`; with the parameters of ``qx``."""
    return _max_pool1d(qx, kernel_size, stride, padding, dilation, ceil_mode)


def max_pool2d(
    qx: QTensor,
    kernel_size: Ints,
    stride: Ints,
    padding: Ints,
    dilation: Ints,
    ceil_mode: bool,
) -> QTensor:
    """See :func:`torch.nn.functional.max_pool2d`; with the parameters of ``qx``."""
    return _max_pool2d(qx, kernel_size, stride, padding, dilation, ceil_mode)


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
