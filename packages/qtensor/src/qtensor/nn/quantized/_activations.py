"""Activations with output parameters of their own."""

from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ... import ops
from ..._arguments import quantized
from ..._ops.unary import FUNCTIONS
from ..._qparams import QParams
from ..._qtensor import QTensor
from ._from_float import observed_qparams, quantize_as
from ._output import OutputModule
from ._weight import KeepsDtypes


class Activation(OutputModule):
    """A function of each value; its arguments are attributes that the float module has too.

    A float input gives a float output, as of the float module: an eager model may have activations
    on both sides of its stubs.

    Shape:
        Input of any shape, quint8 or qint8, quantized per tensor; output of the same shape and
        dtype, with the scale and zero point of this module (or all of ``output_qparams``, if these
        are set).

    Raises:
        TypeError: (forward) the input is neither quantized so nor of floats.
        ValueError: the scale is not positive, or the zero point does not fit the dtype.
    """

    _function: ClassVar[str]
    _arguments: ClassVar[Sequence[str]] = ()

    def __init__(self, scale: float | Tensor, zero_point: int | Tensor, **arguments: Any) -> None:
        super().__init__()
        self._set_numbers(scale, zero_point)
        for name in self._arguments:
            setattr(self, name, arguments[name])

    def forward(self, input: Tensor) -> Tensor:
        """A quantized or a float tensor of any shape to one of that kind and shape."""
        if _is_float(input):
            return self._of_floats(input)
        return self._of_quantized(quantized(input, self._get_name()))

    def _of_quantized(self, input: QTensor) -> QTensor:
        function, arguments = self._applied()
        return ops.apply(input, function, self._output_for(input), *arguments)

    def _of_floats(self, input: Tensor) -> Tensor:
        function, arguments = self._applied()
        return FUNCTIONS[function](input, *arguments)

    def _applied(self) -> tuple[str, Sequence[float]]:
        """What :func:`qtensor.ops.apply` takes: the function's name, and its arguments."""
        return self._function, [float(getattr(self, name)) for name in self._arguments]

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """From a calibrated float module, which has an ``activation_post_process``."""
        return cls._made(mod, observed_qparams(mod))

    @classmethod
    def from_reference(
        cls,
        mod: nn.Module,
        scale: float = 1.0,
        zero_point: int = 0,
        *,
        output_qparams: QParams | None = None,
    ) -> Self:
        """From a float module and its output's parameters: a scale and zero point, or all."""
        return cls._made(mod, output_qparams, scale, zero_point)

    @classmethod
    def _made(cls, mod: Any, *output: Any) -> Self:
        made = cls._like(mod)
        made._set_output(*output)
        return made.train(mod.training)

    @classmethod
    def _like(cls, mod: Any) -> Self:
        """A new module with the arguments of ``mod``."""
        return cls(1.0, 0, **{name: getattr(mod, name) for name in cls._arguments})

    def extra_repr(self) -> str:
        """The function's arguments, and the output's parameters."""
        shown = [f"{name}={getattr(self, name)}" for name in self._arguments]
        return ", ".join([*shown, super().extra_repr()])

    def _get_name(self) -> str:
        return f"Quantized{type(self).__name__}"


def _is_float(input: object) -> bool:
    """Whether ``input`` is a dense tensor of floats, and not a quantized one."""
    if not isinstance(input, Tensor) or isinstance(input, QTensor):
        return False
    return input.is_floating_point() and input.layout == torch.strided


class ELU(Activation):
    """ELU of a quantized tensor; see :class:`Activation` for shapes and errors.

    Args:
        scale, zero_point: the output's parameters.
        alpha: what very negative values approach, negated.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.tensor([-9.0, 1.0]), 0.1, 128, qtensor.quint8)
        >>> qtensor.nn.quantized.ELU(0.1, 10)(q).dequantize()
        tensor([-1.,  1.])
    """

    _function = "elu"
    _arguments = ("alpha",)

    def __init__(self, scale: float, zero_point: int, alpha: float = 1.0) -> None:
        super().__init__(scale, zero_point, alpha=alpha)


class Hardswish(Activation):
    """Hardswish of a quantized tensor; see :class:`Activation` for shapes and errors.

    Args:
        scale, zero_point: the output's parameters.
        device, dtype: ignored; there is nothing to allocate.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.tensor([-3.0, 1.0]), 0.1, 128, qtensor.quint8)
        >>> qtensor.nn.quantized.Hardswish(0.5, 10)(q).dequantize()
        tensor([0.0000, 0.5000])
    """

    _function = "hardswish"

    def __init__(
        self, scale: float, zero_point: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(scale, zero_point)


class LeakyReLU(Activation):
    """Leaky ReLU of a quantized tensor; see :class:`Activation` for shapes and errors.

    Args:
        scale, zero_point: the output's parameters.
        negative_slope: what negative values are multiplied by.
        inplace: kept as an attribute; the output has parameters of its own, and so is always new.
        device, dtype: ignored; there is nothing to allocate.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.tensor([-4.0, 1.0]), 0.1, 128, qtensor.quint8)
        >>> qtensor.nn.quantized.LeakyReLU(0.5, 10, 0.25)(q).dequantize()
        tensor([-1.,  1.])
    """

    _function = "leaky_relu"
    _arguments = ("negative_slope",)

    def __init__(
        self,
        scale: float,
        zero_point: int,
        negative_slope: float = 1e-2,
        inplace: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(scale, zero_point, negative_slope=negative_slope)
        self.inplace = inplace


class Sigmoid(Activation):
    """Sigmoid of a quantized tensor; see :class:`Activation` for shapes and errors.

    Args:
        output_scale, output_zero_point: the output's parameters; 1/256 and 0 use all of quint8.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.zeros(2), 0.1, 128, qtensor.quint8)
        >>> qtensor.nn.quantized.Sigmoid(1 / 256, 0)(q).dequantize()
        tensor([0.5000, 0.5000])
    """

    _function = "sigmoid"

    def __init__(self, output_scale: float, output_zero_point: int) -> None:
        super().__init__(output_scale, output_zero_point)

    @property
    def output_scale(self) -> float:
        """The scale of the output, under its old name."""
        return self.scale

    @property
    def output_zero_point(self) -> int:
        """The zero point of the output, under its old name."""
        return self.zero_point


class Softmax(Activation):
    """Softmax of a quantized tensor; see :class:`Activation` for shapes and errors.

    Args:
        dim: along which the results sum to 1; by default 0 for tensors of 0, 1 or 3 dimensions and
            1 for others, as :func:`torch.nn.functional.softmax` had it.
        scale, zero_point: the output's parameters.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.zeros(1, 4), 0.1, 128, qtensor.quint8)
        >>> qtensor.nn.quantized.Softmax(1, 1 / 256, 0)(q).dequantize()
        tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """

    _arguments = ("dim",)
    dim: int | None

    def __init__(self, dim: int | None = None, scale: float = 1.0, zero_point: int = 0) -> None:
        super().__init__(scale, zero_point, dim=dim)

    def _of_quantized(self, input: QTensor) -> QTensor:
        return ops.softmax_to(input, self._axis(input), self._output_for(input))

    def _of_floats(self, input: Tensor) -> Tensor:
        return F.softmax(input, self._axis(input))

    def _axis(self, input: Tensor) -> int:
        if self.dim is not None:
            return self.dim
        return 0 if input.dim() in (0, 1, 3) else 1

    @classmethod
    def _like(cls, mod: Any) -> Self:
        return cls(mod.dim)


class PReLU(Activation, KeepsDtypes):
    """PReLU of a quantized tensor; see :class:`Activation` for shapes and errors.

    ``weight`` holds the slopes: float32, shape ``(num_parameters,)``.

    Args:
        output_scale, output_zero_point: the output's parameters.
        num_parameters: the number of slopes: 1, or that of channels (dimension 1).

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.tensor([[-4.0, 1.0]]), 0.1, 128, qtensor.quint8)
        >>> qtensor.nn.quantized.PReLU(0.5, 10)(q).dequantize()  # slopes of 0.25 by default
        tensor([[-1.,  1.]])
    """

    weight: Tensor

    def __init__(
        self, output_scale: float, output_zero_point: int, num_parameters: int = 1
    ) -> None:
        super().__init__(output_scale, output_zero_point)
        self.num_parameters = num_parameters
        self.register_buffer("weight", torch.full((num_parameters,), 0.25, dtype=torch.float32))

    def set_weight(self, w: Tensor) -> None:
        """Replaces the slopes by ``w``, quantized or float, of shape ``(num_parameters,)``.

        Raises:
            ValueError: it has another shape.
        """
        if w.shape != self.weight.shape:
            raise ValueError(
                f"PReLU expects a weight of shape {tuple(self.weight.shape)}, got {tuple(w.shape)}"
            )
        self.weight = (w.dequantize() if isinstance(w, QTensor) else w.detach()).float()

    def _of_quantized(self, input: QTensor) -> QTensor:
        return ops.prelu_to(input, self.weight, self._output_for(input))

    def _of_floats(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    @classmethod
    def _like(cls, mod: Any) -> Self:
        made = cls(1.0, 0, mod.num_parameters)
        slopes = mod.weight.detach().float()
        if getattr(mod, "qconfig", None) is not None:  # it says how precisely slopes are kept
            observer = mod.qconfig.weight()
            observer(slopes)
            slopes = quantize_as(slopes, observer)
        made.set_weight(slopes)
        return made


class ReLU6(nn.ReLU6):
    """ReLU6 on quantized tensors: integers are clamped, parameters stay.

    Args:
        inplace: write the result into the input.

    Shape:
        Input and output of any shape, quantized per tensor.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.tensor([-4.0, 9.0]), 0.1, 128, qtensor.quint8)
        >>> qtensor.nn.quantized.ReLU6()(q).dequantize()
        tensor([0., 6.])
    """

    def _get_name(self) -> str:
        return "QuantizedReLU6"

    @classmethod
    def from_float(cls, mod: nn.ReLU6, use_precomputed_fake_quant: bool = False) -> Self:
        """From the float module."""
        return cls(mod.inplace)
