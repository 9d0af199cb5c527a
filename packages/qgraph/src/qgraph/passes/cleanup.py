"""cleanup: what the passes left over goes: unread dequantizes, unused modules and attributes."""

from torch.fx import GraphModule

from .._quantized import dequantized_from


def clean_up(model: GraphModule) -> GraphModule:
    """Remove what no longer serves anything, check the graph, and generate its code."""
    for node in reversed(model.graph.nodes):
        leftover = dequantized_from(node) is not None or node.op == "get_attr"
        if leftover and not node.users:
            model.graph.erase_node(node)
    model.delete_all_unused_submodules()
    model.graph.lint()
    model.recompile()
    return model
