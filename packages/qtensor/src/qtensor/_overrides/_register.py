"""How the modules here replace torch's functions on a QTensor."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from .._functions import found
from .._one_call import finished, one_call, remembering
from .._qtensor import QTensor, dispatched, functions, in_float, parameters, recalled

Function = Callable[..., Any]


def stands_for(
    *names: str, per_tensor: bool = False, of_bytes: bool = False
) -> Callable[[Function], Function]:
    """Makes the decorated function the integer counterpart of torch's functions ``names``.

    Args:
        names: as in torch, ``torch.Tensor``, ``torch.nn.functional`` and ``torch.ops.aten``.
        per_tensor: it only knows a first argument that is quantized per tensor, and returns the
            ``Call`` it comes to; torch's own function is computed in float for others.
        of_bytes: likewise, it only knows integers that are stored in a byte.
    """

    def register(on_integers: Function) -> Function:
        for name in names:
            for func in found(name):
                if per_tensor:
                    _register_call(func, _guarded(on_integers, func, of_bytes))
                else:
                    functions[func] = on_integers
            dispatched[name] = _from_dispatcher(on_integers, per_tensor, of_bytes)
        return on_integers

    return register


def _register_call(func: Function, on_integers: Function) -> None:
    functions[func] = one_call(on_integers)
    recalled[func] = remembering(on_integers)


def _guarded(on_integers: Function, func: Function, of_bytes: bool) -> Function:
    """``on_integers``, or ``func`` in float where the first argument is not quantized so."""

    @wraps(on_integers)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        first = args[0] if args else kwargs.get("input")
        if isinstance(first, QTensor) and not _fits(first, of_bytes):
            return in_float(func, func.__name__, args, kwargs)
        return on_integers(*args, **kwargs)

    return guarded


def _fits(x: QTensor, of_bytes: bool) -> bool:
    return x._axis is None and not (of_bytes and parameters(x).dtype.storage.itemsize > 1)


def _from_dispatcher(on_integers: Function, per_tensor: bool, of_bytes: bool) -> Function:
    def call(func: Any, *args: Any, **kwargs: Any) -> Any:
        counterpart = _guarded(on_integers, func, of_bytes) if per_tensor else on_integers
        return finished(counterpart(*args, **kwargs))

    return call
