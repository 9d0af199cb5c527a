"""identity: modules that return what they are given go.

They stand where a model may have something else (the path of a residual block, the observer of a
``FloatFunctional``), and would keep the operators before and after from being fused.
"""

from torch import nn
from torch.fx import GraphModule, Node

from .._graph import modules_of


def remove_identities(model: GraphModule) -> GraphModule:
    """Let what reads an ``nn.Identity`` read its input; one with hooks stays."""
    modules = modules_of(model)
    for node in list(model.graph.nodes):
        module = modules.get(str(node.target)) if node.op == "call_module" else None
        if type(module) is not nn.Identity or module._forward_hooks or module._forward_pre_hooks:
            continue
        given = node.args[0] if node.args else node.kwargs.get("input")
        if isinstance(given, Node):
            node.replace_all_uses_with(given)
            model.graph.erase_node(node)
    return model
