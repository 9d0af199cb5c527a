"""Whom an error is about: the operator, and the module or function that called it."""

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

_FUNCTIONS = "qtensor.ops."
_OF_CHECKS = (TypeError, ValueError, IndexError)


def naming(operator: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """``function``, whose errors name the operator that it computes."""

    @wraps(function)
    def named(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except _OF_CHECKS as error:
            name_in(error, operator)
            raise

    return named


def name_in(error: Exception, operator: str) -> None:
    """Puts the names of an operator and its caller in front of the message of a check's error."""
    message = str(error)
    if isinstance(error, _OF_CHECKS) and not message.startswith("qtensor."):
        error.args = (f"{called(operator)}: {message}",)


def called(operator: str) -> str:
    """``"qtensor.linear in QuantizedLinear"``, where a method of that module runs.

    Or ``"qtensor.unary in ops.elu"`` where a function of ``qtensor.ops`` does, and no module; or
    the operator alone.
    """
    caller = calling_module() or calling_function()
    return f"qtensor.{operator} in {caller}" if caller else f"qtensor.{operator}"


def calling_module() -> str:
    """The name of the innermost module of which a method runs, or ``""``: for errors only, since
    looking for it takes long."""
    for frame in _frames():
        if isinstance(frame.f_locals.get("self"), nn.Module):
            module: Any = frame.f_locals["self"]
            return str(module._get_name())
    return ""


def calling_function() -> str:
    """The name of the outermost function of ``qtensor.ops`` that runs, or ``""``."""
    name = ""
    for frame in _frames():
        caller = frame.f_code.co_name
        if frame.f_globals.get("__name__", "").startswith(_FUNCTIONS) and caller[0] not in "_<":
            name = f"ops.{caller}"
    return name


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def check_tensors(
    operator: str, arguments: Sequence[torch._C.Argument], given: Sequence[Any]
) -> None:
    """Raise ``TypeError`` unless what the schema wants to be tensors are, and dense ones; and
    nothing else is one of several values."""
    for argument, value in zip(arguments, given, strict=False):
        kind = str(argument.type)
        if "Tensor" not in kind and isinstance(value, Tensor) and value.numel() != 1:
            raise TypeError(
                f"{called(operator)}: expected a number as {argument.name}, got a tensor of shape "
                f"{tuple(value.shape)}"
            )
        if "Tensor" not in kind or (value is None and kind.startswith("Optional")):
            continue
        several = kind.startswith("List") and isinstance(value, (list, tuple))
        for tensor in value if several else [value]:
            if not isinstance(tensor, Tensor):
                got = f"a {type(tensor).__name__}"
            elif tensor.layout != torch.strided:
                got = f"one of layout {tensor.layout}: convert it with .to_dense()"
            else:
                continue
            raise TypeError(
                f"{called(operator)}: expected a dense tensor as {argument.name}, got {got}"
            )
