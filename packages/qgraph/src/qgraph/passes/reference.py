"""reference: a calibrated model becomes a float model with explicit quantization.

Each observed tensor is quantized with its observer's parameters and dequantized again, and
weights are replaced by quantized ones. What runs is float arithmetic on quantized values: the
numbers that any backend should give, and the form that backends with kernels of their own take.
"""

from typing import Any

from torch import nn
from torch.fx import GraphModule, Node

from qobserve import FakeQuantizeBase
from qtensor.nn.quantized import Quantize

from .._custom_config import ConvertCustomConfig
from .._graph import add_module, shallow_copy
from .._observer_spec import ObserverSpec
from .._plan import Decision, NodePlan, Plan
from .._quantized import dequantize_each, dequantized_from, observed_qparams, reference_module
from .values import value_of


def to_reference(
    model: GraphModule,
    plan: Plan,
    observers: tuple[str | None, ...],
    custom: ConvertCustomConfig,
) -> GraphModule:
    """Replace the observers of ``model`` by quantize and dequantize, and weights by quantized ones.

    Args:
        model: a calibrated model.
        plan: what it was prepared by.
        observers: the observers' names, in the order of ``plan.observers``.
        custom: what its observed custom modules become.
    """
    return _Reference(model, plan, observers, custom).run()


class _Reference:
    def __init__(
        self,
        model: GraphModule,
        plan: Plan,
        observers: tuple[str | None, ...],
        custom: ConvertCustomConfig,
    ) -> None:
        self.model, self.graph, self.plan = model, model.graph, plan
        self.observers = observers
        self.places = {path: place for place, path in enumerate(observers) if path is not None}
        self.custom = {
            node.name: quantized_class
            for node in model.graph.nodes
            if node.op == "call_module" and node.name in plan.nodes
            if (quantized_class := self._custom_class(node, custom)) is not None
        }

    def run(self) -> GraphModule:
        for node in list(self.graph.nodes):
            if node.op == "call_module" and node.target in self.places:
                self._replace_observer(node)
            elif node.name in self.plan.nodes:
                self._visit(node, self.plan.nodes[node.name])
            elif node.op == "call_module" and self._rounds(node):  # as the quantized module will
                node.replace_all_uses_with(node.args[0])
                self.graph.erase_node(node)
        for node in self.graph.nodes:
            if node.name in self.plan.nodes:
                self._read_quantized(node, self.plan.nodes[node.name])
        return self.model

    def _visit(self, node: Node, node_plan: NodePlan) -> None:
        if node.op == "call_module":
            self._convert_module(node, node_plan)
        if node_plan.output is None:
            return
        readers, value = list(node.users), value_of(node)
        observed = any(reader.target in self.places for reader in readers)
        if self.observers[node_plan.output] is None:
            self._dequantize(node, readers)  # it is quantized already
        elif not observed and (value is None or value.is_tensor):  # it shares parameters
            self._dequantize(self._quantize(node, node_plan.output, node.next), readers)

    def _read_quantized(self, node: Node, node_plan: NodePlan) -> None:
        """Let ``node`` read quantized tensors where it takes them even in a reference model."""
        if node_plan.decision is Decision.SHARED:
            takes_them = node_plan.output is not None and self.observers[node_plan.output] is None
        elif node_plan.decision is Decision.STATIC:
            takes_them = node.name in self.custom
        else:  # a standalone module, or the output of the model
            takes_them = bool(node_plan.inputs)
        for read in node.all_input_nodes if takes_them else ():
            quantized = dequantized_from(read)
            if quantized is None:
                continue
            tensor = quantized if quantized.name in self.plan.nodes else quantized.args[0]
            if isinstance(tensor, Node) and tensor.name in node_plan.inputs:
                node.replace_input_with(read, quantized)

    # Activations.

    def _rounds(self, node: Node) -> bool:
        return isinstance(self.model.get_submodule(str(node.target)), FakeQuantizeBase)

    def _replace_observer(self, node: Node) -> None:
        tensor: Any = node.args[0]
        readers = list(node.users)
        if tensor.name in self.custom:  # gives a quantized tensor itself
            quantized = tensor
        else:
            quantized = self._quantize(tensor, self.places[str(node.target)], node)
        self._dequantize(quantized, readers, node)
        self.graph.erase_node(node)

    def _quantize(self, tensor: Node, place: int, before: Node) -> Node:
        qparams = observed_qparams(self.model.get_submodule(str(self.observers[place])))
        bounds = {"quant_min": qparams.quant_min, "quant_max": qparams.quant_max}
        module = Quantize(qparams.scale, qparams.zero_point, qparams.dtype, **bounds)
        name = add_module(self.model, f"{tensor.name}_quantize", module)
        with self.graph.inserting_before(before):
            return self.graph.call_module(name, (tensor,))

    def _dequantize(
        self, quantized: Node, readers: list[Node], instead_of: Node | None = None
    ) -> None:
        """Let ``readers`` read the real values of ``quantized``."""
        if not readers:
            return
        value = value_of(quantized)
        with self.graph.inserting_after(quantized):
            if value is None or value.is_tensor:
                dequantized = self.graph.call_method("dequantize", (quantized,))
            else:
                dequantized = self.graph.call_function(dequantize_each, (quantized,))
        planned = quantized.name in self.plan.nodes
        old: Any = instead_of or (quantized if planned else quantized.args[0])  # a node
        for reader in readers:
            reader.replace_input_with(old, dequantized)

    # Modules.

    def _convert_module(self, node: Node, node_plan: NodePlan) -> None:
        path, row = str(node.target), node_plan.row
        module: Any = self.model.get_submodule(path)
        if node.name in self.custom:
            module = shallow_copy(module)
            module.qconfig = node_plan.qconfig
            observer = None if node_plan.output is None else self.observers[node_plan.output]
            if observer is not None:
                module.activation_post_process = self.model.get_submodule(observer)
            self.model.set_submodule(path, self.custom[node.name].from_observed(module))
        elif row is not None and row.reference_quantized_module and node_plan.decision.is_quantized:
            made = reference_module(module, row, node_plan.qconfig, path)
            self.model.set_submodule(path, made)

    def _custom_class(self, node: Node, custom: ConvertCustomConfig) -> Any:
        node_plan = self.plan.nodes[node.name]
        module: nn.Module = self.model.get_submodule(str(node.target))
        if node_plan.qconfig is None:
            return None
        quant_type = ObserverSpec.of(node_plan.qconfig.activation).quant_type
        given = custom.observed_to_quantized_mapping.get(quant_type, {}).get(type(module))
        row = node_plan.row
        if given is None and row is not None and row.observed_module is type(module):
            return row.quantized_module
        return given
