"""functional: a function called with parameters of the model becomes a module that holds them.

``F.linear(x, self.weight, self.bias)`` becomes a call of an ``nn.Linear``, so that everything
after knows only modules with weights. Calls whose weight is computed stay functions.
"""

from typing import Any

from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from .._graph import add_module, modules_of
from .._rows import Rows, pattern_of


def functional_to_module(model: GraphModule, rows: Rows) -> GraphModule:
    """Rewrite the calls with parameters whose row has a ``module_from_call`` and takes them."""
    modules = modules_of(model)
    for node in list(model.graph.nodes):
        called = node.op in ("call_function", "call_method")
        row = rows.find(pattern_of(node, modules)) if called else None
        if row is None or row.module_from_call is None or len(node.all_input_nodes) < 2:
            continue
        activation, *others = node.all_input_nodes
        if node.args[:1] != (activation,) or any(other.op != "get_attr" for other in others):
            continue
        if row.refuse is not None and row.refuse(None, node.args, node.kwargs):
            continue
        parameters = {other: _fetch(model, other) for other in others}
        arguments: Any = map_arg((node.args, node.kwargs), parameters.get)
        module = row.module_from_call(*arguments[0], **arguments[1])
        module.train(model.training)
        with model.graph.inserting_before(node):
            call = model.graph.call_module(add_module(model, node.name, module), (activation,))
        call.meta = dict(node.meta)
        node.replace_all_uses_with(call)
        model.graph.erase_node(node)
        for other in others:
            if not other.users:
                model.graph.erase_node(other)
    return model


def _fetch(model: GraphModule, node: Node) -> Any:
    value: Any = model
    for step in str(node.target).split("."):
        value = getattr(value, step)
    return value
