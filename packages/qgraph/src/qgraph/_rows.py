"""A backend's rows, looked up by what stands in a graph."""

from collections.abc import Iterator
from typing import Any

from torch import nn
from torch.fx import Node

from ._backend_config import BackendConfig, BackendPatternConfig, Pattern


def pattern_of(node: Node, modules: dict[str, nn.Module]) -> Pattern:
    """What a row would name ``node``: a module class, a function, or a method's name.

    ``None`` for nodes that compute nothing (inputs, attributes, the output).
    """
    if node.op == "call_module":
        return type(modules[str(node.target)])
    return node.target if node.op in ("call_function", "call_method") else None


class Rows:
    """Finds the row of an operator, whichever way it is spelled, and of a sequence of operators.

    Every lookup is one dictionary access, so that passes are linear in the size of the graph.

    Args:
        backend: the backend whose rows these are.
    """

    def __init__(self, backend: BackendConfig) -> None:
        self.backend = backend
        self._by_spelling: dict[Pattern, BackendPatternConfig] = {}
        for row in backend.configs:
            for spelling in row.spellings:
                self._by_spelling.setdefault(spelling, row)
        self._sequences: dict[tuple[Pattern, ...], BackendPatternConfig] = {}
        self._prefixes: set[tuple[Pattern, ...]] = set()
        for row in backend.configs:
            if isinstance(row.pattern, tuple):
                sequence = tuple(map(self.canonical, row.pattern))
                self._sequences[sequence] = row
                self._prefixes.update(sequence[: n + 1] for n in range(len(sequence)))

    def __iter__(self) -> Iterator[BackendPatternConfig]:
        return iter(self.backend.configs)

    def find(self, pattern: Pattern) -> BackendPatternConfig | None:
        """The row that lists ``pattern`` among its spellings."""
        return self._by_spelling.get(pattern)

    def canonical(self, pattern: Pattern) -> Pattern:
        """The one pattern that stands for all spellings of an operator."""
        row = self._by_spelling.get(pattern)
        return pattern if row is None else row.pattern

    def begins_sequence(self, patterns: tuple[Pattern, ...]) -> bool:
        """Whether some fused sequence begins with these canonical patterns."""
        return patterns in self._prefixes or self._fused_as(patterns) in self._prefixes

    def sequence(self, patterns: tuple[Pattern, ...]) -> BackendPatternConfig | None:
        """The row that fuses these canonical patterns; best the one that names all of them."""
        if len(patterns) < 2:
            return None
        return self._sequences.get(patterns) or self._sequences.get(self._fused_as(patterns))

    def _fused_as(self, patterns: tuple[Pattern, ...]) -> tuple[Pattern, ...]:
        rows = map(self._by_spelling.get, patterns)
        return tuple(
            pattern if row is None or row.fused_as is None else row.fused_as
            for pattern, row in zip(patterns, rows, strict=True)
        )

    def root_module(self, row: BackendPatternConfig) -> type[nn.Module] | None:
        """The float class that holds the weight of ``row``'s operator."""
        first: Any = row.pattern[0] if isinstance(row.pattern, tuple) else row.pattern
        return row.root_module or (first if isinstance(first, type) else None)
