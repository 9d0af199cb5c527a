"""Which dtypes, and within which bounds, a backend computes an operator in."""

from dataclasses import dataclass
from typing import Any, Self

from qtensor import QDType

from ._observer_spec import ObserverSpec, as_dtype
from ._quant_type import QuantType


@dataclass(frozen=True)
class DTypeWithConstraints:
    """A dtype, and what else must hold of a tensor quantized to it.

    Attributes:
        dtype: a quantized dtype (torch's object of the same name is accepted) or a float dtype;
            ``None`` accepts any.
        quant_min_lower_bound, quant_max_upper_bound: the integers that may be used.
        scale_min_lower_bound: the smallest scale the observer may give (its ``eps``).
        scale_max_upper_bound: the largest scale a fixed observer may give.
        scale_exact_match, zero_point_exact_match: demanded of a fixed observer.

    Example:
        >>> from qtensor import quint8
        >>> DTypeWithConstraints(quint8, quant_min_lower_bound=0, quant_max_upper_bound=127).dtype
        qtensor.quint8
    """

    dtype: Any = None
    quant_min_lower_bound: float | None = None
    quant_max_upper_bound: float | None = None
    scale_min_lower_bound: float | None = None
    scale_max_upper_bound: float | None = None
    scale_exact_match: float | None = None
    zero_point_exact_match: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", as_dtype(self.dtype))

    def refusal(self, spec: ObserverSpec) -> str | None:
        """Why a tensor observed as ``spec`` says is not accepted; ``None`` if it is."""
        if self.dtype is not None and spec.dtype != self.dtype:
            return f"{spec.dtype} where {self.dtype} is supported"
        for what, given, limit, sign in (
            ("quant_min", spec.quant_min, self.quant_min_lower_bound, 1),
            ("quant_max", spec.quant_max, self.quant_max_upper_bound, -1),
            ("smallest scale (eps)", spec.eps, self.scale_min_lower_bound, 1),
            ("scale", spec.scale, self.scale_max_upper_bound, -1),
        ):
            if limit is not None and given is not None and sign * given < sign * limit:
                return f"{what} {given} where the bound is {limit}"
        for what, given, wanted in (
            ("scale", spec.scale, self.scale_exact_match),
            ("zero point", spec.zero_point, self.zero_point_exact_match),
        ):
            if wanted is not None and given != wanted:
                return f"{what} {given} where exactly {wanted} is supported"
        return None


def _constrained(dtype: Any) -> DTypeWithConstraints:
    return dtype if isinstance(dtype, DTypeWithConstraints) else DTypeWithConstraints(dtype)


class DTypeConfig:
    """One combination of dtypes that an operator is computed in.

    Args:
        input_dtype, output_dtype, weight_dtype: a dtype or a :class:`DTypeWithConstraints`;
            ``None`` (the default) accepts any.
        bias_dtype: a dtype; ``None`` accepts any.
        is_dynamic: whether activations are quantized as they come, without calibration.

    Example:
        >>> import torch
        >>> from qtensor import qint8, quint8
        >>> DTypeConfig(quint8, quint8, qint8, torch.float32).weight_dtype
        qtensor.qint8
    """

    def __init__(
        self,
        input_dtype: Any = None,
        output_dtype: Any = None,
        weight_dtype: Any = None,
        bias_dtype: Any = None,
        is_dynamic: bool | None = None,
    ) -> None:
        self.input_dtype_with_constraints = _constrained(input_dtype)
        self.output_dtype_with_constraints = _constrained(output_dtype)
        self.weight_dtype_with_constraints = _constrained(weight_dtype)
        self.bias_dtype = bias_dtype
        self.is_dynamic = is_dynamic

    @property
    def input_dtype(self) -> Any:
        """The dtype of the activations read."""
        return self.input_dtype_with_constraints.dtype

    @property
    def output_dtype(self) -> Any:
        """The dtype of the activation written."""
        return self.output_dtype_with_constraints.dtype

    @property
    def weight_dtype(self) -> Any:
        """The dtype of the weight."""
        return self.weight_dtype_with_constraints.dtype

    @property
    def quant_type(self) -> QuantType:
        """How an operator computed in these dtypes is quantized."""
        if self.is_dynamic:
            return QuantType.DYNAMIC
        static = isinstance(self.input_dtype, QDType | None)
        return QuantType.STATIC if static else QuantType.WEIGHT_ONLY

    @classmethod
    def from_dict(cls, dtype_config_dict: dict[str, Any]) -> Self:
        """The config that :meth:`to_dict` wrote: a dictionary with any of the constructor's names.

        Raises:
            ValueError: an unknown key.
        """
        unknown = dtype_config_dict.keys() - set(_KEYS)
        if unknown:
            raise ValueError(f"expected keys among {list(_KEYS)}, got {sorted(unknown)}")
        return cls(**dtype_config_dict)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary of the constructor's arguments, those that are ``None`` left out."""
        values = (
            self.input_dtype_with_constraints,
            self.output_dtype_with_constraints,
            self.weight_dtype_with_constraints,
            self.bias_dtype,
            self.is_dynamic,
        )
        empty = (None, DTypeWithConstraints())
        return {key: value for key, value in zip(_KEYS, values, strict=True) if value not in empty}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DTypeConfig):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(tuple(self.to_dict().items()))

    def __repr__(self) -> str:
        return f"DTypeConfig({', '.join(f'{k}={v!r}' for k, v in self.to_dict().items())})"


_KEYS = ("input_dtype", "output_dtype", "weight_dtype", "bias_dtype", "is_dynamic")
