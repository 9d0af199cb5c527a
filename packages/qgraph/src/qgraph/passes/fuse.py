"""fuse: sequences of operators that a row describes become one module or function each.

A sequence is followed from its first operator through single readers, and the longest one that
some row describes is taken. An operator within it may read one further tensor (the other summand
of an addition), which becomes an input of the fused module; it must have the same shape, since
fused kernels do not broadcast.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from torch.fx import GraphModule, Node

from .._backend_config import BackendPatternConfig
from .._graph import add_module, describe, modules_of, reads_of
from .._observer_spec import ObserverSpec
from .._quant_type import QuantType
from .._rows import Rows, pattern_of
from .values import fits_rank, value_of


def fuse(model: GraphModule, rows: Rows, is_qat: bool = False) -> GraphModule:
    """Replace every fusible sequence of ``model``.

    For training, a sequence with a weight is fused only if its row has a ``qat_module``.

    An operator that has a row of its own and is to stay in float (or is not, while the first one
    is) is not fused. The fused operator has the qconfig of the first.

    Raises:
        ValueError: a sequence with a fuser method, which may fold statistics into weights, is in
            training mode.
    """
    return _Fuser(model, rows, is_qat).run()


@dataclass
class _Match:
    row: BackendPatternConfig
    nodes: list[Node]
    extra_inputs: list[Node]


class _Fuser:
    def __init__(self, model: GraphModule, rows: Rows, is_qat: bool) -> None:
        self.model, self.rows, self.is_qat = model, rows, is_qat
        self.modules = modules_of(model)
        self.quant_types: dict[Any, QuantType] = {}
        self.calls = Counter(node.target for node in model.graph.nodes if node.op == "call_module")

    def run(self) -> GraphModule:
        fused: set[Node] = set()
        for node in list(self.model.graph.nodes):
            match = None if node in fused else self._match(node, fused)
            if match is not None:
                fused.update([*match.nodes, self._replace(match)])
        return self.model

    def _match(self, first: Node, fused: set[Node]) -> _Match | None:
        """The longest sequence that begins at ``first``."""
        nodes: list[Node] = [first]
        extras: list[Node] = []
        patterns: tuple[Any, ...] = (self._canonical(first),)
        best = None
        while self.rows.begins_sequence(patterns):
            row = self.rows.sequence(patterns)
            if row is not None and self._serves(row, first):
                best = _Match(row, list(nodes), list(extras))
            reader = self._single_reader(nodes[-1])
            if reader is None or reader in fused:
                break
            others = self._other_tensors(reader, nodes[-1])
            if others is None or not self._agrees(first, reader):
                break
            nodes.append(reader)
            extras += others
            patterns = (*patterns, self._canonical(reader))
        return best

    def _serves(self, row: BackendPatternConfig, first: Node) -> bool:
        """Whether fusing costs no quantization: the fused form is quantized as ``first`` asks."""
        if not fits_rank(row, first):
            return False
        if not self._keeps_arguments(row, first):
            return False
        if self.is_qat and row.qat_module is None and row.fused_function is None:
            return False
        qconfig = first.meta.get("qconfig")
        if qconfig is None or not row.dtype_configs:
            return True
        if qconfig.activation not in self.quant_types:
            self.quant_types[qconfig.activation] = ObserverSpec.of(qconfig.activation).quant_type
        wanted = self.quant_types[qconfig.activation]
        return any(config.quant_type is wanted for config in row.dtype_configs)

    def _keeps_arguments(self, row: BackendPatternConfig, first: Node) -> bool:
        """Whether what ``first`` is called with can go to its fused form."""
        if row.fused_function is None:  # a module that takes tensors, and not a size, say
            others = len(first.args) + len(first.kwargs) - len(first.all_input_nodes)
            return first.op != "call_module" or others == 0
        own = self.rows.find(pattern_of(first, self.modules))
        return own is None or not own.refuse or not own.refuse(None, first.args, first.kwargs)

    def _canonical(self, node: Node) -> Any:
        return self.rows.canonical(pattern_of(node, self.modules))

    def _single_reader(self, node: Node) -> Node | None:
        readers = list(node.users)
        if len(readers) != 1:
            return None
        # ``x + x`` reads x twice, and a fused addition takes its other summand from elsewhere.
        return readers[0] if reads_of(readers[0]).count(node) == 1 else None

    def _other_tensors(self, node: Node, before: Node) -> list[Node] | None:
        """What ``node`` reads besides ``before``; ``None`` if it cannot be part of a sequence."""
        module = self.modules.get(str(node.target)) if node.op == "call_module" else None
        row = self.rows.find(pattern_of(node, self.modules))
        if row is not None and row.refuse and row.refuse(module, node.args, node.kwargs):
            return None
        others = [other for other in reads_of(node) if other is not before]
        if not others:
            # A number in place of a summand does not make an addition of two tensors.
            counts = row.num_tensor_args_to_observation_type if row is not None else {}
            return [] if max(counts, default=1) == 1 else None
        own, value = value_of(before), value_of(others[0])
        same = own is not None and value is not None and value.is_float and own == value
        return others if len(others) == 1 and same else None

    def _agrees(self, first: Node, node: Node) -> bool:
        if self.rows.find(pattern_of(node, self.modules)) is None:
            return True  # BatchNorm: folded into the weight, whatever applies to it
        return (first.meta.get("qconfig") is None) == (node.meta.get("qconfig") is None)

    def _replace(self, match: _Match) -> Node:
        first, last, row = match.nodes[0], match.nodes[-1], match.row
        graph = self.model.graph
        with graph.inserting_before(last):
            if row.fused_function is not None:
                node = graph.call_function(row.fused_function, first.args, dict(first.kwargs))
            else:
                arguments = (*first.all_input_nodes, *match.extra_inputs)
                node = graph.call_module(self._add_fused(match), arguments)
        fused = tuple(describe(part.target) for part in match.nodes)
        node.meta = first.meta | {"value": value_of(last), "fused": fused}
        last.replace_all_uses_with(node)
        for done in reversed(match.nodes):
            graph.erase_node(done)
        return node

    def _add_fused(self, match: _Match) -> str:
        path = str(match.nodes[0].target)
        parts = [self._part(node) for node in match.nodes]
        fused = match.row.fuse(self.is_qat, *parts, label=path)
        if self.calls[path] > 1:  # called elsewhere too, and to stay there as it is
            return add_module(self.model, path, fused)
        self.model.set_submodule(path, fused)
        return path

    def _part(self, node: Node) -> Any:
        """The module that ``node`` calls, or would call if it were written as one."""
        if node.op == "call_module":
            return self.modules[str(node.target)]
        row = self.rows.find(pattern_of(node, self.modules))
        if row is None or row.module_from_call is None:
            return node.target if row is None else row.pattern
        arguments = [None if isinstance(arg, Node) else arg for arg in node.args]
        return row.module_from_call(*arguments, **node.kwargs).eval()
