"""How far a quantized model's layers stray from the float model's, on the same input."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from qtensor import QTensor


@contextmanager
def recorded_outputs(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """While the block runs, note what each submodule returns, as float tensors by module name.

    Of a module that is called several times the first result is kept; results that are not
    floating-point tensors are not.
    """
    outputs: dict[str, Tensor] = {}

    def note(name: str, output: Any) -> None:
        if name in outputs or not isinstance(output, Tensor):
            return
        if isinstance(output, QTensor):
            output = output.dequantize()
        if output.is_floating_point():
            outputs[name] = output.detach().clone()

    handles = [
        module.register_forward_hook(lambda _, __, output, name=name: note(name, output))
        for name, module in model.named_modules()
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


def layer_errors(
    reference: dict[str, Tensor], quantized: dict[str, Tensor]
) -> dict[str, float | None]:
    """The :func:`sqnr` of every layer that both recordings hold."""
    return {
        name: sqnr(output, quantized[name])
        for name, output in reference.items()
        if name in quantized
    }
