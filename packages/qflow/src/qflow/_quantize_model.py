"""One call from a float model to a quantized one, and an account of what happened."""

import copy
from collections.abc import Collection, Iterator
from typing import Any

import torch
from torch import nn

import qgraph
from qbackends import dynamic_module_mapping, get_backend_config, weight_only_module_mapping
from qobserve import (
    QConfig,
    convert,
    float_qparams_weight_only_qconfig,
    per_channel_dynamic_qconfig,
    propagate_qconfig_,
)

from ._batches import Batches, Call
from ._checks import check_model
from ._errors import layer_errors, recorded_outputs
from ._layers import swapped_layers, traced_layers
from ._report import Report
from .qconfig_mapping import get_default_qconfig_mapping
from .quantize_fx import convert_fx, prepare_fx

MODES = ("static", "dynamic", "weight_only")


def quantize_model(
    model: nn.Module,
    data: Any = None,
    backend: str = "x86",
    mode: str = "static",
    *,
    skip: Collection[str] = (),
    strict: bool = False,
) -> tuple[nn.Module, Report]:
    """Quantize ``model`` to int8 and report what became of each layer.

    Args:
        model: the float model. It is not changed.
        data: representative inputs: an iterable of batches (a ``DataLoader``, a list), each a
            tensor, a tuple or list of positional arguments, or a dictionary of arguments by name.
            Of a tuple, what comes after ``forward``'s parameters without default is taken for
            labels and left out; of a dictionary, names that ``forward`` does not have. A single
            tensor or dictionary is one batch. Static mode calibrates on all of it; the other
            modes need none, and measure errors on the first batch if there is one.
        backend: ``"x86"`` (default) or ``"fbgemm"``.
        mode: ``"static"`` (default): activations stay int8 between layers, with ranges measured
            on ``data``; the model is traced, and what cannot be traced stays float.
            ``"dynamic"``: layers that multiply quantize their input as they run, and give float;
            embedding tables are stored as int8. ``"weight_only"``: only those weights are
            quantized whose layers can compute with float activations (embedding tables).
        skip: names of modules to leave float, everything inside them included.
        strict: raise, instead of falling back, where something cannot be traced or an observer
            has seen no data.

    Returns:
        The quantized model in eval mode, and the :class:`~qflow.Report`. If static mode finds
        nothing it can quantize, the model is quantized dynamically and a note says so.

    Raises:
        TypeError: ``model`` is not a module, or ``data`` or a batch of it is of no known kind.
        ValueError: an unknown backend, mode, or name in ``skip``; static mode without data.

    Example:
        >>> import qflow, torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4), torch.nn.ReLU())
        >>> quantized, report = qflow.quantize_model(model, [torch.rand(16, 8)])
        >>> quantized(torch.rand(2, 8)).shape
        torch.Size([2, 4])
        >>> report["0"].weight
        'qint8 per channel'
    """
    check_model(model, "quantize_model")
    get_backend_config(backend)
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; expected one of {', '.join(MODES)}")
    names = {name for name, _ in model.named_modules()}
    unknown = sorted(set(skip) - names)
    if unknown:
        raise ValueError(f"skip names {unknown}, but the model has no such modules")

    # Training behaviour (dropout, batch statistics) must not leak into what is measured.
    reference = copy.deepcopy(model).eval()
    batches = None if data is None else Batches(reference, data)
    with torch.no_grad():
        if mode != "static":
            return _by_swapping(reference, batches, backend, mode, skip)
        if batches is None:
            raise ValueError(
                "static mode needs data to calibrate on; give some batches of typical inputs, or "
                'use mode="dynamic"'
            )
        return _by_tracing(reference, batches, backend, skip, strict)


def _by_swapping(
    reference: nn.Module,
    batches: Batches | None,
    backend: str,
    mode: str,
    skip: Collection[str],
    notes: tuple[str, ...] = (),
) -> tuple[nn.Module, Report]:
    dynamic = dynamic_module_mapping(backend) if mode == "dynamic" else {}
    mapping = {**weight_only_module_mapping(backend), **dynamic}
    spec: dict[Any, QConfig | None] = {
        **dict.fromkeys(mapping, float_qparams_weight_only_qconfig),
        **dict.fromkeys(dynamic, per_channel_dynamic_qconfig),
        **dict.fromkeys(skip),
    }
    quantized = copy.deepcopy(reference)
    propagate_qconfig_(quantized, spec)
    convert(quantized, mapping, inplace=True)

    def why(name: str, module: nn.Module) -> str:
        if type(quantized.get_submodule(name)) is not type(module):
            if type(module) in dynamic:
                return "its input is quantized as it runs"
            return "weights are stored in 8 bits, its output is float"
        if _inside(name, skip):
            return "skipped by name"
        bases = [kind.__name__ for kind in mapping if isinstance(module, kind)]
        if bases:
            return f"a class derived from {bases[0]}, whose forward may differ"
        return f"{backend} has no {mode} form of {type(module).__name__}"

    errors: dict[str, float | None] = {}
    if batches is not None:
        errors = _errors(reference, quantized, _first(batches))
        notes += _left_out(batches)
    return quantized, Report(swapped_layers(reference, quantized, why, errors), notes)


def _errors(reference: nn.Module, quantized: nn.Module, call: Call) -> dict[str, float | None]:
    with recorded_outputs(reference) as expected:
        call(reference)
    with recorded_outputs(quantized) as actual:
        call(quantized)
    return layer_errors(expected, actual)


def _first(batches: Batches) -> Call:
    for call in batches:
        return call
    raise ValueError("expected at least one batch of data, got none")


def _left_out(batches: Batches) -> tuple[str, ...]:
    return (batches.left_out,) if batches.left_out else ()


def _inside(name: str, skip: Collection[str]) -> bool:
    return any(name == skipped or name.startswith(f"{skipped}.") for skipped in skip)
