"""Observers of the smallest and the largest value: running or averaged, per tensor or channel."""

from typing import Any, Self

import torch
from torch import Tensor

from qtensor import per_channel_affine, per_tensor_affine, quint8
from qtensor.statistics import follow_range, observe_range

from ._affine import check_qscheme
from ._running import RangeObserver, fill_unseen_range

_INF = float("inf")
_EPS = torch.finfo(torch.float32).eps


class _MinMax(RangeObserver):
    """Keeps nothing but the range."""

    averaging_constant: float | None = None

    def _axis_of(self, x: Tensor) -> int | None:
        """The channel axis, ``None`` per tensor; makes room for the channels of ``x``."""
        return None

    def update(self, x: Tensor) -> Tensor | int:
        """Take the range of the finite values of ``x`` in; return how many are not finite."""
        axis = self._axis_of(x)
        return observe_range(x, axis, self.min_val, self.max_val, self.averaging_constant)

    def follow(self, x: Tensor, scale: Tensor, zero_point: Tensor) -> None:
        """What calling it with ``x`` and writing the parameters into these two does, at once."""
        if x.numel() == 0:
            return
        values = self.values_of(x)
        axis = self._axis_of(values)
        buffers: Any = self._buffers  # to look each up by name takes as long as to read ``x``
        low, high, out = buffers["min_val"], buffers["max_val"], (scale, zero_point)
        for parameter in out:
            if parameter.numel() != low.numel():
                parameter.resize_(low.shape)
        rule, constant, count = self.range_rule, self.averaging_constant, buffers["count"]
        self.report(follow_range(values, axis, low, high, constant, rule, out, count))

    def widen(self, lowest: Tensor, highest: Tensor) -> None:
        """Make the range hold another one, of the same shape, as well."""
        torch.minimum(self.min_val, lowest, out=self.min_val)
        torch.maximum(self.max_val, highest, out=self.max_val)

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point, of shape ``(1,)`` or ``(channels,)``.

        If nothing was seen, 1 and 0 of shape ``(1,)``.
        """
        return self._calculate_qparams(self.min_val, self.max_val)


class _Averaged(_MinMax):
    """Averages the ranges of the batches instead of joining them."""

    averaging_constant: float

    def _check_mergeable(self, other: object) -> None:
        raise TypeError(
            f"{self.name or type(self).__name__} averages over batches, which depends on their "
            "order, so that what several of them have seen has no exact sum; use MinMaxObserver "
            "or HistogramObserver to calibrate in parts"
        )


class MinMaxObserver(_MinMax):
    """Maps the range between the smallest and the largest value seen to the integers.

    Scale and zero point follow from that range as in
    :meth:`UniformQuantizationObserverBase.calculate_qparams`'s scheme: with ``lo`` and ``hi`` the
    range widened to include zero, ``scale = (hi - lo) / (quant_max - quant_min)`` and ``zero_point
    = quant_min - round(lo / scale)``; symmetric schemes take ``2 · max(-lo, hi)`` for ``hi - lo``.

    Args:
        dtype: the dtype to quantize to, ``quint8`` by default.
        qscheme: ``per_tensor_affine`` (default) or ``per_tensor_symmetric``.
        reduce_range: use half of the integers (0 … 127, -64 … 63).
        quant_min, quant_max: the integers to use; the dtype's by default.
        factory_kwargs: ``device`` and ``dtype`` of the statistics.
        eps: the smallest scale.
        is_dynamic: whether the parameters are to be computed at run time instead.
        power_of_two_scale: only scales that are powers of two; the next one above, so that the
            range still fits.

    Attributes:
        min_val, max_val: the range seen, scalar buffers; ``inf`` and ``-inf`` before any.

    Raises:
        ValueError: a per-channel scheme, or a range of integers that is not possible.
        TypeError: a dtype that is not quantized, or no scheme.

    Example:
        >>> import torch
        >>> from qobserve import MinMaxObserver
        >>> observer = MinMaxObserver()
        >>> _ = observer(torch.tensor([-1.0, 0.0, 4.1]))
        >>> observer.qparams().scale, observer.qparams().zero_point
        (0.019999999552965164, 50)
    """

    def __init__(
        self,
        dtype: Any = quint8,
        qscheme: Any = per_tensor_affine,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        factory_kwargs: dict[str, Any] | None = None,
        eps: float = _EPS,
        is_dynamic: bool = False,
        *,
        power_of_two_scale: bool = False,
    ) -> None:
        super().__init__(
            dtype=dtype,
            qscheme=check_qscheme(qscheme, per_channel=False, observer=type(self).__name__),
            reduce_range=reduce_range,
            quant_min=quant_min,
            quant_max=quant_max,
            factory_kwargs=factory_kwargs,
            eps=eps,
            is_dynamic=is_dynamic,
            power_of_two_scale=power_of_two_scale,
        )
        self._register_range([], factory_kwargs)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        fill_unseen_range(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class MovingAverageMinMaxObserver(_Averaged, MinMaxObserver):
    """As :class:`MinMaxObserver`, with the range averaged over the batches.

    The first batch sets the range; each later one moves it by ``averaging_constant`` of the
    difference: ``min_val += averaging_constant · (min(x) - min_val)``, likewise ``max_val``.
    The result depends on the order of the batches, by definition, so two such observers
    cannot be merged.

    Args:
        averaging_constant: the weight of a new batch, 0.01 by default.

        The others are those of :class:`MinMaxObserver`.

    Raises:
        ValueError: ``is_dynamic`` with an averaging constant other than 1, which would let one
            input influence the parameters of the next.

    Example:
        >>> import torch
        >>> from qobserve import MovingAverageMinMaxObserver
        >>> observer = MovingAverageMinMaxObserver(averaging_constant=0.5)
        >>> for top in (1.0, 3.0):
        ...     _ = observer(torch.tensor([0.0, top]))
        >>> observer.max_val
        tensor(2.)
    """

    def __init__(
        self,
        averaging_constant: float = 0.01,
        dtype: Any = quint8,
        qscheme: Any = per_tensor_affine,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        eps: float = _EPS,
        is_dynamic: bool = False,
        factory_kwargs: dict[str, Any] | None = None,
        *,
        power_of_two_scale: bool = False,
    ) -> None:
        if is_dynamic and averaging_constant != 1:
            raise ValueError(
                "expected averaging_constant=1 for dynamic quantization, where every input has "
                f"its own parameters; got {averaging_constant}"
            )
        super().__init__(
            dtype=dtype,
            qscheme=qscheme,
            reduce_range=reduce_range,
            quant_min=quant_min,
            quant_max=quant_max,
            factory_kwargs=factory_kwargs,
            eps=eps,
            is_dynamic=is_dynamic,
            power_of_two_scale=power_of_two_scale,
        )
        self.averaging_constant = averaging_constant


class PerChannelMinMaxObserver(_MinMax):
    """As :class:`MinMaxObserver`, with a range of its own for every channel.

    Args:
        ch_axis: the channel axis, 0 by default.
        dtype: the dtype to quantize to, ``quint8`` by default.
        qscheme: ``per_channel_affine`` (default), ``per_channel_symmetric`` or
            ``per_channel_affine_float_qparams``.
        reduce_range: use half of the integers (0 … 127, -64 … 63).
        quant_min, quant_max: the integers to use; the dtype's by default.
        factory_kwargs: ``device`` and ``dtype`` of the statistics.
        eps: the smallest scale.
        is_dynamic: must be false.
        power_of_two_scale: as for :class:`MinMaxObserver`; not with real zero points.

    Attributes:
        min_val, max_val: the ranges seen, buffers of shape ``(channels,)``; empty before any, and
            ``inf`` and ``-inf`` for a channel without finite values.

    Raises:
        ValueError: a per-tensor scheme, a range of integers that is not possible, or
            ``is_dynamic``.
        TypeError: a dtype that is not quantized, or no scheme.

    Example:
        >>> import torch
        >>> from qobserve import PerChannelMinMaxObserver
        >>> observer = PerChannelMinMaxObserver(dtype=torch.int8)
        >>> _ = observer(torch.tensor([[0.0, 2.55], [0.0, 25.5]]))
        >>> observer.calculate_qparams()
        (tensor([0.0100, 0.1000]), tensor([-128, -128]))
    """

    def __init__(
        self,
        ch_axis: int = 0,
        dtype: Any = quint8,
        qscheme: Any = per_channel_affine,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        factory_kwargs: dict[str, Any] | None = None,
        eps: float = _EPS,
        is_dynamic: bool = False,
        *,
        power_of_two_scale: bool = False,
    ) -> None:
        if is_dynamic:
            raise ValueError(f"{type(self).__name__} does not support dynamic quantization")
        super().__init__(
            dtype=dtype,
            qscheme=check_qscheme(qscheme, per_channel=True, observer=type(self).__name__),
            reduce_range=reduce_range,
            quant_min=quant_min,
            quant_max=quant_max,
            factory_kwargs=factory_kwargs,
            eps=eps,
            power_of_two_scale=power_of_two_scale,
        )
        self.ch_axis = ch_axis
        self._register_range([0], factory_kwargs)

    def _axis_of(self, x: Tensor) -> int:
        if not -x.ndim <= self.ch_axis < x.ndim:
            label = self.name or type(self).__name__
            raise ValueError(f"{label}: no channel axis {self.ch_axis} in shape {tuple(x.shape)}")
        self.expect_channels(x.shape[self.ch_axis])
        return self.ch_axis

    def expect_channels(self, channels: int) -> None:
        """Make room for so many channels, if there are none yet.

        Raises:
            ValueError: there are, and of another number.
        """
        if self.min_val.numel() == 0:
            self.min_val.resize_(channels).fill_(_INF)
            self.max_val.resize_(channels).fill_(-_INF)
        elif self.min_val.numel() != channels:
            raise ValueError(
                f"{self.name or type(self).__name__}: expected {self.min_val.numel()} channels "
                f"along axis {self.ch_axis}, as before, got {channels}"
            )

    def merge(self, other: Self) -> None:
        """Take in all that ``other`` has seen, exactly as if this observer had seen it.

        Raises:
            ValueError: another number of channels.
        """
        self._check_mergeable(other)
        if other.min_val.numel():
            self.expect_channels(other.min_val.numel())
            super().merge(other)

    def reset(self) -> None:
        """Forget everything seen, the number of channels included."""
        super().reset()
        self.min_val.resize_(0)
        self.max_val.resize_(0)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        for name in ("min_val", "max_val"):
            # Old state dicts name them in the plural.
            if prefix + name + "s" in state_dict:
                state_dict[prefix + name] = state_dict.pop(prefix + name + "s")
        saved = [state_dict.get(prefix + name) for name in ("min_val", "max_val")]
        if saved[0] is not None and saved[1] is not None and saved[0].shape == saved[1].shape:
            for bound in (self.min_val, self.max_val):
                bound.resize_(saved[0].shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class MovingAveragePerChannelMinMaxObserver(_Averaged, PerChannelMinMaxObserver):
    """As :class:`PerChannelMinMaxObserver`, with the ranges averaged over the batches.

    See :class:`MovingAverageMinMaxObserver` for the average and for what follows from it.

    Args:
        averaging_constant: the weight of a new batch, 0.01 by default.

        The others are those of :class:`PerChannelMinMaxObserver`.
    """

    def __init__(
        self,
        averaging_constant: float = 0.01,
        ch_axis: int = 0,
        dtype: Any = quint8,
        qscheme: Any = per_channel_affine,
        reduce_range: bool = False,
        quant_min: int | None = None,
        quant_max: int | None = None,
        eps: float = _EPS,
        is_dynamic: bool = False,
        factory_kwargs: dict[str, Any] | None = None,
        *,
        power_of_two_scale: bool = False,
    ) -> None:
        super().__init__(
            ch_axis=ch_axis,
            dtype=dtype,
            qscheme=qscheme,
            reduce_range=reduce_range,
            quant_min=quant_min,
            quant_max=quant_max,
            factory_kwargs=factory_kwargs,
            eps=eps,
            is_dynamic=is_dynamic,
            power_of_two_scale=power_of_two_scale,
        )
        self.averaging_constant = averaging_constant
