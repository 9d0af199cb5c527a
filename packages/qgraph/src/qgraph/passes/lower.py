"""lower: what is surrounded by quantize and dequantize becomes a quantized kernel.

The plan says which nodes these are; nothing is matched a second time. An operator for which the
backend names no kernel keeps its reference form, which computes the same in float.
"""

from typing import Any

import torch
from torch.fx import GraphModule, Node

from .._backend_config import BackendConfig, BackendPatternConfig
from .._graph import add_module
from .._observer_spec import ObserverSpec
from .._plan import Decision, NodePlan, Plan
from .._quantized import QuantizedFunction, dequantized_from, quantizer_of


def lower(model: GraphModule, plan: Plan, backend: BackendConfig) -> GraphModule:
    """Replace the reference operators of ``model`` by the quantized ones of ``backend``."""
    rows = {row.pattern: row for row in backend.configs}
    _reshape_in_place_of_view(model)
    for node in list(model.graph.nodes):
        if _asks_for_metadata(node):
            _read_integers(node)
        node_plan = plan.nodes.get(node.name)
        if node_plan is None or node_plan.row is None:
            continue
        # The backend at hand decides; a row that only prepare knew (a custom operator) stays.
        row = rows.get(node_plan.row.pattern, node_plan.row)
        if node_plan.decision is Decision.STATIC:
            _lower_static(model, node, row)
        elif node_plan.decision is Decision.SHARED:
            _lower_shared(model, node, row)
        else:
            _lower_weights(model, node, node_plan, row)
    return model


def _reshape_in_place_of_view(model: GraphModule) -> None:
    """Quantized convolutions give channels_last tensors, of which not every view exists."""
    for node in model.graph.nodes:
        of_shape = not any(isinstance(argument, torch.dtype) for argument in node.args)
        if node.op == "call_method" and node.target == "view" and of_shape:
            node.target = "reshape"


def _asks_for_metadata(node: Node) -> bool:
    """Whether ``node`` only asks for a shape or the like, which needs no values."""
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in ("shape", "ndim", "device")
    return node.op == "call_method" and node.target in ("size", "dim", "numel", "ndimension")


def _lower_static(model: GraphModule, node: Node, row: BackendPatternConfig) -> None:
    quantizer = quantizer_of(model, node)
    if quantizer is None:
        return
    quantize: Any = model.get_submodule(str(quantizer.target))
    if row.quantized_module is not None and node.op == "call_module":
        module: Any = row.quantized_module
        made = module.from_reference(
            model.get_submodule(str(node.target)),
            quantize.scale,
            quantize.zero_point,
            output_qparams=quantize.output_qparams,
        )
        model.set_submodule(str(node.target), made)
    elif (function := row.requantizing_function or row.quantized_function) is not None:
        made = QuantizedFunction(function, quantize.output_qparams)
        node.target = add_module(model, node.name, made)
        node.op = "call_module"
    else:
        return
    _read_integers(node)
    _skip(model, quantizer, node)


def _lower_shared(model: GraphModule, node: Node, row: BackendPatternConfig) -> None:
    if row.quantized_function is not None and node.op == "call_function":
        node.target = row.quantized_function
    if row.quantized_module is not None and node.op == "call_module":
        module: Any = row.quantized_module
        path = str(node.target)
        model.set_submodule(path, module.from_float(model.get_submodule(path)))
    _read_integers(node)
    quantizer = quantizer_of(model, node)
    if quantizer is not None:
        _skip(model, quantizer, node)


def _lower_weights(
    model: GraphModule, node: Node, node_plan: NodePlan, row: BackendPatternConfig
) -> None:
    modules = {
        Decision.DYNAMIC: row.dynamic_module,
        Decision.WEIGHT_ONLY: row.weight_only_module,
    }
    module: Any = modules.get(node_plan.decision)
    if module is not None:
        reference = model.get_submodule(str(node.target))
        dynamic = node_plan.decision is Decision.DYNAMIC
        reduced = dynamic and ObserverSpec.of(node_plan.qconfig.activation).reduces_range
        options = {"reduce_range": True} if reduced else {}
        model.set_submodule(str(node.target), module.from_reference(reference, **options))


def _read_integers(node: Node) -> None:
    for read in node.all_input_nodes:
        quantized = dequantized_from(read)
        if quantized is not None:
            node.replace_input_with(read, quantized)


def _skip(model: GraphModule, quantizer: Node, node: Node) -> None:
    quantizer.replace_all_uses_with(node)
    model.graph.erase_node(quantizer)
