"""Functions on quantized tensors, under the names and with the arguments they have always had.

Each takes a :class:`qtensor.QTensor` quantized per tensor and returns one: with the parameters of
the input, unless the function takes a ``scale`` and ``zero_point`` for it.

Example:
    >>> import torch, qtensor
    >>> q = qtensor.quantize_per_tensor(torch.tensor([[[[1.0, 2.0]]]]), 0.5, 0, qtensor.quint8)
    >>> qtensor.nn.quantized.functional.max_pool2d(q, (1, 2)).dequantize()
    tensor([[[[2.]]]])
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from ... import ops
from ..._arguments import quantized
from ..._pools import pooling
from ..._qtensor import QTensor
from ..._sizes import Ints
from ...ops import conv1d as conv1d
from ...ops import conv2d as conv2d
from ...ops import conv3d as conv3d
from ...ops import linear as linear

_Size = Any  # int, None, or a sequence of these: as many as there are axes


# ---- pooling and resizing -----------------------------------------------------------------------

_max_pool1d, _max_pool2d = pooling("max_pool1d"), pooling("max_pool2d")
_avg_pool2d, _avg_pool3d = pooling("avg_pool2d"), pooling("avg_pool3d")
_adaptive_avg_pool2d = pooling("adaptive_avg_pool2d")
_adaptive_avg_pool3d = pooling("adaptive_avg_pool3d")


def avg_pool2d(
    input: QTensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """See :func:`torch.nn.functional.avg_pool2d`; rounds once, ties to even."""
    rule: Any = (ceil_mode, count_include_pad, divisor_override)
    return _avg_pool2d(input, kernel_size, stride, padding, *rule)


def avg_pool3d(
    input: QTensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """See :func:`torch.nn.functional.avg_pool3d`; rounds once, ties to even."""
    rule: Any = (ceil_mode, count_include_pad, divisor_override)
    return _avg_pool3d(input, kernel_size, stride, padding, *rule)


def adaptive_avg_pool2d(input: QTensor, output_size: _Size) -> Any:
    """See :func:`torch.nn.functional.adaptive_avg_pool2d`; rounds once, ties to even."""
    return _adaptive_avg_pool2d(input, output_size)


def adaptive_avg_pool3d(input: QTensor, output_size: _Size) -> Any:
    """See :func:`torch.nn.functional.adaptive_avg_pool3d`; rounds once, ties to even."""
    return _adaptive_avg_pool3d(input, output_size)


def max_pool1d(
    input: QTensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """See :func:`torch.nn.functional.max_pool1d`; ``return_indices`` is refused: there are none."""
    return _max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: QTensor,
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """See :func:`torch.nn.functional.max_pool2d`; ``return_indices`` is refused: there are none."""
    return _max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def interpolate(
    input: QTensor,
    size: Ints | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Any:
    """See :func:`torch.nn.functional.interpolate`.

    The modes ``"nearest"``, ``"nearest-exact"``, ``"linear"``, ``"bilinear"``, ``"trilinear"``
    and ``"area"`` work on integers; others are computed in float.
    """
    return F.interpolate(quantized(input, "interpolate"), size, scale_factor, mode, align_corners)


def upsample(
    input: QTensor,
    size: Ints | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Any:
    """The old name of :func:`interpolate`."""
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_bilinear(
    input: QTensor,
    size: Ints | None = None,
    scale_factor: float | Sequence[float] | None = None,
) -> Any:
    """:func:`interpolate` of mode ``"bilinear"`` with corners aligned."""
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


def upsample_nearest(
    input: QTensor,
    size: Ints | None = None,
    scale_factor: float | Sequence[float] | None = None,
) -> Any:
    """:func:`interpolate` of mode ``"nearest"``."""
    return interpolate(input, size, scale_factor)


# ---- activations --------------------------------------------------------------------------------


def celu(input: QTensor, scale: float, zero_point: int, alpha: float = 1.0) -> QTensor:
    """See :func:`qtensor.ops.celu`."""
    return ops.celu(input, scale, zero_point, alpha)


def elu(input: QTensor, scale: float, zero_point: int, alpha: float = 1.0) -> QTensor:
    """See :func:`qtensor.ops.elu`."""
    return ops.elu(input, scale, zero_point, alpha)


def hardsigmoid(input: QTensor, inplace: bool = False) -> Any:
    """See :func:`torch.nn.functional.hardsigmoid`; the output's scale is 1/256."""
    return F.hardsigmoid(quantized(input, "hardsigmoid"), inplace)


def hardswish(input: QTensor, scale: float, zero_point: int) -> QTensor:
    """See :func:`qtensor.ops.hardswish`."""
    return ops.hardswish(input, scale, zero_point)


def hardtanh(
    input: QTensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Any:
    """Values within ``min_val`` and ``max_val``."""
    return F.hardtanh(quantized(input, "hardtanh"), min_val, max_val, inplace)


def leaky_relu(
    input: QTensor,
    negative_slope: float = 0.01,
    inplace: bool = False,
    scale: float | None = None,
    zero_point: int | None = None,
) -> Any:
    """Leaky ReLU, with the input's parameters or those given: then not in place."""
    q = quantized(input, "leaky_relu")
    if (scale is None) != (zero_point is None):
        raise ValueError(
            f"expected both or neither of scale and zero_point, got {scale} and {zero_point}"
        )
    if scale is None or zero_point is None:
        return F.leaky_relu(q, negative_slope, inplace)
    if inplace:
        raise ValueError("leaky_relu cannot change the parameters of a tensor in place")
    return ops.leaky_relu(q, negative_slope, False, scale, zero_point)


def threshold(input: QTensor, threshold: float, value: float) -> QTensor:
    """See :func:`qtensor.ops.threshold`."""
    return ops.threshold(input, threshold, value)


def clamp(input: QTensor, min_: float, max_: float) -> Any:
    """Values within ``min_`` and ``max_``."""
    return torch.clamp(quantized(input, "clamp"), min_, max_)
