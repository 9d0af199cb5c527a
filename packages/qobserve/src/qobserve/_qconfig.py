"""QConfig: how the activations and the weights of a layer are observed."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class _Fields(NamedTuple):
    activation: Callable[[], Any] | None
    weight: Callable[[], Any] | None


class QConfig(_Fields):
    """Which observer watches the activations of a layer, and which its weights.

    Both are constructors, called once for every layer: observer classes, or what their
    ``with_args`` returns. Two QConfigs are equal if their constructors and arguments are.

    Args:
        activation: makes the observer of the activations.
        weight: makes the observer of the weights; ``None`` for what has none.

    Raises:
        ValueError: an observer instead of what makes one.

    Example:
        >>> from qobserve import MinMaxObserver, QConfig, default_per_channel_weight_observer
        >>> qconfig = QConfig(
        ...     activation=MinMaxObserver.with_args(quant_max=127, quant_min=0),
        ...     weight=default_per_channel_weight_observer,
        ... )
        >>> qconfig.activation().quant_max
        127
    """

    __slots__ = ()

    def __new__(
        cls, activation: Callable[[], Any] | None, weight: Callable[[], Any] | None
    ) -> "QConfig":
        for name, given in (("activation", activation), ("weight", weight)):
            if isinstance(given, nn.Module):
                kind = type(given).__name__
                raise ValueError(
                    f"expected {name} to be an observer class or {kind}.with_args(...), from which "
                    f"every layer makes its own; got an instance of {kind}"
                )
        return super().__new__(cls, activation, weight)


class QConfigDynamic(_Fields):
    """As :class:`QConfig`, of the time when dynamic quantization had one of its own.

    Args:
        activation, weight: constructors; ``torch.nn.Identity`` by default.

    Raises:
        ValueError: an observer instead of what makes one.
    """

    __slots__ = ()

    def __new__(
        cls,
        activation: Callable[[], Any] | None = nn.Identity,
        weight: Callable[[], Any] | None = nn.Identity,
    ) -> "QConfigDynamic":
        QConfig(activation, weight)  # which checks them
        return super().__new__(cls, activation, weight)


QConfigAny = QConfig | None
"""A QConfig, or ``None``: leave it in float."""


def qconfig_equals(q1: QConfigAny, q2: QConfigAny) -> bool:
    """Whether both make the same observers with the same arguments, or both are ``None``."""
    return q1 == q2


def assert_valid_qconfig(qconfig: QConfigAny, mod: nn.Module) -> None:
    """Raise unless ``qconfig`` can be that of ``mod``.

    Args:
        qconfig: the QConfig; ``None`` is always valid.
        mod: the module it is for.

    Raises:
        ValueError: weights per channel along axis 0 for a transposed convolution, where that is
            the axis of the input channels: each output channel needs one scale.

    Example:
        >>> import torch
        >>> from qobserve import assert_valid_qconfig, get_default_qconfig
        >>> assert_valid_qconfig(get_default_qconfig("x86"), torch.nn.Conv2d(1, 1, 1))
    """
    if qconfig is None or qconfig.weight is None or not isinstance(mod, _TRANSPOSED):
        return
    observer = qconfig.weight()
    if getattr(observer, "ch_axis", -1) == 0:
        raise ValueError(
            f"{type(mod).__name__} has its output channels along axis 1 of the weight; give it a "
            "weight observer with ch_axis=1, or one per tensor"
        )
