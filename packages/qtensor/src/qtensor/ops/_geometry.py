"""The geometry of convolutions, in the form that the operators below take."""

from collections.abc import Callable
from typing import Any, TypeVar

from .._sizes import Ints, each

Function = TypeVar("Function", bound=Callable[..., Any])


def plain(
    axes: int, stride: Ints, padding: Ints, dilation: Ints, groups: int, padding_mode: str
) -> tuple[Any, ...]:
    """What operators take after the bias to know a convolution's geometry."""
    sizes = [each(value, axes) for value in (stride, padding, dilation)]
    return (*sizes, groups, padding_mode)


def transposed(
    axes: int, stride: Ints, padding: Ints, output_padding: Ints, groups: int, dilation: Ints
) -> tuple[Any, ...]:
    """:func:`plain` of a transposed convolution, in the order of its operators."""
    sizes = [each(value, axes) for value in (stride, padding, output_padding)]
    return (*sizes, groups, each(dilation, axes))


def named(function: Function, name: str) -> Function:
    """``function``, made for a number of axes, under the name that it has for that: also in errors
    and tracebacks, which ask its code."""
    function.__name__ = function.__qualname__ = name
    code: Any = function.__code__
    function.__code__ = code.replace(co_name=name, co_qualname=name)
    return function
