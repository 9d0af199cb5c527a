"""Preparing a model, or its traceable parts, for calibration; or only fusing it."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule

from qobserve import QConfigMapping

from . import pipeline
from ._backend_config import BackendConfig, BackendPatternConfig
from ._children import prepare_children
from ._custom_config import FuseCustomConfig, PrepareCustomConfig, StandaloneModuleConfigEntry
from ._dtype_config import DTypeConfig
from ._graph import modules_of, preserve
from ._plan import Plan
from ._qconfigs import assign_qconfigs
from ._quant_type import QuantType
from ._rows import Rows
from ._state import State, attach, state_of
from ._tracer import QuantizationTracer, UntraceableError
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
        >>> from qgraph import BackendConfig, BackendPatternConfig, DTypeConfig, convert
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
    fused = pipeline.fused(traced, rows, is_qat)
    preserve(fused, model, (fuse_custom_config or FuseCustomConfig()).preserved_attributes)
    return fused


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
        interfaces = {
            name: entry.prepare_custom_config or PrepareCustomConfig()
            for name, entry in standalone.items()
        }
        graph, plan, observers = pipeline.observed(
            graph, self.rows, self.custom, interfaces, self.is_qat
        )
        children = {}
        for name, entry in standalone.items():
            child = self._prepare_unit(graph.get_submodule(name), entry)
            graph.set_submodule(name, child)
            child_state = state_of(child)
            children[name] = child_state.plan if child_state else Plan()
        plan = replace(plan, untraceable=traced.untraceable, notes=traced.notes, children=children)
        preserve(graph, model, self.custom.preserved_attributes)
        attach(graph, State(plan, self.backend, self.custom, observers))
        return graph

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
