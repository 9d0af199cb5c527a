"""Functions of each value, which qtensor computes as tables of 256 bytes.

``FUNCTIONS`` is all there is to say about one; its row of the native table is made from that.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import nn
from torch.fx import Node

from qtensor import QParams, QTensor, ops
from qtensor.nn import quantized as nnq


@dataclass(frozen=True)
class Function:
    """A function that :func:`qtensor.ops.apply` knows.

    Attributes:
        kind: its float module, or the function itself where torch has no module for it.
        name: what ``apply`` calls it.
        spellings: the other ways of writing it.
        defaults: its arguments besides the input, which are attributes of the module too.
        quantized_module: of ``kind``; :class:`Elementwise` where qtensor has none.
        fixed: the range of its output, where it is known beforehand.
    """

    kind: type[nn.Module] | Callable[..., Any]
    name: str
    spellings: tuple[Callable[..., Any] | str, ...] = ()
    defaults: tuple[tuple[str, Any], ...] = ()
    quantized_module: type[nn.Module] | None = None
    fixed: tuple[float, float] | None = None

    @property
    def has_module(self) -> bool:
        """Whether ``kind`` is a module class."""
        return isinstance(self.kind, type)

    def refusal(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        """Only its input is a tensor, and there are no arguments but those above."""
        further = {name: value for name, value in kwargs.items() if name != "input"}
        values = (*args[1:], *further.values())
        if args and not isinstance(args[0], Node):
            return "its input is a number"
        if further.keys() - {"inplace", *dict(self.defaults)} or not all(
            isinstance(value, int | float | str) for value in values
        ):
            return "it is called with a tensor for an argument, or with out"
        return None

    def from_call(self, input: None, *args: Any, **kwargs: Any) -> nn.Module:
        """The float module that a call stands for."""
        made: nn.Module = self.kind(**self._values(args, kwargs))
        return made

    def quantized(self, input: QTensor, *args: Any, output: QParams, **kwargs: Any) -> QTensor:
        """A call, on integers."""
        name, arguments = self._applied(self._values(args, kwargs))
        return ops.apply(input, name, output, *arguments)

    def of_module(self, module: nn.Module) -> tuple[str, tuple[float, ...]]:
        """What ``apply`` takes for ``module``: the function's name and arguments."""
        return self._applied({name: getattr(module, name) for name, _ in self.defaults})

    def _values(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        given = dict(zip([name for name, _ in self.defaults], args, strict=False)) | kwargs
        return {name: given.get(name, default) for name, default in self.defaults}

    def _applied(self, values: dict[str, Any]) -> tuple[str, tuple[float, ...]]:
        approximate = values.pop("approximate", "none")  # of GELU: another function
        name = self.name if approximate == "none" else f"{self.name}_{approximate}"
        return name, tuple(map(float, values.values()))


_ALPHA = (("alpha", 1.0),)

FUNCTIONS = (
    Function(nn.CELU, "celu", (F.celu, torch.celu), _ALPHA),
    Function(nn.ELU, "elu", (F.elu,), _ALPHA, nnq.ELU),
    Function(nn.GELU, "gelu", (F.gelu,), (("approximate", "none"),)),
    Function(nn.Hardshrink, "hardshrink", (F.hardshrink,), (("lambd", 0.5),)),
    Function(nn.Hardsigmoid, "hardsigmoid", (F.hardsigmoid,), fixed=(0.0, 1.0)),
    Function(nn.Hardswish, "hardswish", (F.hardswish,), (), nnq.Hardswish),
    Function(
        nn.LeakyReLU, "leaky_relu", (F.leaky_relu,), (("negative_slope", 0.01),), nnq.LeakyReLU
    ),
    Function(nn.LogSigmoid, "logsigmoid", (F.logsigmoid,)),
    Function(nn.Mish, "mish", (F.mish,)),
    Function(nn.SELU, "selu", (F.selu, torch.selu)),
    Function(
        nn.Sigmoid,
        "sigmoid",
        (torch.sigmoid, F.sigmoid, torch.special.expit, "sigmoid"),
        (),
        nnq.Sigmoid,
        (0.0, 1.0),
    ),
    Function(nn.SiLU, "silu", (F.silu,)),
    Function(nn.Softplus, "softplus", (F.softplus,), (("beta", 1.0), ("threshold", 20.0))),
    Function(nn.Softshrink, "softshrink", (F.softshrink,), (("lambd", 0.5),)),
    Function(nn.Softsign, "softsign", (F.softsign,)),
    Function(nn.Tanh, "tanh", (torch.tanh, F.tanh, "tanh"), fixed=(-1.0, 1.0)),
    Function(nn.Tanhshrink, "tanhshrink", (F.tanhshrink,)),
    Function(torch.abs, "abs", (operator.abs, torch.absolute, "abs", "absolute")),
    Function(torch.cos, "cos", ("cos",)),
    Function(torch.erf, "erf", ("erf", torch.special.erf)),
    Function(torch.exp, "exp", ("exp",)),
    Function(torch.expm1, "expm1", ("expm1", torch.special.expm1)),
    Function(torch.log, "log", ("log",)),
    Function(torch.log1p, "log1p", ("log1p", torch.special.log1p)),
    Function(torch.neg, "neg", (operator.neg, torch.negative, "neg", "negative")),
    Function(torch.pow, "pow", (operator.pow, "pow"), (("exponent", None),)),
    Function(torch.reciprocal, "reciprocal", ("reciprocal",)),
    Function(torch.rsqrt, "rsqrt", ("rsqrt",)),
    Function(torch.sin, "sin", ("sin",)),
    Function(torch.sqrt, "sqrt", ("sqrt",)),
    Function(torch.square, "square", ("square",)),
)

_BY_KIND = {function.kind: function for function in FUNCTIONS}


class Elementwise(nnq.Activation):
    """A function of each value of a quantized tensor, with output parameters of its own.

    Args:
        function: its name, as for :func:`qtensor.ops.apply`.
        arguments: what it takes besides the input.
        output: the parameters of the result.
    """

    def __init__(self, function: str, arguments: tuple[float, ...], output: QParams) -> None:
        super().__init__(1.0, 0)
        self.function, self.arguments = function, arguments
        self.output_qparams = output

    def _applied(self) -> tuple[str, tuple[float, ...]]:
        return self.function, self.arguments

    @classmethod
    def _like(cls, mod: nn.Module) -> Self:
        return cls(*_BY_KIND[type(mod)].of_module(mod), QParams(1.0, 0))

    def extra_repr(self) -> str:
        """The function, its arguments, and the output's parameters."""
        return ", ".join([self.function, *map(str, self.arguments), super().extra_repr()])
