"""Which qconfig of a QConfigMapping applies to a node."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.fx import Graph, Node

from qobserve import QConfigMapping

from ._graph import join_path
from ._rows import pattern_of


@dataclass(frozen=True)
class Origin:
    """What a mapping can choose an operator by, as it stood in the model.

    Attributes:
        kind: the module class, function or method name.
        path: the qualified name of the module, or of the one in which a function is called.
        scope_kind: the class of the module in which a function is called.
        scope: the qualified name of the module in which the operator is called.
        nth: how many of the same kind were called in ``scope`` before it.
    """

    kind: Any
    path: str
    scope_kind: Any
    scope: str
    nth: int


def assign_qconfigs(
    graph: Graph, modules: dict[str, nn.Module], mapping: QConfigMapping, prefix: str = ""
) -> None:
    """Write the qconfig of every operator into ``node.meta["qconfig"]``, and its origin beside it.

    From the weakest to the strongest: global, object type (for a function: its own, then that of
    the module it is called in), regular expression on the module's name, module name (of the
    module, else of the nearest one around it), and the n-th use of an object type in a module.

    Args:
        graph: a traced graph.
        modules: the model's modules by name.
        mapping: the qconfigs.
        prefix: the name of the model within the one that ``mapping`` is about.
    """
    resolve = Resolver(mapping)
    uses: Counter[tuple[str, Any]] = Counter()
    for node in graph.nodes:
        kind = pattern_of(node, modules)
        if kind is not None:
            node.meta["origin"] = _origin(node, kind, uses, prefix)
            node.meta["qconfig"] = resolve(node.meta["origin"])


def _origin(node: Node, kind: Any, uses: "Counter[tuple[str, Any]]", prefix: str) -> Origin:
    scope, scope_kind = node.meta["scope"]
    path = scope = join_path(prefix, scope)
    if node.op == "call_module":
        path = join_path(prefix, str(node.target))
        scope = path.rpartition(".")[0]
    nth = uses[scope, kind]
    uses[scope, kind] += 1
    return Origin(kind, path, scope_kind, scope, nth)


class Resolver:
    """Finds the qconfig of an operator in a mapping, by its origin."""

    def __init__(self, mapping: QConfigMapping) -> None:
        self._global = mapping.global_qconfig
        self._types = mapping.object_type_qconfigs
        self._regexes = [
            (re.compile(pattern), qconfig)
            for pattern, qconfig in mapping.module_name_regex_qconfigs.items()
        ]
        self._names = mapping.module_name_qconfigs
        self._orders = mapping.module_name_object_type_order_qconfigs
        self._known: dict[tuple[Any, Any, str], Any] = {}

    def __call__(self, origin: Origin) -> Any:
        """The qconfig, or ``None``."""
        nth_use = (origin.scope, origin.kind, origin.nth)
        if nth_use in self._orders:
            return self._orders[nth_use]
        key = (origin.kind, origin.scope_kind, origin.path)
        if key not in self._known:
            self._known[key] = self._by_module(*key)
        return self._known[key]

    def _by_module(self, kind: Any, scope_kind: Any, path: str) -> Any:
        around = path
        while around:
            if around in self._names:
                return self._names[around]
            around = around.rpartition(".")[0]
        for regex, qconfig in self._regexes:
            if regex.match(path):
                return qconfig
        if isinstance(kind, type):  # a module: its own class decides
            return self._types.get(kind, self._global)
        return self._types.get(scope_kind, self._types.get(kind, self._global))
