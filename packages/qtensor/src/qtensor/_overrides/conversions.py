"""Conversions, comparison, and the gradients that integers do not have."""

from typing import Any

import torch
from torch import Tensor

from .._functions import copies
from .._qtensor import QTensor, functions
from ._register import stands_for


@stands_for("to", "_to_copy")
def _to(x: Tensor, *args: Any, **kwargs: Any) -> Any:
    if not isinstance(x, QTensor):  # x.to(q) asks for q's float dtype and its device
        plain: list[Any] = [arg.dequantize() if isinstance(arg, QTensor) else arg for arg in args]
        return x.to(*plain, **kwargs)
    if any(isinstance(arg, (torch.dtype, Tensor)) for arg in (*args, *kwargs.values())):
        return x.dequantize().to(*args, **kwargs)
    return copies(Tensor.to, x, *args, **kwargs)


@stands_for("is_floating_point")
def _is_floating_point(input: QTensor) -> bool:
    """What modules ask before they convert their tensors to another float type: integers stay."""
    return False


@stands_for("empty_like")
def _empty_like(input: QTensor, *, dtype: torch.dtype | None = None, **kwargs: Any) -> Tensor:
    """Integers that nothing was written to, of the same parameters; or what ``dtype`` asks for."""
    empty = torch.empty_like(input.int_repr(), dtype=dtype, **kwargs)
    if dtype is not None:
        return empty
    if input.is_meta and not empty.is_meta and input.qparams.axis is not None:
        raise ValueError(
            f"a QTensor of {input.qdtype} on the meta device has no scales to be given to one on "
            f"{empty.device}: load_state_dict(…, assign=True) into the module as it is"
        )
    return copies(lambda _: empty, input)


@stands_for("equal")
def _equal(input: Any, other: Any) -> bool:
    if isinstance(input, QTensor) and isinstance(other, QTensor):
        same = input.qparams == other.qparams
        return same and torch.equal(input.int_repr(), other.int_repr())
    return False


@stands_for("requires_grad_")
def _requires_grad_(input: QTensor, requires_grad: bool = True) -> QTensor:
    if requires_grad:
        raise RuntimeError(
            f"a QTensor of {input.qdtype} cannot require gradients: integers have none. Train the "
            "float model and quantize it afterwards."
        )
    return input


functions[Tensor.requires_grad.__set__] = _requires_grad_  # type: ignore[attr-defined]  # torch declares a plain bool


@stands_for("backward")
def _backward(input: QTensor, *args: Any, **kwargs: Any) -> None:
    raise RuntimeError(
        f"backward() through a QTensor of {input.qdtype}: integers have no gradients. Train the "
        "float model and quantize it afterwards."
    )
