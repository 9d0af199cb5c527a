"""What a report says of a module, read off the module."""

import itertools
from collections.abc import Collection

from torch import nn

from qtensor import QTensor

SKIPPED = "skipped by name"


def own_bytes(module: nn.Module) -> int:
    """Bytes of the parameters and buffers that ``module`` itself holds, not its children's."""
    tensors = itertools.chain(module.parameters(recurse=False), module.buffers(recurse=False))
    return sum(tensor.nbytes for tensor in tensors)


def described(module: nn.Module) -> str:
    """The type of a quantized module, set apart from the float type of the same name."""
    kind = type(module)
    if ".dynamic" in kind.__module__:
        return f"dynamic {kind.__name__}"
    return f"quantized {kind.__name__}" if ".quantized" in kind.__module__ else kind.__name__


def weight_scheme(module: nn.Module) -> str:
    """Dtype and scheme of the quantized weight of ``module``, or an empty string."""
    weight = getattr(module, "weight", None)
    if callable(weight):
        weight = weight()
    if not isinstance(weight, QTensor):
        return ""
    scheme = "per channel" if weight.qscheme().per_channel else "per tensor"
    return f"{weight.qdtype.name} {scheme}"


def is_inside(name: str, names: Collection[str]) -> bool:
    """Whether ``name`` is one of these modules, or lies in one of them; all do in ``""``."""
    return any(not around or f"{name}.".startswith(f"{around}.") for around in names)
