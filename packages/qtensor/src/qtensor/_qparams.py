"""Quantization parameters: what maps the integers of a quantized tensor to real values."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from ._dtypes import (
    QDTYPES,
    QDType,
    QScheme,
    as_qdtype,
    per_channel_affine,
    per_channel_affine_float_qparams,
    per_tensor_affine,
    quint8,
)

SMALLEST_SCALE = torch.finfo(torch.float32).smallest_normal
LARGEST_SCALE = torch.finfo(torch.float32).max


@dataclass(frozen=True, eq=False)
class QParams:
    """``real = (integer - zero_point) * scale``, per tensor or along one axis.

    Attributes:
        scale: a positive float; per channel, a float32 tensor of shape ``(channels,)``.
        zero_point: an integer within ``quant_min … quant_max``; per channel, an int64 tensor of
            shape ``(channels,)`` (float32 for embedding tables, whose zero points are real).
        dtype: the quantized dtype, :data:`qtensor.quint8` by default.
        axis: the channel axis, or ``None`` per tensor.
        quant_min, quant_max: the integers in use, both included; the dtype's full range by
            default. Quantizing and requantizing clamp to them.

    Raises:
        ValueError: a scale that is not positive and finite, a zero point or range outside the
            dtype's, an empty range, or per-channel tensors that do not fit together.
        TypeError: a dtype that is not quantized.

    Example:
        >>> from qtensor import QParams, quint8
        >>> params = QParams(0.5, 3, quint8)
        >>> params.quant_min, params.quant_max, params.qscheme
        (0, 255, qtensor.per_tensor_affine)
    """

    scale: float | Tensor
    zero_point: int | Tensor = 0
    dtype: QDType = None  # type: ignore[assignment]  # filled in below, where the compiler sees it
    axis: int | None = None
    quant_min: int = None  # type: ignore[assignment]  # filled from the dtype below
    quant_max: int = None  # type: ignore[assignment]  # likewise

    if TYPE_CHECKING:  # not a field, or the compiler would hand it to __init__

        @property
        def attributes(self) -> dict[str, Any]:
            """What a QTensor keeps of these parameters as plain attributes (see there)."""

    def __post_init__(self) -> None:
        dtype = quint8 if self.dtype is None else as_qdtype(self.dtype)
        object.__setattr__(self, "dtype", dtype)
        for name in ("quant_min", "quant_max"):
            given = getattr(self, name)
            object.__setattr__(self, name, getattr(dtype, name) if given is None else int(given))
        if not dtype.quant_min <= self.quant_min < self.quant_max <= dtype.quant_max:
            raise ValueError(
                f"expected quant_min < quant_max within {dtype.quant_min} … {dtype.quant_max} "
                f"of {dtype}, got {self.quant_min} … {self.quant_max}"
            )
        traced = any(isinstance(x, torch.fx.Proxy) for x in (self.scale, self.zero_point))
        if not traced:  # else the graph will make one of values
            self._check_per_tensor() if self.axis is None else self._check_per_channel()
        attributes = {
            "_scale": self.scale,
            "_zero_point": self.zero_point,
            "_axis": self.axis,
            "_format": (dtype.name, self.quant_min, self.quant_max),
        }
        object.__setattr__(self, "attributes", attributes)

    def _check_per_tensor(self) -> None:
        for name, kind in (("scale", float), ("zero_point", int)):
            given = getattr(self, name)
            if isinstance(given, Tensor) and given.numel() != 1:
                raise ValueError(
                    f"expected one {name} per tensor, got {given.numel()}; give an axis for "
                    "per-channel parameters"
                )
            if kind is int and isinstance(given, float) and not given.is_integer():
                raise ValueError(f"expected a whole number as {name}, got {given}")
            object.__setattr__(self, name, kind(given))
        check_scale(float(self.scale))
        check_zero_point(self.zero_point, self.quant_min, self.quant_max)

    def _check_per_channel(self) -> None:
        scale, zero_point = self.scale, self.zero_point
        if not isinstance(scale, Tensor) or not isinstance(zero_point, Tensor):
            raise ValueError("per-channel parameters need a scale tensor and a zero_point tensor")
        if scale.ndim != 1 or scale.shape != zero_point.shape:
            raise ValueError(
                "expected scale and zero_point of one shape (channels,), got "
                f"{tuple(scale.shape)} and {tuple(zero_point.shape)}"
            )
        if not scale.dtype.is_floating_point:
            raise ValueError(f"expected floating-point scales, got {scale.dtype}")

    @property
    def qscheme(self) -> QScheme:
        """The scheme these parameters follow."""
        if self.axis is None:
            return per_tensor_affine
        if isinstance(self.zero_point, Tensor) and self.zero_point.dtype.is_floating_point:
            return per_channel_affine_float_qparams
        return per_channel_affine

    def replace(self, **changes: Any) -> Self:
        """A copy with some attributes changed."""
        return replace(self, **changes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, QParams):
            return NotImplemented
        same = (self.dtype, self.axis, self.quant_min, self.quant_max) == (
            other.dtype,
            other.axis,
            other.quant_min,
            other.quant_max,
        )
        return (
            same and _equal(self.scale, other.scale) and _equal(self.zero_point, other.zero_point)
        )

    def __hash__(self) -> int:
        return hash((self.dtype, self.axis, self.quant_min, self.quant_max))

    def __reduce__(self) -> tuple[Any, ...]:  # of plain values, so that weights_only can load it
        fields = self.scale, self.zero_point, self.axis
        return qparams_of, (*fields, self.dtype.name, self.quant_min, self.quant_max)


def qparams_of(
    scale: float | Tensor,
    zero_point: int | Tensor,
    axis: int | None,
    dtype: str,
    quant_min: int,
    quant_max: int,
) -> QParams:
    """Parameters from plain values; saved files name this function."""
    return QParams(scale, zero_point, QDTYPES[dtype], axis, quant_min, quant_max)


def per_tensor_qparams(
    scale: float | Tensor,
    zero_point: int | Tensor,
    dtype: QDType,
    quant_min: int | None = None,
    quant_max: int | None = None,
) -> QParams:
    """``QParams(scale, zero_point, dtype, None, …)``; of plain numbers, made and checked once."""
    plain = type(scale) is float and type(zero_point) is int
    made = _remembered if plain and not torch.compiler.is_compiling() else _made
    return made(scale, zero_point, dtype, quant_min, quant_max)


def _made(
    scale: Any, zero_point: Any, dtype: QDType, quant_min: int | None, quant_max: int | None
) -> QParams:
    bounds: Any = quant_min, quant_max  # None means the dtype's
    return QParams(scale, zero_point, dtype, None, *bounds)


_remembered = lru_cache(maxsize=4096)(_made)


def _equal(a: float | Tensor, b: float | Tensor) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a is b or a.device != b.device or a.is_meta:  # where there are no values to compare
            return a is b
        return torch.equal(a, b)
    return type(a) is type(b) and bool(a == b)


def check_scale(scale: float, name: str = "scale") -> None:
    """Raise ``ValueError`` unless the scale can be computed with in float32."""
    # The reciprocal of a scale below the normal range may be infinite. NaN fails too.
    if not SMALLEST_SCALE <= scale <= LARGEST_SCALE:
        raise ValueError(
            f"expected a positive, finite {name} within float32's {SMALLEST_SCALE:.3g} … "
            f"{LARGEST_SCALE:.3g}, got {scale}"
        )


def check_zero_point(
    zero_point: int | Tensor, quant_min: int, quant_max: int, name: str = "zero_point"
) -> None:
    """Raise ``ValueError`` unless every zero point lies within ``quant_min … quant_max``."""
    if isinstance(zero_point, Tensor):
        ok = bool(((zero_point >= quant_min) & (zero_point <= quant_max)).all())
    else:
        ok = quant_min <= zero_point <= quant_max
    if not ok:
        raise ValueError(f"expected {name} within {quant_min} … {quant_max}, got {zero_point}")
