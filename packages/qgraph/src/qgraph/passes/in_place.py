"""in_place: every write into a tensor becomes a new tensor.

Afterwards one node is one tensor with one value, which is what observers, shared parameters and
fusion rely on. ``y = conv(x); y.relu_(); return y`` becomes ``y = conv(x).relu(); return y``.
"""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from .._graph import IN_PLACE_OPERATORS, modules_of, shallow_copy
from .values import value_of

# What may return the very memory that it was given.
_VIEW_NAMES = """
    view view_as reshape flatten unflatten transpose permute t swapaxes movedim squeeze
    unsqueeze expand expand_as narrow select diagonal unfold chunk split unbind getitem
    contiguous detach to float type_as dropout dropout1d dropout2d dropout3d identity
"""
_VIEWS = frozenset(_VIEW_NAMES.split())


def remove_in_place(model: GraphModule) -> GraphModule:
    """Rewrite every in-place operator without the write; later readers read the new tensor."""
    order = {node: place for place, node in enumerate(model.graph.nodes)}
    modules = modules_of(model)
    for node in list(model.graph.nodes):
        written = _written(node, modules)
        if written is None:
            if node.op == "call_function" and node.target in IN_PLACE_OPERATORS:
                node.target = IN_PLACE_OPERATORS[node.target]  # of numbers
            continue
        if node.op == "call_module":
            # Shared with the caller's model, so a copy is changed.
            module: Any = shallow_copy(modules[node.target])
            module.inplace = False
            model.set_submodule(node.target, module)
        elif (counterpart := _counterpart(node)) is not None:
            node.target = counterpart
        else:
            arguments = _arguments(node)
            node.args = (arguments.pop("input"),)
            node.kwargs = arguments | {"inplace": False}
        for reader in list(written.users):
            if order[reader] > order[node]:
                reader.replace_input_with(written, node)
    return model


def aliased_write(model: GraphModule) -> Node | None:
    """The first node that writes into memory that is read later under another name."""
    modules = modules_of(model)
    nodes: list[Node] = list(model.graph.nodes)
    order = {node: place for place, node in enumerate(nodes)}
    families: dict[Node, list[Node]] = {}
    for node in nodes:
        base = node.args[0] if node.args else None
        if isinstance(base, Node) and _name(node, modules) in _VIEWS:
            family = families.setdefault(base, [base])
            family.append(node)
            families[node] = family
    for node in nodes:
        written = _written(node, modules)
        # A name from after the write stands for the new tensor, as does the result of the write.
        if written is not None and any(
            order[reader] > order[node]
            for alias in families.get(written, ())
            if alias is not written and order[alias] < order[node]
            for reader in alias.users
        ):
            return node
    return None


def _written(node: Node, modules: dict[str, nn.Module]) -> Node | None:
    """The tensor that ``node`` writes into."""
    written = node.args[0] if node.args else node.kwargs.get("input")
    if not isinstance(written, Node):
        return None
    value = value_of(written)
    if node.op == "call_module":
        writes = bool(getattr(modules[str(node.target)], "inplace", False))
    elif node.op == "call_function" and node.target in IN_PLACE_OPERATORS:
        # ``n += 1`` does not change a number that others hold: only tensors are written into.
        writes = value is None or value.is_tensor
    else:
        writes = _counterpart(node) is not None or bool(_arguments(node).get("inplace"))
    return written if writes else None


def _counterpart(node: Node) -> Any:
    """The same function or method without the write; ``None`` if ``node`` has none."""
    if node.op == "call_function" and node.target in IN_PLACE_OPERATORS:
        return IN_PLACE_OPERATORS[node.target]
    name = _name(node, {})
    if not name.endswith("_") or name.endswith("__"):
        return None
    if node.op == "call_method":
        return name[:-1] if callable(getattr(Tensor, name[:-1], None)) else None
    for owner in (torch, nn.functional):
        if node.op == "call_function" and getattr(owner, name, None) is node.target:
            return getattr(owner, name[:-1], None)
    return None


def _arguments(node: Node) -> dict[str, Any]:
    """The arguments by name, of the Python functions of torch.nn.functional; else empty."""
    function: Any = node.target
    if (
        node.op != "call_function"
        or getattr(function, "__module__", None) != "torch.nn.functional"
        or not inspect.isfunction(function)
    ):
        return {}
    bound = inspect.signature(function).bind(*node.args, **node.kwargs)
    return dict(bound.arguments)


def _name(node: Node, modules: dict[str, nn.Module]) -> str:
    if node.op == "call_module" and node.target in modules:
        return type(modules[node.target]).__name__.lower()
    return str(node.target if node.op == "call_method" else getattr(node.target, "__name__", ""))
