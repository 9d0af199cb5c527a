"""QConfig: how the activations and the weights of a layer are observed."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn


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


QConfigAny = QConfig | None
"""A QConfig, or ``None``: leave it in float."""


def qconfig_equals(q1: QConfigAny, q2: QConfigAny) -> bool:
    """Whether both make the same observers with the same arguments, or both are ``None``."""
    return q1 == q2
