"""Observers that keep no statistics: they pass on a configuration, or fixed parameters."""

from typing import Any

import torch
from torch import Tensor

from qtensor import QScheme, as_qscheme, per_tensor_affine, quint8, warn_user

from ._affine import check_qscheme
from ._base import ObserverBase

_EPS = torch.finfo(torch.float32).eps


class _PassiveObserver(ObserverBase):
    """Returns what it is given and has no parameters to offer."""

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``, of any shape and type."""
        return x

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Not possible.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(
            f"{type(self).__name__} has no quantization parameters to calculate (its dtype is "
            f"{self.dtype}); to quantize what it stands for, give the qconfig an observer that "
            "measures, such as default_observer, or default_weight_observer for weights"
        )


class FixedQParamsObserver(ObserverBase):
    """Parameters known beforehand, such as those of a sigmoid, whose range is 0 … 1.

    Args:
        scale: the scale, positive and finite.
        zero_point: the zero point, within ``quant_min … quant_max``.
        dtype: the dtype to quantize to, ``quint8`` by default.
        qscheme: a per-tensor scheme, affine by default.
        quant_min, quant_max: the integers in use, 0 … 255 by default.
        is_dynamic: must be false.

    Raises:
        ValueError: a scale or zero point that is not possible, a per-channel scheme, a range that
            does not fit the dtype, or ``is_dynamic``.
        TypeError: a dtype that is not quantized, or no scheme.

    Example:
        >>> from qobserve import FixedQParamsObserver
        >>> FixedQParamsObserver(scale=1 / 256, zero_point=0).qparams().scale
        0.00390625
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(
        self,
        scale: float,
        zero_point: int,
        dtype: Any = quint8,
        qscheme: Any = per_tensor_affine,
        quant_min: int = 0,
        quant_max: int = 255,
        is_dynamic: bool = False,
    ) -> None:
        if is_dynamic:
            raise ValueError("FixedQParamsObserver does not support dynamic quantization")
        super().__init__(dtype=dtype)
        self.qscheme: QScheme = check_qscheme(
            qscheme, per_channel=False, observer=type(self).__name__
        )
        self.quant_min, self.quant_max = quant_min, quant_max
        self.register_buffer("scale", torch.tensor([scale], dtype=torch.float32))
        self.register_buffer("zero_point", torch.tensor([zero_point], dtype=torch.int64))
        self.qparams()  # which checks them

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``, of any shape."""
        return x

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """The fixed scale (float32) and zero point (int64), each of shape ``(1,)``."""
        return self.scale, self.zero_point


class PlaceholderObserver(_PassiveObserver):
    """Says how something is to be quantized, without looking: dynamically, or to float16.

    Args:
        dtype: the dtype to quantize to, ``torch.float32`` (not at all) by default.
        custom_op_name: kept in the attribute ``custom_op``.
        compute_dtype: an older spelling of ``is_dynamic=True``; gives a FutureWarning.
        quant_min, quant_max: the integers to use; ``None`` leaves them to the operator.
        qscheme: the scheme, per tensor and affine by default.
        eps: the smallest scale.
        is_dynamic: whether the parameters are to be computed at run time.

    Example:
        >>> import torch
        >>> from qobserve import PlaceholderObserver
        >>> PlaceholderObserver(dtype=torch.uint8, is_dynamic=True).dtype
        qtensor.quint8
    """

    def __init__(
        self,
        dtype: Any = torch.float32,
        custom_op_name: str = "",
        compute_dtype: Any = None,
        quant_min: int | None = None,
        quant_max: int | None = None,
        qscheme: Any = None,
        eps: float | None = None,
        is_dynamic: bool = False,
    ) -> None:
        if compute_dtype is not None:
            warn_user(
                "PlaceholderObserver: write is_dynamic=True instead of compute_dtype",
                FutureWarning,
            )
        super().__init__(dtype=dtype, is_dynamic=is_dynamic or compute_dtype is not None)
        self.qscheme: QScheme = as_qscheme(per_tensor_affine if qscheme is None else qscheme)
        self.quant_min, self.quant_max = quant_min, quant_max
        self.eps = _EPS if eps is None else eps
        self.custom_op = custom_op_name

    def extra_repr(self) -> str:
        """What it stands for."""
        return f"dtype={self.dtype}, is_dynamic={self.is_dynamic}"


class NoopObserver(_PassiveObserver):
    """Says that something is not to be observed.

    Args:
        dtype: passed on, ``torch.float16`` by default.
        custom_op_name: kept in the attribute ``custom_op``.
    """

    def __init__(self, dtype: Any = torch.float16, custom_op_name: str = "") -> None:
        super().__init__(dtype=dtype)
        self.custom_op = custom_op_name


class ReuseInputObserver(_PassiveObserver):
    """Says that an output has the parameters of its input, as that of a reshape has.

    Graph flows then share the observer of the input; if that is not observed, nor is the output.
    """

    def __init__(self) -> None:
        super().__init__(dtype=quint8)


class RecordingObserver(_PassiveObserver):
    """Keeps a copy of every tensor it sees, for debugging.

    Args:
        dtype: passed on, ``quint8`` by default.

    Attributes:
        tensor_val: the tensors seen, in order.
    """

    def __init__(self, dtype: Any = quint8) -> None:
        super().__init__(dtype=dtype)
        self.tensor_val: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        """Keep a copy of ``x``, of any shape, and return it."""
        self.tensor_val.append(x.clone())
        return x

    def get_tensor_value(self) -> list[Tensor]:
        """The tensors seen, in order."""
        return self.tensor_val
