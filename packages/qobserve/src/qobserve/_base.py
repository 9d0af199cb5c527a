"""What every observer is, and what those share that map a range to integers."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from qtensor import (
    QDType,
    QParams,
    QScheme,
    as_qscheme,
    per_channel_affine_float_qparams,
    per_tensor_affine,
    quint8,
)
from qtensor.statistics import RangeRule, affine_parameters

from ._affine import (
    as_observed_dtype,
    full_range,
    quantization_range,
    range_scheme,
    symmetric_zero_point,
)
from ._factory import WithArgs


class ChoosesQParams(WithArgs, nn.Module, ABC):
    """What has quantization parameters to offer: an observer, or a fake-quantize module.

    Attributes:
        dtype: the :class:`qtensor.QDType`, or a torch dtype that has no such counterpart.
        name: the qualified name of what is observed, set by ``prepare``, used in messages.
    """

    name: str = ""
    dtype: QDType | torch.dtype

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Look at ``x``, of any shape, and return it, as it is or fake-quantized."""

    @abstractmethod
    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point, of shape ``(1,)`` or ``(channels,)``."""

    @property
    def has_seen_data(self) -> bool:
        """Whether the parameters rest on data; true also for what needs none."""
        return True

    def qparams(self) -> QParams:
        """The parameters as one object, with the channel axis, dtype and integers in use.

        Raises:
            TypeError: the dtype is not a quantized one.
            ValueError: the parameters are no valid ones, such as a scale of NaN.
        """
        scale, zero_point = self.calculate_qparams()
        qscheme = getattr(self, "qscheme", None)
        per_channel = qscheme is not None and as_qscheme(qscheme).per_channel
        return QParams(
            scale=scale if per_channel else scale.item(),
            zero_point=zero_point if per_channel else int(zero_point.item()),
            dtype=self.dtype,  # type: ignore[arg-type]  # QParams rejects what is not quantized
            axis=getattr(self, "ch_axis", 0) if per_channel else None,
            quant_min=getattr(self, "quant_min", None),  # type: ignore[arg-type]  # None: the dtype's
            quant_max=getattr(self, "quant_max", None),  # type: ignore[arg-type]  # likewise
        )


class ObserverBase(ChoosesQParams):
    """A module that looks at the tensors passing through it and chooses quantization parameters.

    Write your own by subclassing it: ``forward`` returns its input unchanged, and
    ``calculate_qparams`` returns scale and zero point. Every flow accepts such an observer.

    Args:
        dtype: the dtype to quantize to: one of qtensor's, the torch dtype of the same name or
            storage, or a float dtype for observers that pass on only that.
        is_dynamic: whether the parameters are to be computed at run time instead.

    Raises:
        TypeError: ``dtype`` is no dtype.

    Example:
        >>> import torch
        >>> from qobserve import ObserverBase
        >>> class Always(ObserverBase):
        ...     def forward(self, x):
        ...         return x
        ...     def calculate_qparams(self):
        ...         return torch.tensor([0.5]), torch.tensor([0])
        >>> Always(dtype=torch.int8).qparams().scale
        0.5
    """

    def __init__(self, dtype: Any, is_dynamic: bool = False) -> None:
        super().__init__()
        self.dtype = as_observed_dtype(dtype)
        self.is_dynamic = is_dynamic


class UniformQuantizationObserverBase(ObserverBase):
    """An observer that maps a range of values linearly to integers.

    Args:
        dtype: the dtype to quantize to.
        qscheme: the quantization scheme, per tensor and affine by default.
        reduce_range: use half of the integers (0 … 127, -64 … 63).
        quant_min, quant_max: the integers to use, both included and given together; the dtype's
            by default.
        factory_kwargs: ``device`` and ``dtype`` of the statistics.
        eps: the smallest scale, that of float32 by default.
        is_dynamic: whether the parameters are to be computed at run time instead.
        power_of_two_scale: only scales that are powers of two, for hardware that shifts instead
            of multiplying.

    Attributes:
        quant_min, quant_max: the integers in use.
        eps: the smallest scale, a buffer of shape ``(1,)``.
        has_customized_qrange: whether ``quant_min`` and ``quant_max`` were given.

    Raises:
        TypeError: a dtype that is not quantized, or no scheme.
        ValueError: a range that is empty, lacks zero or does not fit the dtype; a reduced range
            with a symmetric unsigned scheme, whose zero point of 128 would lie outside of it; an
            ``eps`` that is not positive; ``power_of_two_scale`` with real zero points.
    """

    # Saved beside state dicts; torch's observers reached 3 with the same buffers.
    _version = 3

    eps: Tensor

    def __init__(
        self,
        dtype: Any = quint8,
        qscheme: Any = per_tensor_affine,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        factory_kwargs: dict[str, Any] | None = None,
        eps: float = torch.finfo(torch.float32).eps,
        is_dynamic: bool = False,
        *,
        power_of_two_scale: bool = False,
    ) -> None:
        super().__init__(dtype=dtype, is_dynamic=is_dynamic)
        self.qscheme: QScheme = as_qscheme(qscheme)
        self.reduce_range = reduce_range
        self.power_of_two_scale = power_of_two_scale
        if power_of_two_scale and self.qscheme == per_channel_affine_float_qparams:
            raise ValueError(f"{self.qscheme} has no scales that are powers of two")
        self.quant_min, self.quant_max = quantization_range(
            self.dtype, quant_min, quant_max, reduce_range
        )
        self.has_customized_qrange = quant_min is not None
        self._range_scheme = range_scheme(self.qscheme)
        self._symmetric_zero_point = symmetric_zero_point(
            self.dtype, self.quant_min, self.quant_max, self.has_customized_qrange
        )
        if (
            self.qscheme.symmetric
            and reduce_range
            and not self.has_customized_qrange
            and full_range(self.dtype) == (0, 255)
        ):
            raise ValueError(
                f"reduce_range leaves 0 … 127 of {self.dtype}, without the zero point 128 of "
                f"{self.qscheme}; give quant_min and quant_max, a signed dtype, or an affine scheme"
            )
        self.register_buffer("eps", torch.tensor([eps], **(factory_kwargs or {})))
        if not self.eps.item() > 0.0:
            raise ValueError(f"expected a positive eps, the smallest scale, got {eps}")

    def _calculate_qparams(self, min_val: Tensor, max_val: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and zero point for values in ``min_val … max_val``; for subclasses.

        Scale 1 and zero point 0 where nothing was seen, of shape ``(1,)`` for empty tensors.

        Raises:
            ValueError: a minimum above its maximum, or NaN.
        """
        if min_val.numel() == 0:
            device = min_val.device
            return torch.ones(1, device=device), torch.zeros(1, dtype=torch.int64, device=device)
        return affine_parameters(min_val, max_val, self.range_rule)

    @property
    def range_rule(self) -> RangeRule:
        """How scale and zero point follow from a range."""
        return RangeRule(
            self._range_scheme,
            self.quant_min,
            self.quant_max,
            self._symmetric_zero_point,
            self.eps.item(),
            self.power_of_two_scale,
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        # The first version of torch's observers held eps as a plain number.
        state_dict.setdefault(prefix + "eps", self.eps)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
