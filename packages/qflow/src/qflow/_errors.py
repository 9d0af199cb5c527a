"""How far a quantized model's layers stray from the float model's, on the same input."""

import math
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from qtensor import QTensor

from ._batches import Call

Outputs = dict[str, Tensor]
Errors = Mapping[str, float | None]
"""SQNR by module name, in dB; ``None`` where it has no value."""


@contextmanager
def recorded_outputs(model: nn.Module, names: Collection[str]) -> Iterator[Outputs]:
    """While the block runs, note what the modules of these names return, as float tensors.

    Of a module that is called several times the first result is kept; results that are not
    floating-point tensors are not.
    """
    outputs: Outputs = {}

    def note(name: str, _module: nn.Module, _args: Any, output: Any) -> None:
        if name in outputs or not isinstance(output, Tensor):
            return
        if isinstance(output, QTensor):
            output = output.dequantize()
        if output.is_floating_point():
            outputs[name] = output.detach().clone()

    handles = [
        module.register_forward_hook(partial(note, name))
        for name, module in model.named_modules()
        if name in names
    ]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def sqnr(reference: Tensor, quantized: Tensor) -> float | None:
    """Signal to quantization noise, 10·log10(Σ reference² / Σ (reference - quantized)²), in dB.

    Args:
        reference, quantized: floating-point tensors of one shape.

    Returns:
        ``inf`` where they are equal; ``None`` where the shapes differ or ``reference`` is zero.
    """
    if reference.shape != quantized.shape:
        return None
    signal = reference.double().square().sum().item()
    noise = (reference.double() - quantized.double()).square().sum().item()
    if not signal:
        return None
    return 10 * math.log10(signal / noise) if noise else math.inf


def layer_errors(reference: Outputs, quantized: Outputs) -> Errors:
    """The :func:`sqnr` of every layer that both recordings hold."""
    return {
        name: sqnr(output, quantized[name])
        for name, output in reference.items()
        if name in quantized
    }


def measured_errors(reference: nn.Module, quantized: nn.Module, call: Call) -> Errors:
    """The errors of the layers of ``quantized``, after running both models on one call."""
    names = {name for name, _ in reference.named_modules()}
    with recorded_outputs(reference, names) as expected:
        call(reference)
    with recorded_outputs(quantized, names) as actual:
        call(quantized)
    return layer_errors(expected, actual)
