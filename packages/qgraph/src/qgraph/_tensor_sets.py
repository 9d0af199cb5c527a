"""Which tensors have quantization parameters, and which of them have the same ones."""

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from torch.fx import Node

from ._observer_spec import ObserverSpec
from ._plan import ObserverPlan

Constructor = Callable[[], nn.Module] | None


class TensorSets:
    """Tensors grouped into sets of equal parameters; a union-find structure.

    A set is observed by one observer, has fixed parameters, or is external: then its parameters
    arrive with the tensors.
    """

    def __init__(self) -> None:
        self._parents: dict[Node, Node] = {}
        self._plans: dict[Node, ObserverPlan] = {}
        self._unchangeable: set[Node] = set()
        self._specs: dict[Constructor, ObserverSpec] = {}

    def __contains__(self, node: object) -> bool:
        return node in self._parents

    def spec(self, constructor: Constructor) -> ObserverSpec:
        """What the observer that ``constructor`` makes says of tensors."""
        if constructor not in self._specs:
            self._specs[constructor] = ObserverSpec.of(constructor)
        return self._specs[constructor]

    def spec_of(self, node: Node) -> ObserverSpec | None:
        """The spec of the set that ``node`` is in; ``None`` if it is in none, or it is external."""
        plan = self._plans[self._root(node)] if node in self else None
        return plan.spec if plan is not None and plan.constructor is not None else None

    def observe(self, node: Node, constructor: Constructor, fixed: bool = False) -> None:
        """Put the output of ``node`` into a set of its own."""
        self._parents[node] = node
        self._plans[node] = ObserverPlan(constructor, self.spec(constructor), node.name)
        if fixed:
            self._unchangeable.add(node)

    def external(self, node: Node) -> None:
        """Put the output of ``node``, which brings its parameters along, into a set of its own."""
        self.observe(node, None, fixed=True)

    def external_source(self, node: Node) -> Node | None:
        """The output that brought the parameters of ``node`` along; ``None`` if none did."""
        root = self._root(node)
        return root if self._plans[root].constructor is None else None

    def join(self, nodes: Iterable[Node]) -> bool:
        """Put all these outputs into one set, unless their parameters cannot be the same.

        Args:
            nodes: at least one already in a set; the last is the operator that joins the others.

        Returns:
            whether they now are in one set; if not, nothing has changed.
        """
        nodes = list(nodes)
        roots = list(dict.fromkeys(self._root(node) for node in nodes if node in self))
        new = [node for node in nodes if node not in self]
        kinds = {(self._plans[root].spec.dtype, *_range(self._plans[root].spec)) for root in roots}
        if len(kinds) > 1 or (len(roots) > 1 and not self._unchangeable.isdisjoint(roots)):
            return False
        if roots[0] in self._unchangeable and len(new) > 1:
            return False  # parameters that a float tensor does not fit, or not known beforehand
        for node in (*roots[1:], *new):
            self._parents[node] = roots[0]
        return True

    def numbered(self) -> tuple[tuple[ObserverPlan, ...], dict[str, int]]:
        """The sets, and for each node in one the set's number."""
        numbers: dict[Node, int] = {}
        tensors = {}
        for node in self._parents:
            root = self._root(node)
            tensors[node.name] = numbers.setdefault(root, len(numbers))
        return tuple(self._plans[root] for root in numbers), tensors

    def _root(self, node: Node) -> Node:
        while (parent := self._parents[node]) is not node:
            self._parents[node] = self._parents[parent]
            node = parent
        return node


def _range(spec: ObserverSpec) -> tuple[Any, Any]:
    return spec.quant_min, spec.quant_max
