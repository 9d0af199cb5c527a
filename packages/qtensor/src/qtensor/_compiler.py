"""What torch's compiler is to know of functions, said without importing it."""

from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def constant_result(function: F) -> F:
    """``torch.compiler.assume_constant_result``, which would import the compiler: three quarters of
    the time that ``import qtensor`` would take."""
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]  # functions take any
    return function
