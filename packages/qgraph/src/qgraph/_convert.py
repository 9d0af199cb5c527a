"""Converting a calibrated model."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import nn
from torch.fx import GraphModule

from qobserve import QConfigMapping
from qtensor import warn_user

from . import pipeline
from ._backend_config import BackendConfig
from ._custom_config import ConvertCustomConfig
from ._graph import copy_structure, preserve
from ._plan import Decision, Plan
from ._qconfigs import Resolver
from ._state import State, attach, state_of


def convert(
    prepared: nn.Module,
    convert_custom_config: ConvertCustomConfig | None = None,
    qconfig_mapping: QConfigMapping | None = None,
    backend_config: BackendConfig | None = None,
    to_reference: bool = False,
    strict: bool = False,
    remove_qconfig: bool = True,
) -> nn.Module:
    """Turn a calibrated model into a quantized one.

    Args:
        prepared: what :func:`prepare` returned. It is not changed.
        convert_custom_config: what observed custom modules become (default: they stay).
        qconfig_mapping: as given to :func:`prepare`; what it now maps to ``None`` stays float.
        backend_config: as given to :func:`prepare` (default: that one).
        to_reference: stop at the reference model, for backends with kernels of their own.
        strict: raise where an observer has seen no data, in place of warning.
        remove_qconfig: remove the ``qconfig`` attributes that custom modules were given.

    Raises:
        ValueError: ``prepared`` was not prepared, or is converted already; or, with ``strict``,
            an observer has seen no data.

    Warns:
        UserWarning: once, naming every observer that has seen no data.
    """
    state = state_of(prepared)
    if state is None or state.is_converted:
        what = "is converted already"
        if state is None:
            what = "was not prepared, or was saved whole and loaded; load its state dict instead"
        raise ValueError(
            f"expected a model that prepare returned, got a {type(prepared).__name__} that {what}"
        )
    _check_all_have_seen_data(prepared, strict)
    job = _Conversion(
        convert_custom_config or ConvertCustomConfig(),
        Resolver(qconfig_mapping) if qconfig_mapping is not None else None,
        backend_config,
        to_reference,
    )
    converted = job.model(prepared)
    if remove_qconfig:
        kept = {id(module) for module in prepared.modules()}
        for module in converted.modules():
            if id(module) not in kept:
                module.__dict__.pop("qconfig", None)
    return converted


class _Conversion:
    def __init__(
        self,
        custom: ConvertCustomConfig,
        resolver: Resolver | None,
        backend: BackendConfig | None,
        to_reference: bool,
    ) -> None:
        self.custom, self.resolver = custom, resolver
        self.backend, self.to_reference = backend, to_reference

    def model(self, prepared: nn.Module) -> nn.Module:
        state = state_of(prepared)
        if state is None:
            raise ValueError(
                f"expected a prepared module inside a prepared model, got {type(prepared).__name__}"
            )
        if isinstance(prepared, GraphModule):
            return self._graph(prepared, state)
        converted = copy_structure(prepared)
        for path in state.plan.children:
            converted.set_submodule(path, self.model(prepared.get_submodule(path)))
        attach(converted, replace(state, is_converted=True))
        return converted

    def _graph(self, prepared: GraphModule, state: State) -> GraphModule:
        graph = GraphModule(prepared, copy.deepcopy(prepared.graph), type(prepared).__name__)
        graph.train(prepared.training)
        plan = self._without_left_out(graph, state.plan)
        for path in plan.children:
            graph.set_submodule(path, self.model(prepared.get_submodule(path)))
        backend = None if self.to_reference else self.backend or state.backend
        graph = pipeline.quantized(graph, plan, state.observers, self.custom, backend)
        preserve(graph, prepared, self.custom.preserved_attributes)
        attach(graph, replace(state, plan=plan, is_converted=True))
        return graph

    def _without_left_out(self, graph: GraphModule, plan: Plan) -> Plan:
        """``plan`` without the operators that the mapping given to convert leaves out."""
        if self.resolver is None:
            return plan
        nodes = dict(plan.nodes)
        for node in graph.graph.nodes:
            origin = node.meta.get("origin")
            if origin is None or node.name not in nodes or self.resolver(origin) is not None:
                continue
            if nodes[node.name].decision.is_quantized:
                why = "left out by the qconfig mapping given to convert"
                nodes[node.name] = replace(
                    nodes[node.name], decision=Decision.FLOAT, why=why, inputs=()
                )
        return replace(plan, nodes=nodes)


def _check_all_have_seen_data(prepared: nn.Module, strict: bool) -> None:
    unseen = [
        observer.name
        for observer in _observers(prepared)
        if not getattr(observer, "has_seen_data", True)
    ]
    if not unseen:
        return
    message = (
        f"{len(unseen)} observer(s) have seen no data, so the parameters of these tensors mean "
        f"nothing: {', '.join(unseen)}. Run the prepared model on representative inputs before "
        "converting it, unless a state dict is to be loaded."
    )
    if strict:
        raise ValueError(message)
    warn_user(message)


def _observers(prepared: nn.Module) -> Iterator[Any]:
    state = state_of(prepared)
    if state is None:
        return
    for path in state.observers:
        if path is not None:
            yield prepared.get_submodule(path)
    for path in state.plan.children:
        yield from _observers(prepared.get_submodule(path))
