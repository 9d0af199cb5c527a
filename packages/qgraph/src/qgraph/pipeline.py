"""The passes in their order, from a float model to a quantized one.

trace → in_place → functional → fuse → plan → observe ┆ calibrate ┆ reference → lower → cleanup
"""

import copy
import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule

from qobserve import QConfigMapping

from ._backend_config import BackendConfig, BackendPatternConfig
from ._children import prepare_children
from ._custom_config import (
    ConvertCustomConfig,
    FuseCustomConfig,
    PrepareCustomConfig,
    StandaloneModuleConfigEntry,
)
from ._dtype_config import DTypeConfig
from ._graph import copy_structure, modules_of, preserve
from ._plan import Decision, Plan
from ._qconfigs import Resolver, assign_qconfigs
from ._quant_type import QuantType
from ._rows import Rows
from ._state import State, attach, state_of
from ._tracer import QuantizationTracer, UntraceableError
from .passes.cleanup import clean_up
from .passes.functional import functional_to_module
from .passes.fuse import fuse as fuse_pass
from .passes.in_place import remove_in_place
from .passes.lower import lower
from .passes.observe import observe
from .passes.plan import make_plan
from .passes.reference import to_reference as reference_pass
from .passes.trace import Traced, trace

_log = logging.getLogger("qgraph")


def prepare(
    model: nn.Module,
    qconfig_mapping: QConfigMapping,
    example_inputs: tuple[Any, ...] | None,
    prepare_custom_config: PrepareCustomConfig | None = None,
    backend_config: BackendConfig | None = None,
    is_qat: bool = False,
    strict: bool = False,
) -> nn.Module:
    """Trace and fuse ``model``, and insert the observers that calibration needs.

    Args:
        model: a float model in eval mode. It is not changed; the result shares its tensors.
        qconfig_mapping: which qconfig applies where.
        example_inputs: positional arguments for ``forward``, run once to learn shapes and dtypes.
        prepare_custom_config: what to leave alone, swap or prepare separately (default: nothing).
        backend_config: what can be quantized, and how (default: nothing at all).
        is_qat: whether fused modules are for training.
        strict: raise where a module cannot be traced, in place of leaving it in float.

    Returns:
        the observed model; a ``GraphModule``, unless the ``forward`` of ``model`` itself cannot be
        traced: then a copy of ``model`` with its largest traceable parts replaced by such.

    Raises:
        UntraceableError: with ``strict``, some module cannot be traced.
        ValueError: a module to be fused is in training mode, or the custom config asks for
            quantized inputs or outputs where no qconfig says how.

    Example:
        >>> import torch
        >>> from qgraph import BackendConfig, BackendPatternConfig, DTypeConfig
        >>> from qobserve import QConfigMapping, get_default_qconfig
        >>> from qtensor import qint8, quint8
        >>> from qtensor.nn import quantized as nnq
        >>> from torch import nn
        >>> row = (
        ...     BackendPatternConfig(nn.Linear)
        ...     .add_dtype_config(DTypeConfig(quint8, quint8, qint8, torch.float32))
        ...     .set_reference_quantized_module(nnq.reference.Linear)
        ...     .set_quantized_module(nnq.Linear)
        ... )
        >>> backend = BackendConfig("linear only").set_backend_pattern_config(row)
        >>> model, x = nn.Sequential(nn.Linear(4, 4)).eval(), torch.randn(2, 4)
        >>> mapping = QConfigMapping().set_global(get_default_qconfig("x86"))
        >>> prepared = prepare(model, mapping, (x,), backend_config=backend)
        >>> _ = prepared(x)  # calibrate
        >>> convert(prepared)(x).shape
        torch.Size([2, 4])
    """
    inputs: Any = example_inputs
    if isinstance(inputs, Tensor):  # as people write it, though a tuple is asked for
        inputs = (inputs,)
    custom = prepare_custom_config or PrepareCustomConfig()
    backend = _with_custom_modules(backend_config or BackendConfig("none"), custom)
    job = _Preparation(qconfig_mapping, custom, backend, is_qat, strict)
    try:
        return job.graph(model, "", inputs)
    except UntraceableError as error:
        if strict:
            raise
        return job.children(model, error, inputs)


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
        what = "is converted already" if state else "was not prepared"
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


def fuse(
    model: nn.Module,
    fuse_custom_config: FuseCustomConfig | None = None,
    backend_config: BackendConfig | None = None,
    example_inputs: tuple[Any, ...] | None = None,
    is_qat: bool = False,
) -> GraphModule:
    """Trace ``model`` and only fuse it: the result computes the same in float.

    Args:
        model: a float model in eval mode. It is not changed.
        fuse_custom_config: which attributes to keep (default: none).
        backend_config: which sequences can be fused (default: none).
        example_inputs: where given, additions of equal shapes can be fused too.
        is_qat: whether fused modules are for training.

    Raises:
        UntraceableError: the ``forward`` of ``model`` cannot be traced.
        ValueError: a module to be fused is in training mode.
    """
    traced = trace(model, example_inputs).model
    rows = Rows(backend_config or BackendConfig("none"))
    fused = fuse_pass(functional_to_module(remove_in_place(traced), rows), rows, is_qat)
    preserve(fused, model, (fuse_custom_config or FuseCustomConfig()).preserved_attributes)
    return clean_up(fused)


class _Preparation:
    def __init__(
        self,
        mapping: QConfigMapping,
        custom: PrepareCustomConfig,
        backend: BackendConfig,
        is_qat: bool,
        strict: bool,
    ) -> None:
        self.mapping, self.custom, self.backend = mapping, custom, backend
        self.rows, self.is_qat, self.strict = Rows(backend), is_qat, strict

    def graph(self, model: nn.Module, prefix: str, inputs: tuple[Any, ...] | None) -> GraphModule:
        """Prepare a traceable model, called ``prefix`` within the one the mapping is about."""
        standalone = self._standalone(model)
        traced = self._trace(model, inputs, standalone)
        graph = traced.model
        assign_qconfigs(graph.graph, modules_of(graph), self.mapping, prefix)
        graph = functional_to_module(remove_in_place(graph), self.rows)
        graph = fuse_pass(graph, self.rows, self.is_qat)
        configs = {
            name: entry.prepare_custom_config or PrepareCustomConfig()
            for name, entry in standalone.items()
        }
        plan = make_plan(graph, self.rows, self.custom, configs)
        children = {}
        for name, entry in standalone.items():
            child = self._prepare_unit(graph.get_submodule(name), entry)
            graph.set_submodule(name, child)
            child_state = state_of(child)
            children[name] = child_state.plan if child_state else Plan()
        plan = replace(plan, untraceable=traced.untraceable, notes=traced.notes, children=children)
        graph, observers = observe(graph, plan)
        preserve(graph, model, self.custom.preserved_attributes)
        attach(graph, State(plan, self.backend, self.custom, observers))
        return clean_up(graph)

    def children(
        self, model: nn.Module, error: UntraceableError, inputs: tuple[Any, ...] | None
    ) -> nn.Module:
        """Prepare the parts of a model that cannot be traced as a whole."""
        skip = QuantizationTracer(
            self.custom.non_traceable_module_names, self.custom.non_traceable_module_classes
        )
        prepared, plan = prepare_children(model, error, inputs, self.rows, skip, self.graph)
        for module in plan.untraceable:
            _log.warning("stays float: %s", module)
        attach(prepared, State(plan, self.backend, self.custom))
        return prepared

    def _standalone(self, model: nn.Module) -> dict[str, StandaloneModuleConfigEntry]:
        by_name = self.custom.standalone_module_names
        by_class = self.custom.standalone_module_classes
        return {
            name: by_name[name] if name in by_name else by_class[type(module)]
            for name, module in model.named_modules()
            if name and (name in by_name or type(module) in by_class)
        }

    def _trace(self, model: nn.Module, inputs: Any, standalone: dict[str, Any]) -> Traced:
        observed = self.custom.float_to_observed_mapping.get(QuantType.STATIC, {})
        traced = trace(
            model,
            inputs,
            [*self.custom.non_traceable_module_names, *standalone],
            [*self.custom.non_traceable_module_classes, *observed, *self._row_classes()],
        )
        if traced.untraceable and self.strict:
            raise UntraceableError(traced.untraceable)
        for module in traced.untraceable:
            _log.warning("stays float: %s", module)
        return traced

    def _row_classes(self) -> Iterator[type]:
        """A module class that a row describes is one operator, wherever it is defined."""
        for row in self.rows:
            yield from (way for way in row.spellings if isinstance(way, type))

    def _prepare_unit(self, child: nn.Module, entry: StandaloneModuleConfigEntry) -> nn.Module:
        return prepare(
            child,
            entry.qconfig_mapping or self.mapping,
            entry.example_inputs,
            entry.prepare_custom_config,
            entry.backend_config or self.backend,
            self.is_qat,
            self.strict,
        )


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
            raise ValueError("expected a prepared module")
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
        graph = reference_pass(graph, plan, state.observers, self.custom)
        if not self.to_reference:
            graph = lower(graph, plan, self.backend or state.backend)
        preserve(graph, prepared, self.custom.preserved_attributes)
        attach(graph, replace(state, plan=plan, is_converted=True))
        return clean_up(graph)

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


def _with_custom_modules(backend: BackendConfig, custom: PrepareCustomConfig) -> BackendConfig:
    """``backend`` with a row for each custom module."""
    rows = [
        BackendPatternConfig(float_class)
        .set_observed_module(observed_class)
        .add_dtype_config(DTypeConfig())
        for float_class, observed_class in custom.float_to_observed_mapping.get(
            QuantType.STATIC, {}
        ).items()
    ]
    if not rows:
        return backend
    # First, since the first row that lists a class is the one that describes it.
    return BackendConfig(backend.name).set_backend_pattern_configs([*rows, *backend.configs])


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
    warnings.warn(message, stacklevel=3)


def _observers(prepared: nn.Module) -> Iterator[Any]:
    state = state_of(prepared)
    if state is None:
        return
    for path in state.observers:
        if path is not None:
            yield prepared.get_submodule(path)
    for path in state.plan.children:
        yield from _observers(prepared.get_submodule(path))
