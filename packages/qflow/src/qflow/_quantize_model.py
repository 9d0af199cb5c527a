"""One call from a float model to a quantized one, and an account of what happened."""

import copy
from collections.abc import Collection
from typing import Any

import torch
from torch import nn

from qbackends import get_backend_config
from qgraph import BackendConfig

from ._batches import Batches
from ._by_swapping import quantize_by_swapping
from ._by_tracing import quantize_by_tracing
from ._checks import check_model
from ._report import Report

MODES = ("static", "dynamic", "weight_only")


def quantize_model(
    model: nn.Module,
    data: Any = None,
    backend: str | BackendConfig = "x86",
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
        backend: ``"x86"`` (default), ``"fbgemm"``, ``"onednn"``, ``"qnnpack"``, or the table of
            one of them with rows added.
        mode: ``"static"`` (default): activations stay int8 between layers, with ranges measured
            on ``data``; the model is traced, and what cannot be traced stays float.
            ``"dynamic"``: layers that multiply quantize their input as they run, and give float;
            embedding tables are stored as int8. ``"weight_only"``: only those weights are
            quantized whose layers can compute with float activations (of linear layers, and
            embedding tables).
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
    table = get_backend_config(backend)
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; expected one of {', '.join(MODES)}")
    names = {name for name, _ in model.named_modules()}
    unknown = sorted(set(skip) - names)
    if unknown:
        raise ValueError(f"skip names {unknown}, but the model has no such modules")

    # Training behaviour (dropout, batch statistics) must not leak into what is measured.
    reference = copy.deepcopy(model).eval()
    batches = None if data is None else Batches(reference, data)
    if mode == "static" and batches is None:
        raise ValueError(
            "static mode needs data to calibrate on; give some batches of typical inputs, or use "
            'mode="dynamic"'
        )
    with torch.no_grad():
        if mode == "static" and batches is not None:
            return quantize_by_tracing(reference, batches, table, skip, strict)
        call = None if batches is None else batches.first()
        notes = () if batches is None else batches.notes
        return quantize_by_swapping(reference, call, table, mode, skip, notes)
