"""Static quantization of a whole model: traced, calibrated, converted."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace

from torch import nn

import qgraph
from qbackends import table_module_mapping
from qgraph import BackendConfig, Plan
from qobserve import QConfigMapping, float_qparams_weight_only_qconfig, get_default_qconfig

from ._batches import Batches
from ._by_swapping import quantize_by_swapping
from ._errors import layer_errors, recorded_outputs
from ._layers import SKIPPED, is_inside
from ._report import Report
from ._traced_layers import traced_layers
from .quantize_fx import convert_fx, prepare_fx


def quantize_by_tracing(
    reference: nn.Module,
    batches: Batches,
    table: BackendConfig,
    skip: Collection[str],
    strict: bool,
) -> tuple[nn.Module, Report]:
    """Prepare ``reference``, calibrate it on all batches, and convert it.

    Args:
        reference: the float model, in eval mode.
        batches: what to calibrate on; errors are measured on the first.
        table: the backend.
        skip: names of modules to leave float.
        strict: raise where something cannot be traced or an observer has seen nothing.
    """
    mapping = QConfigMapping().set_global(get_default_qconfig(table.name))
    for kind in table_module_mapping(table):
        mapping.set_object_type(kind, float_qparams_weight_only_qconfig)
    for name in skip:
        mapping.set_module_name(name, None)

    calls = iter(batches)
    first = next(calls, None)
    if first is None:
        raise ValueError("expected at least one batch of data, got none")
    prepared = prepare_fx(
        reference, mapping, first.positional(reference), backend_config=table, strict=strict
    )
    plan = qgraph.plan_of(prepared)
    notes = (*_summed_up(_notes(plan)), *batches.notes)
    names = {name for name, _ in reference.named_modules()}
    names |= {node.target for node in plan.operators()}  # modules made of functions, too
    obstacle = None
    try:
        with recorded_outputs(prepared, names) as expected:
            first(prepared)
    except Exception as error:
        first(reference)  # raises by itself where it is the data that does not fit the model
        if strict:
            raise
        # A branch on whether an argument is None, for one, is traced as if it never were.
        obstacle = f"the traced model does not run: {_first_sentence(error)}"
    if not any(decision.is_quantized for decision in plan.counts()):
        obstacle = "nothing in the model can be quantized statically"
    if obstacle and strict:
        raise ValueError(f"strict=True, and {obstacle}")
    if obstacle:
        notes += (f"the dynamic mode was used instead: {obstacle}",)
        return quantize_by_swapping(reference, first, table, "dynamic", skip, notes)
    for call in calls:
        call(prepared)

    quantized = convert_fx(prepared, backend_config=table, strict=strict)
    with recorded_outputs(quantized, names) as actual:
        first(quantized)
    rows = tuple(
        replace(row, why=SKIPPED) if is_inside(row.name, skip) else row
        for row in traced_layers(reference, quantized, plan, layer_errors(expected, actual))
    )
    return quantized, Report(rows, notes)


def _first_sentence(text: object) -> str:
    """Without the advice that torch's messages may end in."""
    return str(text).partition("\n")[0].partition(". ")[0]


def _notes(plan: Plan, path: str = "") -> Iterator[tuple[str, str]]:
    """What is noteworthy, and the part of the model that it is about."""
    for note in (*plan.untraceable, *plan.notes):
        yield _first_sentence(note), path
    for name, child in plan.children.items():
        yield from _notes(child, f"{path}.{name}" if path else name)


def _summed_up(notes: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Each note once, with all the parts that it is about."""
    paths: dict[str, list[str]] = {}
    for note, path in notes:
        paths.setdefault(note, []).append(path)
    for note, about in paths.items():
        parts = ", ".join(filter(None, about))
        yield f"{parts}: {note}" if parts else note
