"""trace: a module becomes a graph; what cannot be followed stays a float leaf, named."""

import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.fx import Graph, GraphModule

from .._tracer import QuantizationTracer, Untraceable, UntraceableError
from .in_place import aliased_write
from .values import record_values


@dataclass(frozen=True)
class Traced:
    """A traced model.

    Attributes:
        model: the graph, each node with its module scope under ``meta["scope"]`` and, where the
            example inputs run, what it gave for them under ``meta["value"]``. Submodules are
            shared with the model that was traced.
        untraceable: what became a leaf because it could not be traced.
        notes: why the example inputs do not run, if they do not.
    """

    model: GraphModule
    untraceable: tuple[Untraceable, ...]
    notes: tuple[str, ...]


def trace(
    model: nn.Module,
    example_inputs: tuple[Any, ...] | None = None,
    skipped_names: Iterable[str] = (),
    skipped_classes: Iterable[Any] = (),
) -> Traced:
    """Trace ``model``.

    Args:
        model: the module to trace.
        example_inputs: positional arguments for its ``forward``. An argument that is ``None`` for
            them is traced as ``None``, and the graph refuses any other value.
        skipped_names: qualified names of modules that become leaves.
        skipped_classes: classes of modules that become leaves.

    Raises:
        UntraceableError: the ``forward`` of ``model`` itself cannot be traced.
    """
    tracer = QuantizationTracer(skipped_names, skipped_classes, example_inputs)
    while True:
        traced = GraphModule(model, _graph(tracer, model), type(model).__name__)
        note = record_values(traced, example_inputs)
        write = aliased_write(traced)
        if write is None:
            return Traced(traced, (*tracer.untraceable.values(),), (note,) if note else ())
        # A write into a view cannot be expressed without writing: its module stays as it is.
        scope = write.meta["scope"][0]
        if write.op == "call_module":  # a module that writes into its input: its caller stays
            scope = scope.rpartition(".")[0]
        record = Untraceable(
            scope,
            type(model.get_submodule(scope)).__name__,
            _forward_of(model.get_submodule(scope)),
            f"{write.name} writes into a tensor that is read later under another name",
        )
        if not scope or scope in tracer.untraceable:
            raise UntraceableError([record])
        tracer.untraceable[scope] = record


def _graph(tracer: QuantizationTracer, model: nn.Module) -> Graph:
    try:
        return tracer.trace(model)
    except Exception as error:
        raise UntraceableError([Untraceable.because(model, "", error)]) from error


def _forward_of(module: nn.Module) -> str:
    code = inspect.unwrap(type(module).forward).__code__
    return f"{code.co_filename}:{code.co_firstlineno}"
