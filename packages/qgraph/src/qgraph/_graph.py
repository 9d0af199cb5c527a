"""Small helpers for graphs and the modules in them."""

import copy
import operator
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from torch import nn
from torch.fx import GraphModule, Node
from torch.fx.graph_module import _USER_PRESERVED_ATTRIBUTES_KEY
from torch.fx.node import map_arg

M = TypeVar("M", bound=nn.Module)

IN_PLACE_OPERATORS: dict[Callable[..., Any], Callable[..., Any]] = {
    getattr(operator, f"i{name.rstrip('_')}"): getattr(operator, name)
    for name in (
        "add",
        "sub",
        "mul",
        "truediv",
        "floordiv",
        "mod",
        "pow",
        "matmul",
        "and_",
        "or_",
        "xor",
    )
}
"""``operator.iadd`` and its like, and the same without the write."""


def shallow_copy(module: M) -> M:
    """A module of the same class that shares the tensors, with attributes of its own."""
    clone = copy.copy(module)
    for registry in ("_parameters", "_buffers", "_modules"):
        clone.__dict__[registry] = dict(module.__dict__[registry])
    return clone


def copy_structure(module: M) -> M:
    """A copy of ``module`` and all below it that shares every parameter and buffer."""
    shared: dict[int, Any] = {id(tensor): tensor for tensor in module.parameters()}
    shared |= {id(tensor): tensor for tensor in module.buffers()}
    return copy.deepcopy(module, shared)


def modules_of(model: nn.Module) -> dict[str, nn.Module]:
    """Every module of ``model`` by each of its qualified names, of which it may have several."""
    return dict(model.named_modules(remove_duplicate=False))


def add_module(model: GraphModule, wanted: str, module: nn.Module) -> str:
    """Add ``module`` under ``wanted``, or that with a number appended; return the name."""
    name, number = wanted, 0
    while _taken(model, name):
        number += 1
        name = f"{wanted}_{number}"
    model.add_submodule(name, module)
    return name


def _taken(model: nn.Module, name: str) -> bool:
    *path, last = name.split(".")
    owner: Any = model
    for step in path:
        owner = getattr(owner, step, None)
    return owner is not None and hasattr(owner, last)


def join_path(prefix: str, path: str) -> str:
    """The qualified name of ``path`` within the module called ``prefix``."""
    return f"{prefix}.{path}" if prefix and path else prefix or path


def preserve(model: GraphModule, source: nn.Module, attributes: Iterable[str]) -> None:
    """Keep these attributes of ``source`` on ``model``, and on its copies."""
    kept = {name: getattr(source, name) for name in attributes if hasattr(source, name)}
    model.meta[_USER_PRESERVED_ATTRIBUTES_KEY] = kept
    for name, value in kept.items():
        setattr(model, name, value)


def describe(target: Any) -> str:
    """A readable name of a function, a method's name or a module's path."""
    return target if isinstance(target, str) else getattr(target, "__name__", repr(target))


def reads_of(node: Node) -> list[Node]:
    """The nodes among the arguments of ``node``, each as often as it is read."""
    reads: list[Node] = []
    map_arg((node.args, node.kwargs), reads.append)
    return reads
