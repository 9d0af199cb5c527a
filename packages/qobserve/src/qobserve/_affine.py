"""From a range of real values to scale and zero point, and which integers may be used."""

import torch

from qtensor import QDType, QScheme, as_qdtype, as_qscheme, per_channel_affine_float_qparams
from qtensor.statistics import RangeScheme

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


def range_scheme(qscheme: QScheme) -> RangeScheme:
    """How parameters follow from a range in this scheme."""
    if qscheme == per_channel_affine_float_qparams:
        return RangeScheme.REAL_ZERO_POINTS
    return RangeScheme.SYMMETRIC if qscheme.symmetric else RangeScheme.AFFINE


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
