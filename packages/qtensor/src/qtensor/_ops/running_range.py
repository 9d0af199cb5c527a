"""What an observer does with the range of a batch, and the parameters that follow from a range.

Not operators of ``torch.ops``: they write into the buffers of a module, a value a channel. What
has no kernel is plain torch, with the same numbers::

    joined:     range = min(range.min, new.min), max(range.max, new.max)
    averaged:   range += averaging_constant · (new - range)

    lo, hi = min(range.min, 0), max(range.max, 0)
    affine:     scale = (hi - lo) / (quant_max - quant_min)
                zero_point = clamp(quant_min - round(lo / scale), quant_min, quant_max)
    symmetric:  scale = 2 · max(-lo, hi) / (quant_max - quant_min), a fixed zero point

(Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2018, section 3), so that zero is always exact. The scheme with
real zero points, used for embedding tables, does not keep it exact: ``scale = (max - min) /
(quant_max - quant_min)``, one if that is not above ``eps``, and ``zero_point = -min / scale``.
"""

from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from .. import _fake_quantize, _statistics
from .._direct import direct
from .._threads import num_threads
from ._channels import channels_along
from ._layout import FLOAT
from ._zero_points import ZERO_POINT_KINDS, zero_point_addresses
from .statistics import aminmax, aminmax_per_channel, check_float

_INF = float("inf")
_PER_TENSOR = -1  # of csrc/running_range.h
_increment_version = torch.autograd.graph.increment_version

Parameters = tuple[Tensor, Tensor]

# ---- running ranges ------------------------------------------------------------------------------


def observe_range(
    x: Tensor,
    axis: int | None,
    min_val: Tensor,
    max_val: Tensor,
    averaging_constant: float | None = None,
) -> int | Tensor:
    """Take the finite values of a batch into a running range, in place.

    The first ones set the range; where there are none, it stays as it is.

    Args:
        x: as for :func:`aminmax`.
        axis: the channel axis, ``None`` for one range in all.
        min_val, max_val: the running range, float; one element, or shape ``(channels,)``. ``inf``
            and ``-inf`` before anything was seen.
        averaging_constant: the weight of the batch in a moving average; ``None`` joins the ranges.

    Returns:
        how many values are not finite: a number, or an int64 scalar where there is no kernel.

    Raises:
        TypeError: ``x`` is not of a float dtype.
        ValueError: no such axis, or bounds for another number of channels.

    Example:
        >>> import torch
        >>> from qtensor.statistics import observe_range
        >>> low, high = torch.tensor(float("inf")), torch.tensor(-float("inf"))
        >>> observe_range(torch.tensor([3.0, float("nan"), -1.0]), None, low, high)
        1
        >>> low, high
        (tensor(-1.), tensor(3.))
    """
    check_float(x)
    channels = channels_along(x, axis, "x")
    if min_val.numel() != channels or max_val.numel() != channels:
        raise ValueError(
            f"expected bounds of {channels} value(s) for x of shape {tuple(x.shape)} and "
            f"axis={axis}, got shapes {tuple(min_val.shape)} and {tuple(max_val.shape)}"
        )
    kernel_takes = (
        x.dtype in FLOAT
        and min_val.dtype is torch.float32
        and max_val.dtype is torch.float32
        and min_val.is_contiguous()
        and max_val.is_contiguous()
        and direct(x, min_val, max_val)
    )
    if not kernel_takes:
        return _observe_range_reference(x, axis, min_val, max_val, averaging_constant)
    dropped = _statistics.observe_range(
        FLOAT[x.dtype],
        x.data_ptr(),
        x.shape,
        x.stride(),
        _PER_TENSOR if axis is None else axis % x.ndim,
        min_val.data_ptr(),
        max_val.data_ptr(),
        averaging_constant,
        num_threads(),
    )
    _written(min_val, max_val)
    return dropped


def _observe_range_reference(
    x: Tensor,
    axis: int | None,
    min_val: Tensor,
    max_val: Tensor,
    averaging_constant: float | None,
) -> Tensor:
    lowest, highest, dropped = aminmax(x) if axis is None else aminmax_per_channel(x, axis)
    lowest, highest = lowest.reshape(min_val.shape).to(min_val), highest.reshape(max_val.shape)
    highest = highest.to(max_val)
    if averaging_constant is None:
        min_val.copy_(torch.minimum(min_val, lowest))
        max_val.copy_(torch.maximum(max_val, highest))
    else:
        for average, value in ((min_val, lowest), (max_val, highest)):
            moved = average + averaging_constant * (value - average)
            moved = torch.where(torch.isinf(average), value, moved)
            average.copy_(torch.where(torch.isinf(value), average, moved))
    return dropped.sum()


def _written(first: Tensor, second: Tensor) -> None:
    """Tell autograd that a kernel has written into both."""
    if not first.is_inference():
        _increment_version((first, second))


# ---- parameters ----------------------------------------------------------------------------------


class RangeScheme(IntEnum):
    """How parameters follow from a range; see above. Numbered as in csrc/running_range.h."""

    AFFINE = 0
    SYMMETRIC = 1
    REAL_ZERO_POINTS = 2


class RangeRule(NamedTuple):
    """How scale and zero point follow from a range.

    Attributes:
        scheme: affine, symmetric, or with real zero points.
        quant_min, quant_max: the integers in use.
        zero_point: that of the symmetric scheme.
        eps: the smallest scale.
        power_of_two: take the next power of two at or above the scale, before the zero point
            follows from it; not with real zero points.
    """

    scheme: RangeScheme
    quant_min: int
    quant_max: int
    zero_point: int = 0
    eps: float = torch.finfo(torch.float32).eps
    power_of_two: bool = False


def affine_parameters(
    min_val: Tensor, max_val: Tensor, rule: RangeRule, out: Parameters | None = None
) -> Parameters:
    """Scale and zero point that map ranges to integers.

    Args:
        min_val, max_val: float tensors of one shape, ``inf`` and ``-inf`` where nothing was seen.
        rule: how.
        out: what to write into, as many values each: the scale, float, and the zero point, of an
            integer dtype (real zero points: float).

    Returns:
        ``out``; else scale, of the dtype of ``min_val``, and zero point, int64 (real zero points:
        the dtype of ``min_val``), both of shape ``(values,)``. Scale 1 and zero point 0 where
        nothing was seen.

    Raises:
        ValueError: tensors of different sizes; a minimum above its maximum, or NaN.

    Example:
        >>> import torch
        >>> from qtensor.statistics import RangeRule, RangeScheme, affine_parameters
        >>> rule = RangeRule(RangeScheme.AFFINE, 0, 15)
        >>> affine_parameters(torch.tensor(-1.0), torch.tensor(2.0), rule)
        (tensor([0.2000]), tensor([5]))
    """
    if out is None:
        real = rule.scheme == RangeScheme.REAL_ZERO_POINTS
        scale = min_val.new_empty(min_val.numel())
        out = scale, torch.empty_like(scale, dtype=None if real else torch.int64)
    scale, zero_point = out
    if any(tensor.numel() != min_val.numel() for tensor in (max_val, *out)):
        raise ValueError(
            f"expected as many values in each tensor, got min_val of shape {tuple(min_val.shape)}, "
            f"max_val of {tuple(max_val.shape)}, and {tuple(scale.shape)} and "
            f"{tuple(zero_point.shape)} to write into"
        )
    kernel_takes = (
        min_val.dtype is torch.float32
        and max_val.dtype is torch.float32
        and scale.dtype is torch.float32
        and zero_point.dtype in ZERO_POINT_KINDS
        and min_val.is_contiguous()
        and max_val.is_contiguous()
        and scale.is_contiguous()
        and zero_point.is_contiguous()
        and direct(min_val, max_val, scale, zero_point)
    )
    if not kernel_takes:
        _affine_parameters_reference(min_val, max_val, rule, scale, zero_point)
        return out
    valid = _statistics.affine_parameters(
        min_val.data_ptr(),
        max_val.data_ptr(),
        min_val.numel(),
        rule,
        scale.data_ptr(),
        *zero_point_addresses(zero_point),
    )
    if not valid:
        _refuse(min_val, max_val)
    _written(scale, zero_point)
    return out


def _affine_parameters_reference(
    min_val: Tensor, max_val: Tensor, rule: RangeRule, scale_out: Tensor, zero_point_out: Tensor
) -> None:
    min_val, max_val = min_val.reshape(-1), max_val.reshape(-1)
    unseen = (min_val == _INF) & (max_val == -_INF)
    if not torch.compiler.is_compiling() and not bool(((min_val <= max_val) | unseen).all()):
        _refuse(min_val, max_val)
    lowest, highest = min_val.masked_fill(unseen, 0.0), max_val.masked_fill(unseen, 0.0)
    scale, zero_point = parameters_of(lowest, highest, rule)
    scale, zero_point = scale.masked_fill(unseen, 1.0), zero_point.masked_fill(unseen, 0)
    scale_out.copy_(scale.reshape(scale_out.shape))
    zero_point_out.copy_(zero_point.reshape(zero_point_out.shape))


def follow_range(
    x: Tensor,
    axis: int | None,
    min_val: Tensor,
    max_val: Tensor,
    averaging_constant: float | None,
    rule: RangeRule,
    out: Parameters,
    count: Tensor,
) -> int | Tensor:
    """:func:`observe_range`, then :func:`affine_parameters` of the range into ``out``, at once.

    Args:
        x, axis, min_val, max_val, averaging_constant: as for :func:`observe_range`.
        rule, out: as for :func:`affine_parameters`.
        count: an int64 scalar, to which the number of finite values is added.

    Returns:
        how many values are not finite, as :func:`observe_range` does.

    Raises:
        TypeError, ValueError: as those two.

    Example:
        >>> import torch
        >>> from qtensor.statistics import RangeRule, RangeScheme, follow_range
        >>> low, high = torch.tensor(float("inf")), torch.tensor(-float("inf"))
        >>> count = torch.tensor(0)
        >>> out = torch.empty(1), torch.empty(1, dtype=torch.int32)
        >>> rule = RangeRule(RangeScheme.AFFINE, 0, 15)
        >>> follow_range(torch.tensor([-1.0, 2.0]), None, low, high, 0.01, rule, out, count)
        0
        >>> out, count
        ((tensor([0.2000]), tensor([5], dtype=torch.int32)), tensor(2))
    """
    state = min_val, max_val, averaging_constant
    if not torch.compiler.is_compiling():
        dropped = _fake_quantize.follow(x, axis, *state, rule, *out, count)
        if dropped is not None:
            return dropped
    seen = observe_range(x, axis, *state)
    affine_parameters(min_val, max_val, rule, out)
    count.add_(x.numel() - seen)
    return seen


def parameters_of(lowest: Tensor, highest: Tensor, rule: RangeRule) -> Parameters:
    """The formulas above in plain torch, for float tensors of one shape."""
    levels = float(rule.quant_max - rule.quant_min)
    if rule.scheme == RangeScheme.REAL_ZERO_POINTS:
        scale = (highest - lowest) / levels
        scale = torch.where(scale > rule.eps, scale, torch.ones_like(scale))
        return scale, -lowest / scale
    symmetric = rule.scheme == RangeScheme.SYMMETRIC
    below, above = lowest.clamp(max=0.0), highest.clamp(min=0.0)
    span = 2.0 * torch.maximum(-below, above) if symmetric else above - below
    # A span beyond the largest float would give an infinite scale, and NaN for zero.
    scale = (span.clamp(max=torch.finfo(span.dtype).max) / levels).clamp(min=rule.eps)
    if rule.power_of_two:
        scale = next_power_of_two(scale)
    if symmetric:
        return scale, torch.full_like(scale, rule.zero_point, dtype=torch.int64)
    zero_point = rule.quant_min - torch.round(below / scale).double()  # exact for 32 bits
    return scale, zero_point.clamp(rule.quant_min, rule.quant_max).to(torch.int64)


def next_power_of_two(scale: Tensor) -> Tensor:
    """The smallest power of two that is not below each of ``scale``, positive, of any shape."""
    mantissa, exponent = torch.frexp(scale)  # 0.5 <= mantissa < 1
    return torch.ldexp(torch.ones_like(scale), exponent - (mantissa == 0.5).to(exponent.dtype))


def _refuse(min_val: Tensor, max_val: Tensor) -> None:
    raise ValueError(f"expected min_val <= max_val, got {min_val} and {max_val}")
