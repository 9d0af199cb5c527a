"""The geometry of convolutions, in the form that the operators below take."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

Ints = int | Sequence[int]
Function = TypeVar("Function", bound=Callable[..., Any])


def each(value: Ints, axes: int) -> tuple[int, ...]:
    """One value for each spatial axis."""
    return (value,) * axes if isinstance(value, int) else tuple(value)


def plain(
    axes: int, stride: Ints, padding: Ints, dilation: Ints, groups: int, padding_mode: str
) -> tuple[Any, ...]:
    """Of a convolution."""
    sizes = [each(value, axes) for value in (stride, padding, dilation)]
    return (*sizes, groups, padding_mode)


def transposed(
    axes: int, stride: Ints, padding: Ints, output_padding: Ints, groups: int, dilation: Ints
) -> tuple[Any, ...]:
    """Of a transposed convolution."""
    sizes = [each(value, axes) for value in (stride, padding, output_padding)]
    return (*sizes, groups, each(dilation, axes))


def named(function: Function, name: str) -> Function:
    """``function``, made for a number of axes, under the name that it has for that."""
    function.__name__ = function.__qualname__ = name
    return function
