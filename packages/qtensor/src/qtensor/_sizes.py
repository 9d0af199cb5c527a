"""Arguments that are one value for all spatial axes, or a value for each."""

from collections.abc import Sequence
from typing import Any

Ints = int | Sequence[int]


def each(value: Any, axes: int) -> tuple[Any, ...]:
    """One value for each spatial axis."""
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * axes
