"""How the modules here replace torch's functions on a QTensor."""

from collections.abc import Callable
from typing import Any

from .._functions import found
from .._qtensor import dispatched, functions

Function = Callable[..., Any]


def stands_for(*names: str) -> Callable[[Function], Function]:
    """Makes the decorated function the integer counterpart of torch's functions ``names``."""

    def register(on_integers: Function) -> Function:
        def from_dispatcher(func: Any, *args: Any, **kwargs: Any) -> Any:
            return on_integers(*args, **kwargs)

        for name in names:
            dispatched[name] = from_dispatcher
            functions.update(dict.fromkeys(found(name), on_integers))
        return on_integers

    return register
