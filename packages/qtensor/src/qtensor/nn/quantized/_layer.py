"""Linear layers and convolutions with an int8 weight, on quantized tensors and on float ones."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ..._arguments import quantized, requantization
from ..._qparams import QParams
from ..._qtensor import QTensor, described, wrapped
from ._from_float import float_form, observed_qparams, quantized_weight, unfused
from ._output import OutputModule
from ._weight import WeightModule


class WeightedLayer(WeightModule):
    """A linear layer or convolution with an int8 weight.

    Subclasses may fuse an activation: a function, and bounds on the real values of the output.
    """

    _name: ClassVar[str]
    activation_min: float | None = None
    activation_max: float | None = None
    activation: str = ""  # as in torch.ops.qtensor.linear
    negative_slope: float = 0.01

    @classmethod
    def _weighted(cls, mod: nn.Module, qweight: QTensor) -> Self:
        """From ``mod``, a layer or a fused container of one, with the weight given."""
        made = cls._shaped_like(mod)
        made.set_weight_bias(qweight, unfused(mod).bias)
        return made.train(mod.training)

    @classmethod
    @abstractmethod
    def _shaped_like(cls, mod: nn.Module) -> Self:
        """A new layer with the sizes of ``mod``, a layer or a fused container of one."""

    def _get_name(self) -> str:
        return self._name


class QuantizedLayer(OutputModule, WeightedLayer):
    """A linear layer or convolution with quantized input, weight and output."""

    _operator: ClassVar[Callable[..., Tensor]]
    output_qparams = QParams(1.0, 0)  # until there are others

    def _geometry(self) -> tuple[Any, ...]:
        """What the operator takes between the weight and the output's parameters."""
        return ()

    def _compute(self, x: QTensor, *residual: Any) -> QTensor:
        x, output = quantized(x, self._name), self.output_qparams
        result = type(self)._operator(
            x._data,
            x._scale,
            x._zero_point,
            *self._weight_arguments(),
            *self._geometry(),
            *requantization(output),
            self.activation_min,
            self.activation_max,
            *residual,
            self.activation,
            self.negative_slope,
            cache=self._packed,
        )
        return wrapped(result, output)

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """From a calibrated float layer, or a trained quantization-aware one.

        Args:
            mod: a layer, or a fused container that begins with one, with an
                ``activation_post_process`` and a ``qconfig`` (or a ``weight_fake_quant``).
            use_precomputed_fake_quant: do not show the weight to its ``weight_fake_quant`` again.

        Raises:
            ValueError: ``mod`` lacks one of these.
        """
        layer = float_form(mod)
        qweight = quantized_weight(layer, use_precomputed_fake_quant)
        return cls._made(layer, qweight, observed_qparams(mod))

    @classmethod
    def from_reference(
        cls,
        reference: nn.Module,
        output_scale: float = 1.0,
        output_zero_point: int = 0,
        *,
        output_qparams: QParams | None = None,
    ) -> Self:
        """From a reference layer (or a fused container of one) and its output's parameters.

        Args:
            reference: has ``get_quantized_weight()``.
            output_scale, output_zero_point: of the output, which is quint8 in full range;
            output_qparams: or all of its parameters.
        """
        output = output_qparams or QParams(output_scale, output_zero_point)
        return cls._made(reference, unfused(reference).get_quantized_weight(), output)

    @classmethod
    def _made(cls, mod: nn.Module, qweight: QTensor, output: QParams) -> Self:
        made = cls._weighted(mod, qweight)
        made.output_qparams = output
        return made


class FloatLayer(WeightedLayer):
    """A layer with an int8 weight that takes and gives float32."""

    def _checked(self, x: Tensor) -> Tensor:
        if isinstance(x, QTensor) or getattr(x, "dtype", None) != torch.float32:
            how = "dequantize it" if isinstance(x, QTensor) else "convert it with .float()"
            raise TypeError(f"{self._name} expects a float32 tensor, got {described(x)}; {how}")
        return x

    def _finish_arguments(self) -> tuple[Any, ...]:
        return self.activation_min, self.activation_max, self.activation, self.negative_slope

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """From a float layer with a ``qconfig``, or a trained quantization-aware one.

        Args:
            mod: a layer, or a fused container that begins with one; its ``qconfig.weight()`` (or
                ``weight_fake_quant``) says how to quantize the weight.
            use_precomputed_fake_quant: do not show the weight to its ``weight_fake_quant`` again.

        Raises:
            ValueError: ``mod`` has neither.
        """
        layer = float_form(mod)
        return cls._weighted(layer, quantized_weight(layer, use_precomputed_fake_quant))

    @classmethod
    def from_reference(cls, reference: nn.Module) -> Self:
        """From a reference layer (or a fused container of one): has ``get_quantized_weight()``."""
        return cls._weighted(reference, unfused(reference).get_quantized_weight())
