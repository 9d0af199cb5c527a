"""Preparing the parts of a model whose own ``forward`` cannot be traced."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ._graph import copy_structure, join_path
from ._plan import Plan
from ._rows import Rows
from ._state import State, state_of
from ._tracer import QuantizationTracer, Untraceable, UntraceableError
from .passes.values import does_not_run

PrepareChild = Callable[[nn.Module, str, tuple[Any, ...] | None], nn.Module]


def prepare_children(
    model: nn.Module,
    error: UntraceableError,
    example_inputs: tuple[Any, ...] | None,
    rows: Rows,
    skip: QuantizationTracer,
    prepare_child: PrepareChild,
) -> tuple[nn.Module, Plan]:
    """Prepare the largest parts of ``model`` that can be traced, each by itself.

    Args:
        model: a module whose ``forward`` cannot be traced. It is not changed.
        error: what stopped the tracer.
        example_inputs: inputs of ``model``; those of the parts are recorded while it runs on them.
        rows: what the backend can quantize.
        skip: knows the modules that are to stay as they are.
        prepare_child: prepares a module, given its name in ``model`` and its inputs.

    Returns:
        a copy of ``model`` that shares its tensors, with the parts replaced; and its plan.
    """
    clone = copy_structure(model)
    inputs, note = _recorded_inputs(clone, example_inputs)
    untraceable: list[Untraceable] = list(error.modules)
    children: dict[str, Plan] = {}

    def visit(parent: nn.Module, prefix: str) -> None:
        for name, child in list(parent.named_children()):
            path = join_path(prefix, name)
            leaf = skip.is_leaf_module(child, path)
            if leaf and not _has_quantizable_weight(child, rows):
                continue
            if isinstance(child, nn.ModuleList | nn.ModuleDict):
                visit(child, path)
                continue
            try:
                whole = _Call(name, child) if leaf else child
                prepared = prepare_child(whole, prefix if leaf else path, inputs.get(path))
            except UntraceableError as failure:
                untraceable.extend(replace(m, module=path) for m in failure.modules)
                visit(child, path)
                continue
            state: State | None = state_of(prepared)
            if state is not None and _quantizes_weights(state.plan):
                parent.register_module(name, prepared)
                children[path] = state.plan

    visit(clone, "")
    notes = (note,) if note else ()
    return clone, Plan(untraceable=tuple(untraceable), notes=notes, children=children)


class _Call(nn.Module):
    """Calls one module, so that a single layer can be traced as a model."""

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__()
        self.add_module(name, module)
        self.called = name
        self.train(module.training)

    def forward(self, x: Any) -> Any:
        return self.get_submodule(self.called)(x)


def _has_quantizable_weight(module: nn.Module, rows: Rows) -> bool:
    row = rows.find(type(module))
    return row is not None and row.reference_quantized_module is not None


def _quantizes_weights(plan: Plan) -> bool:
    return any(
        node.decision.is_quantized and node.row is not None and node.row.reference_quantized_module
        for node in plan.operators()
    )


def _recorded_inputs(
    model: nn.Module, example_inputs: tuple[Any, ...] | None
) -> tuple[dict[str, tuple[Any, ...]], str | None]:
    """The inputs of every submodule while ``model`` runs, by its name, as positional arguments.

    And why it does not run to its end, if it does not.
    """
    recorded: dict[str, tuple[Any, ...]] = {}

    def recorder(path: str) -> Callable[..., None]:
        def record(module: nn.Module, args: Any, kwargs: Any) -> None:
            bound = inspect.signature(module.forward).bind(*args, **kwargs)
            if not bound.kwargs:
                recorded.setdefault(path, bound.args)

        return record

    hooks = [
        module.register_forward_pre_hook(recorder(path), with_kwargs=True)
        for path, module in model.named_modules()
        if path
    ]
    training = [module for module in model.modules() if module.training]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            model.eval()
            if example_inputs is not None:
                model(*example_inputs)
    except Exception as error:
        # What ran until then is recorded; the rest is prepared without example inputs.
        return recorded, does_not_run(error)
    finally:
        for hook in hooks:
            hook.remove()
        for module in training:
            module.training = True
    return recorded, None
