"""Symbolic tracing that leaves alone what it cannot follow."""

import os
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, is_dataclass
from typing import Any

import torch
from torch import nn
from torch.fx import Proxy, Tracer
from torch.fx.node import has_side_effect

from ._graph import IN_PLACE_OPERATORS

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_OWN_LEAVES = ("qtensor.nn.", "qobserve.nn.")
_OWN_FRAMES = tuple(
    os.path.join(os.path.dirname(os.path.abspath(file)), "") for file in (torch.__file__, __file__)
)


@dataclass(frozen=True)
class Untraceable:
    """A module that stayed as it is, and what stopped the tracer.

    Attributes:
        module: its qualified name, ``""`` for the model itself.
        kind: its class's name.
        location: ``file:line`` of the statement that stopped the tracer.
        reason: the error it raised.
    """

    module: str
    kind: str
    location: str
    reason: str

    def __str__(self) -> str:
        name = self.module or "the model itself"
        return f"{name} ({self.kind}) cannot be traced: {self.location}: {self.reason}"

    @classmethod
    def because(cls, module: nn.Module, name: str, error: Exception) -> "Untraceable":
        """The record of ``error``, raised while ``module`` was traced."""
        frames = traceback.extract_tb(error.__traceback__)
        theirs = [frame for frame in frames if not frame.filename.startswith(_OWN_FRAMES)]
        last = (theirs or frames)[-1]
        return cls(name, type(module).__name__, f"{last.filename}:{last.lineno}", _reason(error))


def _reason(error: Exception) -> str:
    message = str(error).strip()
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


class UntraceableError(RuntimeError):
    """Some module cannot be traced, and ``strict=True`` was asked for.

    Attributes:
        modules: what cannot be traced, and why.
    """

    def __init__(self, modules: Iterable[Untraceable]) -> None:
        self.modules = tuple(modules)
        listing = "\n  ".join(map(str, self.modules))
        super().__init__(
            f"strict=True, and {len(self.modules)} module(s) cannot be traced:\n  {listing}\n"
            "Rewrite the lines named, or leave the modules out with "
            "PrepareCustomConfig.set_non_traceable_module_names."
        )


@has_side_effect
def refuse_argument(value: None, name: str) -> None:
    """Stands in a graph for an argument that was ``None`` in the example inputs.

    What ``forward`` does with the argument is not in the graph, so it cannot be given later.

    Raises:
        ValueError: it is given all the same.
    """
    if value is not None:
        raise ValueError(
            f"argument {name!r} was None in the example inputs, and the model was traced for that; "
            "prepare the model with example inputs that give it"
        )


class _WritingProxy(Proxy):
    """Records ``x += y`` as the write that it is; a plain proxy would record ``x = x + y``."""


def _recording(function: Callable[..., Any]) -> Callable[..., Any]:
    def record(self: Proxy, other: Any) -> Any:
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return record


for _operator in IN_PLACE_OPERATORS:
    setattr(_WritingProxy, f"__{_operator.__name__}__", _recording(_operator))


class QuantizationTracer(Tracer):
    """Records each node's module scope, and makes a leaf of any module that it cannot follow.

    Modules of ``torch.nn`` (but not ``nn.Sequential``), ``qtensor.nn`` and ``qobserve.nn`` are
    leaves too.

    Args:
        skipped_module_names: qualified names of modules to leave alone (default: none).
        skipped_module_classes: classes (exactly, not subclasses) to leave alone (default: none).
        example_inputs: positional arguments that ``forward`` will be given. Arguments that are
            ``None`` for them are traced as ``None`` (default: no argument is).

    Attributes:
        untraceable: what became a leaf because its ``forward`` could not be followed.

    Example:
        >>> from torch import nn
        >>> graph = QuantizationTracer().trace(nn.Sequential(nn.Linear(2, 2)))
        >>> [node.op for node in graph.nodes]
        ['placeholder', 'call_module', 'output']
    """

    def __init__(
        self,
        skipped_module_names: Iterable[str] = (),
        skipped_module_classes: Iterable[Callable[..., Any]] = (),
        example_inputs: tuple[Any, ...] | None = None,
    ) -> None:
        super().__init__()
        self.example_inputs = example_inputs
        self.skipped_module_names = set(skipped_module_names)
        self.skipped_module_classes = set(skipped_module_classes)
        self.untraceable: dict[str, Untraceable] = {}
        self._parameter_proxies: dict[str, Proxy] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether ``m`` becomes one node of the graph."""
        package = type(m).__module__ + "."
        return (
            (package.startswith("torch.nn.") and not isinstance(m, _CONTAINERS))
            or package.startswith(_OWN_LEAVES)  # a fused container is a Sequential, yet a leaf
            or module_qualified_name in self.skipped_module_names
            or module_qualified_name in self.untraceable
            or type(m) in self.skipped_module_classes
        )

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        """What ``forward`` is traced with: placeholders, or ``None`` for what is left out."""
        function, args = super().create_args_for_root(root_fn, is_module, concrete_args)
        if self.example_inputs is None:
            return function, args
        first = int(is_module)  # the module itself comes before its arguments
        given = (*self.example_inputs, *args[first + len(self.example_inputs) :])
        return function, args[:first] + list(map(self._as_given, args[first:], given))

    def _as_given(self, argument: Any, given: Any) -> Any:
        left_out = given is argument and isinstance(given, Proxy) and given.node.args == (None,)
        if given is not None and not left_out:
            return argument
        self.create_proxy("call_function", refuse_argument, (argument, argument.node.target), {})
        return None

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Follow the call, or undo what was recorded of it and record one node."""
        stack, last = self.module_stack.copy(), next(iter(reversed(self.graph.nodes)), None)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception as error:
            name = self.path_of_module(m)
            self.untraceable[name] = Untraceable.because(m, name, error)
            self.module_stack = stack
            self._erase_after(last)
            return super().call_module(m, forward, args, kwargs)

    def proxy(self, node: torch.fx.Node) -> Proxy:
        """What stands for the result of ``node`` while ``forward`` runs."""
        return _WritingProxy(node, self)

    def create_arg(self, a: Any) -> Any:
        """``a`` as an argument of a node; a dictionary that is a dataclass is made again in it.

        What ``transformers`` calls the output of a model is one. torch's tracer would leave a plain
        dictionary of it, without the attributes.
        """
        kind: Any = type(a)
        if issubclass(kind, dict) and is_dataclass(kind):
            fields = {name: self.create_arg(value) for name, value in a.items()}
            return self.create_node("call_function", kind, (), fields)
        return super().create_arg(a)

    def create_node(self, *args: Any, **kwargs: Any) -> torch.fx.Node:
        """Record a node, with the module it lies in under ``meta["scope"]``."""
        node = super().create_node(*args, **kwargs)
        node.meta["scope"] = (self.scope.module_path, self.scope.module_type)
        return node

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Fetch an attribute of a module; parameters become nodes, each of them once."""
        self._parameter_proxies = parameter_proxy_cache
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def _erase_after(self, last: torch.fx.Node | None) -> None:
        erased = set()
        for node in reversed(self.graph.nodes):
            if node is last:
                break
            self.graph.erase_node(node)
            erased.add(node)
        for name, proxy in list(self._parameter_proxies.items()):
            if proxy.node in erased:
                del self._parameter_proxies[name]
