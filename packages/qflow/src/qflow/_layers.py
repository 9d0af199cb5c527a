"""The rows of a report: what became of each layer, read off the model before and after."""

import itertools
from collections.abc import Callable, Mapping

from torch import nn

from qtensor import QTensor

from ._report import LayerReport

Errors = Mapping[str, float | None]


def swapped_layers(
    before: nn.Module, after: nn.Module, why: Callable[[str, nn.Module], str], errors: Errors
) -> tuple[LayerReport, ...]:
    """One row for each module that holds parameters or buffers, or was replaced.

    Args:
        before: the float model.
        after: the same model with some modules replaced in their places.
        why: what to say of a module, given its name and the float module.
        errors: SQNR by module name, in dB.
    """
    rows = []
    for name, module in before.named_modules():
        new = after.get_submodule(name)
        replaced = type(new) is not type(module)
        if replaced or own_bytes(module):
            rows.append(
                LayerReport(
                    name=name,
                    was=type(module).__name__,
                    became=described(new) if replaced else "float",
                    why=why(name, module),
                    weight=weight_scheme(new),
                    bytes_before=own_bytes(module),
                    bytes_after=own_bytes(new),
                    sqnr=errors.get(name),
                )
            )
    return tuple(rows)


def own_bytes(module: nn.Module) -> int:
    """Bytes of the parameters and buffers that ``module`` itself holds, not its children's."""
    tensors = itertools.chain(module.parameters(recurse=False), module.buffers(recurse=False))
    return sum(tensor.nbytes for tensor in tensors)


def described(module: nn.Module) -> str:
    """The type of ``module``, with its package where that tells apart what is named alike."""
    kind = type(module)
    return f"dynamic {kind.__name__}" if ".dynamic" in kind.__module__ else kind.__name__


def weight_scheme(module: nn.Module) -> str:
    """Dtype and scheme of the quantized weight of ``module``, or an empty string."""
    weight = getattr(module, "weight", None)
    if callable(weight):
        weight = weight()
    if not isinstance(weight, QTensor):
        return ""
    scheme = "per channel" if weight.qscheme().per_channel else "per tensor"
    return f"{weight.qdtype.name} {scheme}"
