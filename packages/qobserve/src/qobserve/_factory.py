"""Observer constructors with some arguments filled in: what a QConfig holds."""

from collections.abc import Callable
from functools import partial
from typing import Any, Self


class ObserverFactory:
    """Calls a constructor with arguments chosen beforehand; a new object each time.

    Made by :meth:`WithArgs.with_args` and :meth:`WithArgs.with_callable_args`. Two factories are
    equal when they call the same constructor with equal arguments.

    Args:
        p: the constructor and its keyword arguments.
        callable_args: for each argument name, a function called at construction for its value.
    """

    def __init__(
        self,
        p: "partial[Any]",
        callable_args: dict[str, Callable[[], Any]] | None = None,
    ) -> None:
        self.p = p
        self.callable_args = callable_args or {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        called = {name: make() for name, make in self.callable_args.items() if name not in kwargs}
        return self.p(*args, **called, **kwargs)

    def with_args(self, **kwargs: Any) -> "ObserverFactory":
        """A factory with these arguments added, overriding those of the same name."""
        remaining = {n: make for n, make in self.callable_args.items() if n not in kwargs}
        return ObserverFactory(partial(self.p, **kwargs), remaining)

    def with_callable_args(self, **kwargs: Callable[[], Any]) -> "ObserverFactory":
        """A factory whose named arguments are computed anew at every construction."""
        return ObserverFactory(self.p, {**self.callable_args, **kwargs})

    def _key(self) -> tuple[Any, ...]:
        return self.p.func, self.p.args, self.p.keywords, self.callable_args

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObserverFactory) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self.p.func)

    def __repr__(self) -> str:
        name = getattr(self.p.func, "__name__", repr(self.p.func))
        arguments = [*map(repr, self.p.args)]
        arguments += [f"{key}={value!r}" for key, value in self.p.keywords.items()]
        arguments += [f"{key}={make!r}()" for key, make in self.callable_args.items()]
        return f"{name}({', '.join(arguments)})"


class WithArgs:
    """Gives a class ``with_args`` and ``with_callable_args``."""

    @classmethod
    def with_args(cls: type[Self], **kwargs: Any) -> ObserverFactory:
        """A factory of this class with some constructor arguments filled in.

        Example:
            >>> from qobserve import MinMaxObserver
            >>> narrow = MinMaxObserver.with_args(quant_min=0, quant_max=127)
            >>> narrow().quant_max, narrow(quant_max=15).quant_max
            (127, 15)
        """
        return ObserverFactory(partial(cls, **kwargs))

    @classmethod
    def with_callable_args(cls: type[Self], **kwargs: Callable[[], Any]) -> ObserverFactory:
        """A factory of this class whose named arguments are computed at every construction."""
        return ObserverFactory(partial(cls), kwargs)
