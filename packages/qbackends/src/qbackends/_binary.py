"""Sums, products and their like: of two quantized tensors, or of one and a number.

With a number they are functions of one value, which qtensor computes as tables of 256 bytes; the
output has an observer of its own either way. (Legacy derives it from the input's, and so rounds
the number to a step of the input; the reference model could not say so. ``qtensor.ops.add_scalar``
and ``mul_scalar`` do as legacy does.) ``BINARIES`` is all there is to say about one; its
row of the native table is made from that.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from qtensor import QParams, QTensor, ops

Number = int | float


@dataclass(frozen=True)
class Binary:
    """An operator of two operands.

    Attributes:
        pattern: of its row.
        with_number, from_number: what :func:`qtensor.ops.apply` calls ``x ∘ number`` and
            ``number ∘ x``.
        spellings: the other ways of writing it.
        of_tensors: two quantized tensors and the output's parameters to their result; without it,
            one operand has to be a number.
        fused_function: where ``pattern`` is a sequence, what it becomes in float.
    """

    pattern: Any
    with_number: str
    from_number: str
    spellings: tuple[Callable[..., Any] | str, ...] = ()
    of_tensors: Callable[[QTensor, QTensor, QParams], QTensor] | None = None
    fused_function: Callable[..., Any] | None = None

    def quantized(self, a: QTensor | Number, b: QTensor | Number, *, output: QParams) -> QTensor:
        """A call, on integers."""
        if not isinstance(b, QTensor):
            return ops.apply(a, self.with_number, output, float(b))  # type: ignore[arg-type]  # one of the two
        if not isinstance(a, QTensor):
            return ops.apply(b, self.from_number, output, float(a))
        return self.of_tensors(a, b, output)  # type: ignore[misc]  # the row sees to it


def refusal(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Two operands by position, tensors or real numbers, without ``alpha`` or ``out``."""
    if len(args) != 2 or kwargs:
        return "it is called with more than two operands"
    others = [arg for arg in args if not isinstance(arg, Node | int | float)]
    return f"it has an operand of type {type(others[0]).__name__}" if others else None


def add_relu(a: Tensor, b: Tensor) -> Tensor:
    """``relu(a + b)`` in float: what the two operators become when they are fused."""
    return torch.relu(a + b)


def mul_relu(a: Tensor, b: Tensor) -> Tensor:
    """``relu(a * b)`` in float: what the two operators become when they are fused."""
    return torch.relu(a * b)


def _add_relu(a: QTensor, b: QTensor, output: QParams) -> QTensor:
    return ops.add_to(a, b, output, 0.0)


def _mul_relu(a: QTensor, b: QTensor, output: QParams) -> QTensor:
    return ops.mul_to(a, b, output, 0.0)


BINARIES = (
    Binary(operator.add, "add", "add", (torch.add, "add"), ops.add_to),
    Binary(operator.mul, "mul", "mul", (torch.mul, torch.multiply, "mul", "multiply"), ops.mul_to),
    Binary(operator.sub, "sub", "rsub", (torch.sub, torch.subtract, "sub", "subtract")),
    Binary(
        operator.truediv,
        "div",
        "rdiv",
        (torch.div, torch.divide, torch.true_divide, "div", "divide", "true_divide"),
    ),
    Binary((operator.add, nn.ReLU), "add_relu", "add_relu", (), _add_relu, add_relu),
    Binary((operator.mul, nn.ReLU), "mul_relu", "mul_relu", (), _mul_relu, mul_relu),
)
