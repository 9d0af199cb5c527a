"""Functions on quantized tensors that come to one call of an operator.

What such a function does, to check its arguments and to find those of the operator, takes as long
as the work on a small tensor. So it only says which call it comes to; that is remembered, and calls
like one before go straight to the kernel.
"""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, NamedTuple, ParamSpec

from torch import Tensor
from torch.compiler import is_dynamo_compiling

from ._calls import Kernel, Prepared
from ._dtypes import QDType
from ._qparams import QParams
from ._qtensor import QTensor, wrapped
from ._recalled import Recalled

P = ParamSpec("P")


class Call(NamedTuple):
    """``operator(*arguments)``, whose result has the parameters ``output``, of whole bytes.

    The arguments are the tensors of the function's own, in the same order, and what follows from
    their dtypes, layouts and parameters and from its other arguments.
    """

    operator: Callable[..., Tensor]
    arguments: tuple[Any, ...]
    output: QParams


class Shortcut:
    """A function of torch on integers, for which plain eager calls have a kernel.

    Args:
        function: what everyone else who looks on sees.
        kernel: as for ``Prepared``.
    """

    def __init__(self, function: Callable[..., Tensor], kernel: Callable[..., Kernel]) -> None:
        self.function = function
        self.cpu = Prepared(function, kernel)

    def __call__(self, *args: Any) -> Tensor:
        return self.function(*args)


def one_call(function: Callable[P, Call | QTensor]) -> Callable[P, QTensor]:
    """Makes a function return the result of the :class:`Call` that it returns.

    It may return the result itself instead, and is then asked again the next time.
    """
    recalled = remembering(function)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if is_dynamo_compiling():  # it sees nothing of what follows
            return finished(function(*args, **kwargs))
        return recalled(args, kwargs)

    call.__signature__ = signature(function).replace(return_annotation=QTensor)  # type: ignore[attr-defined]  # functions take attributes, mypy knows not
    return call


def remembering(function: Callable[..., Any]) -> Recalled:
    """What :func:`one_call` calls where no compiler looks on; takes a tuple and a dictionary."""
    return Recalled(function, finished, Call, QTensor, QParams, QDType)


def finished(made: Any) -> Any:
    """The result of what a function returned: of a :class:`Call`, or itself."""
    if isinstance(made, Call):
        return wrapped(made.operator(*made.arguments), made.output)
    return made
