"""Dynamic and weight-only quantization of a whole model, module by module and without tracing."""

import copy
from collections.abc import Collection
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from qbackends import (
    dynamic_module_mapping,
    table_module_mapping,
    weight_only_module_mapping,
)
from qgraph import BackendConfig
from qobserve import (
    PlaceholderObserver,
    QConfig,
    convert,
    default_per_channel_weight_observer,
    float_qparams_weight_only_qconfig,
    per_channel_dynamic_qconfig,
    propagate_qconfig_,
)

from ._batches import Call
from ._errors import Errors, measured_errors
from ._layers import SKIPPED, described, is_inside, own_bytes, weight_scheme
from ._report import LayerReport, Report

_WEIGHTS_OF_LAYERS = QConfig(PlaceholderObserver, default_per_channel_weight_observer)


def quantize_by_swapping(
    reference: nn.Module,
    call: Call | None,
    table: BackendConfig,
    mode: str,
    skip: Collection[str],
    notes: tuple[str, ...] = (),
) -> tuple[nn.Module, Report]:
    """Swap the modules of a copy of ``reference`` for which ``table`` has a counterpart.

    Args:
        reference: the float model, in eval mode.
        call: what to measure the layers' errors on, if anything.
        table: the backend.
        mode: ``"dynamic"`` or ``"weight_only"``.
        skip: names of modules to leave float.
        notes: for the report.
    """
    tables, is_dynamic = table_module_mapping(table), mode == "dynamic"
    layers = dynamic_module_mapping(table) if is_dynamic else weight_only_module_mapping(table)
    spec: dict[Any, QConfig | None] = {
        **dict.fromkeys(layers, per_channel_dynamic_qconfig if is_dynamic else _WEIGHTS_OF_LAYERS),
        **dict.fromkeys(tables, float_qparams_weight_only_qconfig),
        **dict.fromkeys(skip),
    }
    quantized = copy.deepcopy(reference)
    propagate_qconfig_(quantized, spec)
    quantized = convert(quantized, {**layers, **tables}, inplace=True)

    stored = "its weight is stored in 8 bits, its output is float"
    reasons = {
        **dict.fromkeys(layers, "its input is quantized as it runs" if is_dynamic else stored),
        **dict.fromkeys(tables, stored),
    }

    def why(name: str, module: nn.Module) -> str:
        if is_inside(name, skip):
            return SKIPPED
        kind = type_before_parametrizations(module)
        if kind in reasons:
            return reasons[kind]
        bases = [base.__name__ for base in reasons if isinstance(module, base)]
        if bases:
            return f"a class derived from {bases[0]}, whose forward may differ"
        return f"{table.name} has no {mode} form of {kind.__name__}"

    errors: Errors = {} if call is None else measured_errors(reference, quantized, call)
    after = dict(quantized.named_modules())
    replaced = {
        name
        for name, module in reference.named_modules()
        if name in after and type(after[name]) is not type(module)
    }
    rows = []
    for name, module in reference.named_modules():
        swapped = name in replaced
        if not swapped and is_inside(name, replaced):
            continue  # gone with the module around it, such as what parametrizes a weight
        if not swapped and not own_bytes(module):
            continue  # an activation, dropout, or container: there is nothing to tell
        new = after[name]
        rows.append(
            LayerReport(
                name=name,
                was=type_before_parametrizations(module).__name__,
                became=described(new) if swapped else "float",
                why=why(name, module),
                weight=weight_scheme(new),
                bytes_before=_bytes(module, swapped),
                bytes_after=_bytes(new, swapped),
                sqnr=errors.get(name),
            )
        )
    if not replaced:
        notes = (f"nothing in the model has a {mode} form", *notes)
    return quantized, Report(tuple(rows), notes)


def _bytes(module: nn.Module, with_children: bool) -> int:
    return sum(map(own_bytes, module.modules())) if with_children else own_bytes(module)
