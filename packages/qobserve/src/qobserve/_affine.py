"""From a range of real values to scale and zero point, and which integers may be used."""

import torch
from torch import Tensor

from qtensor import QDType, QScheme, as_qdtype, as_qscheme, per_channel_affine_float_qparams

# Integers without a quantized dtype of their own, which observers may nevertheless target.
_WIDE_INTEGERS = (torch.int16, torch.uint16)


def as_observed_dtype(dtype: object) -> QDType | torch.dtype:
    """The quantized dtype that ``dtype`` stands for, else the torch dtype that it is.

    Raises:
        TypeError: ``dtype`` is no dtype.
    """
    try:
        return as_qdtype(dtype)
    except TypeError:
        if isinstance(dtype, torch.dtype):
            return dtype
        raise


def full_range(dtype: QDType | torch.dtype) -> tuple[int, int]:
    """The smallest and the largest integer of ``dtype``.

    Raises:
        TypeError: ``dtype`` is not one that observers can calibrate for.
    """
    if isinstance(dtype, QDType):
        return dtype.quant_min, dtype.quant_max
    if dtype in _WIDE_INTEGERS:
        info = torch.iinfo(dtype)
        return info.min, info.max
    raise TypeError(
        f"expected a quantized dtype, torch.int16 or torch.uint16 to calibrate for, got {dtype}"
    )


def quantization_range(
    dtype: QDType | torch.dtype,
    quant_min: int | None,
    quant_max: int | None,
    reduce_range: bool,
) -> tuple[int, int]:
    """The integers to use: those asked for, else all of ``dtype``; half as many if reduced.

    Raises:
        ValueError: one bound without the other, an empty range, one without zero, or one that
            ``dtype`` does not hold.
    """
    lowest, highest = full_range(dtype)
    if quant_min is None and quant_max is None:
        # Only 8-bit kernels ever needed the spare bit.
        halve = reduce_range and highest - lowest == 255
        return (lowest // 2, highest // 2) if halve else (lowest, highest)
    if quant_min is None or quant_max is None:
        raise ValueError(
            f"expected quant_min and quant_max together, got {quant_min} and {quant_max}"
        )
    if not lowest <= quant_min <= 0 <= quant_max <= highest or quant_min == quant_max:
        raise ValueError(
            f"expected quant_min < quant_max, with 0 between them, within {lowest} … {highest} of "
            f"{dtype}; got {quant_min} … {quant_max}"
        )
    if not reduce_range:
        return quant_min, quant_max
    if quant_min // 2 == quant_max // 2:
        raise ValueError(f"reduce_range leaves a single integer of {quant_min} … {quant_max}")
    return quant_min // 2, quant_max // 2


def symmetric_zero_point(
    dtype: QDType | torch.dtype, quant_min: int, quant_max: int, customized: bool
) -> int:
    """Zero for signed integers, the middle of the range for unsigned ones.

    The middle of a customized range is rounded down, that of a full one up (128 of 0 … 255): so it
    always was, and saved models depend on it.
    """
    if full_range(dtype)[0] < 0:
        return 0
    return (quant_min + quant_max + (0 if customized else 1)) // 2


def affine_parameters(
    min_val: Tensor,
    max_val: Tensor,
    *,
    qscheme: QScheme,
    quant_min: int,
    quant_max: int,
    zero_point: int,
    eps: Tensor,
    power_of_two_scale: bool = False,
) -> tuple[Tensor, Tensor]:
    """Scale and zero point that map ``min_val … max_val`` to ``quant_min … quant_max``.

    With ``lo = min(min_val, 0)`` and ``hi = max(max_val, 0)``, so that zero is always exact::

        symmetric:  scale = 2 · max(-lo, hi) / (quant_max - quant_min)
        affine:     scale = (hi - lo) / (quant_max - quant_min)
                    zero_point = clamp(quant_min - round(lo / scale), quant_min, quant_max)

    (Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", 2018, section 3). The scheme with real zero points, used
    for embedding tables, does not keep zero exact: ``scale = (max_val - min_val) / (quant_max -
    quant_min)``, one if that is not above ``eps``; ``zero_point = -min_val / scale``.

    Args:
        min_val, max_val: float tensors of one shape. A channel that saw nothing has
            ``inf`` and ``-inf``, and is treated as if it had seen only zero.
        qscheme: the scheme.
        quant_min, quant_max: the integers in use.
        zero_point: the zero point of the symmetric schemes.
        eps: the smallest scale, shape ``(1,)``.
        power_of_two_scale: take the next power of two at or above that scale, before the zero
            point follows from it.

    Returns:
        scale, of the dtype of ``min_val``, and zero point, int64 (real zero points: the dtype of
        ``min_val``); both of its shape, ``(1,)`` for a scalar.

    Raises:
        ValueError: a minimum above its maximum, or NaN.
    """
    # Per tensor, eps gives scalars their shape (1,); per channel everything stays (channels,).
    min_val, max_val = min_val.reshape(-1), max_val.reshape(-1)
    unseen = (min_val == float("inf")) & (max_val == float("-inf"))
    min_val, max_val = min_val.masked_fill(unseen, 0.0), max_val.masked_fill(unseen, 0.0)
    if not bool((min_val <= max_val).all()):
        raise ValueError(f"expected min_val <= max_val, got {min_val} and {max_val}")

    levels = float(quant_max - quant_min)
    if qscheme == per_channel_affine_float_qparams:
        scale = (max_val - min_val) / levels
        scale = torch.where(scale > eps, scale, torch.ones_like(scale))
        return scale, -min_val / scale

    below, above = min_val.clamp(max=0.0), max_val.clamp(min=0.0)
    span = 2.0 * torch.maximum(-below, above) if qscheme.symmetric else above - below
    # A span beyond the largest float would give an infinite scale, and NaN for zero.
    scale = torch.maximum(span.clamp(max=torch.finfo(span.dtype).max) / levels, eps)
    if power_of_two_scale:
        scale = next_power_of_two(scale)
    if qscheme.symmetric:
        return scale, torch.full_like(scale, zero_point, dtype=torch.int64)
    integers = quant_min - torch.round(below / scale).to(torch.int64)
    return scale, integers.clamp(quant_min, quant_max)


def next_power_of_two(scale: Tensor) -> Tensor:
    """The smallest power of two that is not below each of ``scale``, positive, of any shape."""
    mantissa, exponent = torch.frexp(scale)  # 0.5 <= mantissa < 1
    return torch.ldexp(torch.ones_like(scale), exponent - (mantissa == 0.5).to(exponent.dtype))


def check_qscheme(qscheme: object, *, per_channel: bool, observer: str) -> QScheme:
    """The scheme that ``qscheme`` stands for, if it is of the right kind for ``observer``.

    Raises:
        ValueError: a per-tensor scheme for a per-channel observer, or the reverse.
        TypeError: no scheme at all.
    """
    scheme = as_qscheme(qscheme)
    if scheme.per_channel != per_channel:
        expected = "per-channel" if per_channel else "per-tensor"
        raise ValueError(f"{observer} needs a {expected} scheme, got {scheme}")
    return scheme
