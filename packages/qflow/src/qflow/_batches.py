"""A user's data, read as calls of a model."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Call:
    """The arguments of one call of a model."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def __call__(self, model: nn.Module) -> Any:
        """What ``model`` returns for these arguments."""
        return model(*self.args, **self.kwargs)

    def positional(self, model: nn.Module) -> tuple[Any, ...]:
        """The arguments by position, with defaults between them, as example inputs are given."""
        bound = inspect.signature(model.forward).bind(*self.args, **self.kwargs)
        given = tuple(bound.arguments)
        bound.apply_defaults()
        # Those after the last one given stay out: decorators of forward may add them by name.
        last = list(bound.arguments).index(given[-1]) if given else -1
        for name in list(bound.arguments)[last + 1 :]:
            del bound.arguments[name]
        return bound.args


class Batches:
    """Batches of inputs, each turned into the arguments of one model's ``forward``.

    - A tensor is the only argument, a dictionary gives arguments by name, a tuple or list by
      position.
    - What ``forward`` does not need is left out, and remembered in :attr:`notes`: of a tuple,
      what comes after the parameters without default (so that ``(input, label)`` works); of a
      dictionary, names that ``forward`` does not have. Give a dictionary to set parameters that
      have a default.

    Args:
        model: whose ``forward`` will be called.
        data: an iterable of batches, such as a ``DataLoader``. A single tensor or dictionary is
            one batch.

    Raises:
        TypeError: ``data`` is not iterable, or (while iterating) a batch is none of these kinds.
        ValueError: (while iterating) a batch gives fewer inputs than ``forward`` needs.
    """

    def __init__(self, model: nn.Module, data: Any) -> None:
        if isinstance(data, Tensor | Mapping):
            data = [data]
        if not isinstance(data, Iterable) or isinstance(data, str | bytes):
            raise TypeError(
                "expected data to be an iterable of batches (tensors, tuples or dictionaries), "
                f"got {type(data).__name__}"
            )
        self.notes: tuple[str, ...] = ()
        self._data = data
        parameters = inspect.signature(model.forward).parameters.values()
        self._needed = [
            p.name
            for p in parameters
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
        ]
        self._names = {p.name for p in parameters}
        self._takes_all = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        self._takes_any_name = any(p.kind is p.VAR_KEYWORD for p in parameters)

    def __iter__(self) -> Iterator[Call]:
        for index, batch in enumerate(self._data):
            yield self._call(index, batch)

    def first(self) -> Call:
        """The call for the first batch; ``ValueError`` if there is none."""
        for call in self:
            return call
        raise ValueError("expected at least one batch of data, got none")

    def _call(self, index: int, batch: Any) -> Call:
        if isinstance(batch, Tensor):
            batch = (batch,)
        if isinstance(batch, Mapping):
            return self._by_name(batch)
        if isinstance(batch, tuple | list):
            return self._by_position(index, batch)
        raise TypeError(
            f"batch {index} of the data is of type {type(batch).__name__}; expected a tensor, a "
            "tuple or list of inputs, or a dictionary of inputs by name"
        )

    def _by_name(self, batch: Mapping[str, Any]) -> Call:
        if self._takes_any_name:
            return Call((), dict(batch))
        surplus = [name for name in batch if name not in self._names]
        if surplus:
            self.notes = (f"forward() has no parameters {surplus}, so these were left out",)
        return Call((), {name: value for name, value in batch.items() if name in self._names})

    def _by_position(self, index: int, batch: tuple[Any, ...] | list[Any]) -> Call:
        if len(batch) < len(self._needed):
            raise ValueError(
                f"batch {index} of the data gives {len(batch)} inputs, but forward() needs "
                f"{len(self._needed)}: {', '.join(self._needed)}"
            )
        used = len(batch) if self._takes_all else max(1, len(self._needed))
        if used < len(batch):
            self.notes = (
                f"of {len(batch)} items in a batch forward() needs the first {used}; the others "
                "were taken for labels and left out",
            )
        return Call(tuple(batch[:used]), {})
