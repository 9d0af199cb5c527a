"""What an observer says of the tensors it watches, read off an instance."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from qobserve import FixedQParamsObserver
from qtensor import QDType, as_qdtype

from ._quant_type import QuantType


def as_dtype(dtype: Any) -> Any:
    """``dtype`` as one of ours where it stands for a quantized one, else unchanged.

    Args:
        dtype: a ``QDType``, torch's quantized dtype of the same name, a torch dtype, or ``None``.
    """
    try:
        return as_qdtype(dtype)
    except TypeError:
        return dtype


@dataclass(frozen=True)
class ObserverSpec:
    """What matters about an observer before it has seen anything.

    Attributes:
        dtype: the quantized dtype, or a float dtype where nothing is quantized.
        quant_min, quant_max: the integers in use; ``None`` without a quantized dtype.
        is_dynamic: whether parameters are computed from each batch.
        eps: the smallest scale it gives, where it has one.
        scale, zero_point: where they are fixed beforehand.
    """

    dtype: Any
    quant_min: int | None = None
    quant_max: int | None = None
    is_dynamic: bool = False
    eps: float | None = None
    scale: float | None = None
    zero_point: int | None = None

    @classmethod
    def of(cls, constructor: Callable[[], nn.Module] | None) -> "ObserverSpec":
        """The spec of what ``constructor`` (a class, or an observer's ``with_args``) makes.

        Without one, nothing is quantized.
        """
        if constructor is None:
            return cls(torch.float32)
        observer: Any = constructor()
        dtype = as_dtype(getattr(observer, "dtype", torch.float32))
        low, high = (getattr(observer, name, None) for name in ("quant_min", "quant_max"))
        quantized = isinstance(dtype, QDType)
        # A fake-quantize module keeps its observer inside.
        inner = getattr(observer, "activation_post_process", observer)
        fixed = isinstance(inner, FixedQParamsObserver)
        return cls(
            dtype=dtype,
            quant_min=(dtype.quant_min if low is None else int(low)) if quantized else None,
            quant_max=(dtype.quant_max if high is None else int(high)) if quantized else None,
            is_dynamic=bool(getattr(observer, "is_dynamic", False)),
            eps=_number(getattr(inner, "eps", None)),
            scale=_number(observer.scale) if fixed else None,
            zero_point=int(observer.zero_point) if fixed else None,
        )

    @property
    def quant_type(self) -> QuantType:
        """How an operator is quantized whose activations are observed like this."""
        if self.is_dynamic:
            return QuantType.DYNAMIC
        return QuantType.STATIC if isinstance(self.dtype, QDType) else QuantType.WEIGHT_ONLY

    @property
    def reduces_range(self) -> bool:
        """Whether it uses at most 7 bits."""
        low, high = self.quant_min, self.quant_max
        return low is not None and high is not None and high - low <= 127


def _number(value: Any) -> float | None:
    if isinstance(value, Tensor):
        return float(value) if value.numel() == 1 else None
    return float(value) if isinstance(value, int | float) else None
