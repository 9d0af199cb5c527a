"""Fake-quantize modules: observers that also show the model what quantization will do to it."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

import qtensor
from qtensor import QDType, QScheme, as_qscheme, per_channel_affine_float_qparams

from ._base import ChoosesQParams, ObserverBase
from ._minmax import MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver
from ._passive import FixedQParamsObserver


class FakeQuantizeBase(ChoosesQParams):
    """A module that observes what passes through it, and rounds it as quantization would.

    Write your own by subclassing it: ``forward`` returns the rounded values and
    ``calculate_qparams`` scale and zero point.

    Attributes:
        fake_quant_enabled, observer_enabled: whether it rounds, and whether it observes: buffers
            of one integer, 1 at first, so that they are saved and that DDP shares them.
    """

    fake_quant_enabled: Tensor
    observer_enabled: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fake_quant_enabled", torch.tensor([1], dtype=torch.uint8))
        self.register_buffer("observer_enabled", torch.tensor([1], dtype=torch.uint8))

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Observe ``x``, of any shape, and return it fake-quantized, as far as enabled."""

    def enable_fake_quant(self, enabled: bool = True) -> None:
        """Round from now on; or with ``False``, pass values on as they are."""
        self.fake_quant_enabled.fill_(int(enabled))

    def disable_fake_quant(self) -> None:
        """Pass values on as they are."""
        self.enable_fake_quant(False)

    def enable_observer(self, enabled: bool = True) -> None:
        """Observe from now on; or with ``False``, keep the parameters as they are."""
        self.observer_enabled.fill_(int(enabled))

    def disable_observer(self) -> None:
        """Keep the parameters as they are."""
        self.enable_observer(False)


class FakeQuantize(FakeQuantizeBase):
    """Rounds values to those that quantized integers stand for, with parameters from an observer.

    The output is ``(clamp(round(x / scale) + zero_point, quant_min, quant_max) - zero_point) *
    scale``; gradients pass straight through where nothing is clamped, and are 0 elsewhere
    (Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", 2018, section 3).

    Args:
        observer: makes the observer: a class, or what its ``with_args`` returns.
        quant_min, quant_max: given to the observer if both are given.
        is_dynamic: whether this stands for quantization at run time, by each batch's own range.
        observer_kwargs: further arguments for the observer.

    Attributes:
        activation_post_process: the observer.
        scale, zero_point: the parameters in use, buffers of shape ``(1,)`` or ``(channels,)``.

    Raises:
        ValueError: a range that is empty, lacks zero or does not fit the dtype.
        TypeError: an observer without a scheme.

    Example:
        >>> import torch
        >>> from qobserve import FakeQuantize, MinMaxObserver
        >>> FakeQuantize(MinMaxObserver, quant_min=0, quant_max=3)(torch.tensor([0.0, 0.4, 3.0]))
        tensor([0., 0., 3.])
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(
        self,
        observer: Any = MovingAverageMinMaxObserver,
        quant_min: int | None = None,
        quant_max: int | None = None,
        is_dynamic: bool = False,
        **observer_kwargs: Any,
    ) -> None:
        super().__init__()
        if quant_min is not None and quant_max is not None:
            observer_kwargs |= {"quant_min": quant_min, "quant_max": quant_max}
        self.activation_post_process: Any = observer(**observer_kwargs, is_dynamic=is_dynamic)
        self.qscheme = _scheme_of(self.activation_post_process)
        self.is_per_channel = self.qscheme.per_channel
        self.register_buffer("scale", torch.ones(1))
        real = self.qscheme == per_channel_affine_float_qparams
        zero_point = torch.zeros(1, dtype=torch.float32 if real else torch.int32)
        self.register_buffer("zero_point", zero_point)

    @property
    def name(self) -> str:
        """The qualified name of what is observed, set by ``prepare``, used in messages."""
        return str(getattr(self.activation_post_process, "name", ""))

    @name.setter
    def name(self, name: str) -> None:
        self.activation_post_process.name = name

    @property
    def dtype(self) -> QDType | torch.dtype:  # type: ignore[override]  # the observer's
        """The dtype that is simulated."""
        dtype: QDType | torch.dtype = self.activation_post_process.dtype
        return dtype

    @property
    def quant_min(self) -> int:
        """The smallest integer in use."""
        return int(self.activation_post_process.quant_min)

    @property
    def quant_max(self) -> int:
        """The largest integer in use."""
        return int(self.activation_post_process.quant_max)

    @property
    def ch_axis(self) -> int:
        """The channel axis of the observer; -1 where it has none."""
        axis: int = getattr(self.activation_post_process, "ch_axis", -1)
        return axis

    @ch_axis.setter
    def ch_axis(self, axis: int) -> None:
        self.activation_post_process.ch_axis = axis

    @property
    def is_dynamic(self) -> bool:
        """Whether this stands for quantization at run time."""
        return bool(self.activation_post_process.is_dynamic)

    @property
    def has_seen_data(self) -> bool:
        """Whether the observer has seen data, or needs none."""
        return bool(getattr(self.activation_post_process, "has_seen_data", True))

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """The observer's scale and zero point, of shape ``(1,)`` or ``(channels,)``."""
        scale, zero_point = self.activation_post_process.calculate_qparams()
        return scale, zero_point

    def forward(self, x: Tensor) -> Tensor:
        """Observe ``x``, of any shape, and return it fake-quantized, as far as enabled."""
        # With a small tensor, Module's own way to look them up takes a third of the time.
        buffers: Any = self._buffers
        observer: Any = self._modules["activation_post_process"]
        if buffers["observer_enabled"].item():
            self._observe(observer, x)
        if not buffers["fake_quant_enabled"].item():
            return x
        scale, zero_point = buffers["scale"], buffers["zero_point"]
        bounds = observer.quant_min, observer.quant_max
        if self.is_per_channel:
            return qtensor.fake_quantize_per_channel_affine(
                x, scale, zero_point, observer.ch_axis, *bounds
            )
        return qtensor.fake_quantize_per_tensor_affine(x, scale, zero_point, *bounds)

    def _observe(self, observer: Any, x: Tensor) -> None:
        """Let the observer see ``x``, and keep the parameters that follow."""
        observer(x.detach())
        self._keep(*self.calculate_qparams())

    def _keep(self, scale: Tensor, zero_point: Tensor) -> None:
        for kept, new in ((self.scale, scale), (self.zero_point, zero_point)):
            if kept.shape != new.shape:
                kept.resize_(new.shape)
            kept.copy_(new)

    def extra_repr(self) -> str:
        """What is enabled, the integers in use, and the parameters."""
        return (
            f"fake_quant_enabled={self.fake_quant_enabled}, "
            f"observer_enabled={self.observer_enabled}, quant_min={self.quant_min}, "
            f"quant_max={self.quant_max}, dtype={self.dtype}, qscheme={self.qscheme}, "
            f"ch_axis={self.ch_axis}, scale={self.scale}, zero_point={self.zero_point}"
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        # How many channels there are is known only once a weight has been seen, here or before.
        for name in ("scale", "zero_point"):
            if prefix + name in state_dict:
                getattr(self, name).resize_(state_dict[prefix + name].shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


class FixedQParamsFakeQuantize(FakeQuantize):
    """Rounds with parameters known beforehand, such as those of a sigmoid.

    Args:
        observer: makes a :class:`FixedQParamsObserver`.

    Raises:
        TypeError: another observer.

    Example:
        >>> import torch
        >>> from qobserve import FixedQParamsFakeQuantize, FixedQParamsObserver
        >>> quarters = FixedQParamsObserver.with_args(scale=0.25, zero_point=0)
        >>> FixedQParamsFakeQuantize(quarters)(torch.tensor([0.3, 0.9]))
        tensor([0.2500, 1.0000])
    """

    def __init__(self, observer: Any) -> None:
        super().__init__(observer)
        _expect(self, FixedQParamsObserver)
        self._keep(*self.calculate_qparams())


class FusedMovingAvgObsFakeQuantize(FakeQuantize):
    """:class:`FakeQuantize` by the moving average of the range.

    Unlike torch's, it converts to the very parameters it trained with. Observing and choosing scale
    and zero point are one call, in which the observer's own ``forward`` has no part: what a
    subclass or a hook does there is left out, as it is in torch's.

    Args:
        observer: makes a :class:`MovingAverageMinMaxObserver` or
            :class:`MovingAveragePerChannelMinMaxObserver`.
        quant_min, quant_max: given to the observer.
        observer_kwargs: further arguments for the observer.

    Raises:
        TypeError: another observer.
        ValueError: a range that is empty, lacks zero or does not fit the dtype.
    """

    def __init__(
        self,
        observer: Any = MovingAverageMinMaxObserver,
        quant_min: int = 0,
        quant_max: int = 255,
        **observer_kwargs: Any,
    ) -> None:
        super().__init__(observer, quant_min, quant_max, **observer_kwargs)
        _expect(self, MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver)
        # 64 bits, as saved models have them.
        self.fake_quant_enabled = self.fake_quant_enabled.long()
        self.observer_enabled = self.observer_enabled.long()

    def _observe(self, observer: Any, x: Tensor) -> None:
        observer.follow(x, self.scale, self.zero_point)


def _scheme_of(observer: nn.Module) -> QScheme:
    scheme: Any = getattr(observer, "qscheme", None)
    if scheme is None:
        raise TypeError(
            "expected an observer with a qscheme to fake-quantize by, got "
            f"{type(observer).__name__}"
        )
    return as_qscheme(scheme)


def _expect(fake_quantize: FakeQuantize, *kinds: type[ObserverBase]) -> None:
    observer = fake_quantize.activation_post_process
    if not isinstance(observer, kinds):
        names = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(
            f"{type(fake_quantize).__name__} needs a {names}, got {type(observer).__name__}"
        )


def enable_fake_quant(mod: nn.Module) -> None:
    """Let ``mod`` round, if it is a fake-quantize module: ``model.apply(enable_fake_quant)``."""
    if isinstance(mod, FakeQuantizeBase):
        mod.enable_fake_quant()


def disable_fake_quant(mod: nn.Module) -> None:
    """Stop ``mod`` from rounding, if it is a fake-quantize module."""
    if isinstance(mod, FakeQuantizeBase):
        mod.disable_fake_quant()


def enable_observer(mod: nn.Module) -> None:
    """Let ``mod`` observe, if it is a fake-quantize module: ``model.apply(enable_observer)``."""
    if isinstance(mod, FakeQuantizeBase):
        mod.enable_observer()


def disable_observer(mod: nn.Module) -> None:
    """Stop ``mod`` from observing, if it is a fake-quantize module.

    Done in the last epochs of training, so that the parameters stay.
    """
    if isinstance(mod, FakeQuantizeBase):
        mod.disable_observer()
