"""Modules between the float and the quantized part of a model."""

from typing import Any, Self

from torch import Tensor, nn

from ..._dtypes import QDType
from ..._qparams import QParams
from ..._qtensor import QTensor
from ..._quantize import dequantize, quantize
from ._from_float import observed_qparams
from ._output import OutputModule


class Quantize(OutputModule):
    """Quantizes a float tensor per tensor.

    Args:
        scale, zero_point: the output's parameters.
        dtype: the output's quantized dtype.
        factory_kwargs: ignored; there is nothing to allocate.
        quant_min, quant_max: the integers in use; the dtype's full range by default.

    Shape:
        Input float32, float16 or bfloat16, of any shape; output the same shape.

    Raises:
        TypeError: (forward) the input is not so, or quantized already.
        ValueError: the scale, zero point or range is not valid (see :class:`qtensor.QParams`).

    Example:
        >>> import torch, qtensor
        >>> qtensor.nn.quantized.Quantize(0.5, 10, qtensor.quint8)(torch.ones(2)).int_repr()
        tensor([12, 12], dtype=torch.uint8)
    """

    def __init__(
        self,
        scale: float | Tensor,
        zero_point: int | Tensor,
        dtype: QDType,
        factory_kwargs: Any = None,
        quant_min: int | None = None,
        quant_max: int | None = None,
    ) -> None:
        super().__init__()
        bounds: Any = (quant_min, quant_max)
        self.output_qparams = QParams(scale, zero_point, dtype, None, *bounds)

    @property
    def dtype(self) -> QDType:
        """The output's quantized dtype."""
        return self.output_qparams.dtype

    def forward(self, X: Tensor) -> QTensor:
        """Float32 of any shape to a quantized tensor of that shape."""
        return quantize(X, self.output_qparams)

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """From a calibrated stub, which has an ``activation_post_process``."""
        output = observed_qparams(mod)
        bounds = output.quant_min, output.quant_max
        return cls(output.scale, output.zero_point, output.dtype, None, *bounds)

    def extra_repr(self) -> str:
        """Output parameters and dtype."""
        return f"{super().extra_repr()}, dtype={self.dtype}"


class DeQuantize(nn.Module):
    """Gives the real values of a quantized tensor; a float tensor passes as float32.

    Shape:
        Input quantized or float, of any shape; or a list or tuple of such tensors. Output float32,
        the same shape.

    Raises:
        TypeError: (forward) the input is neither.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.ones(2), 0.5, 0, qtensor.quint8)
        >>> qtensor.nn.quantized.DeQuantize()(q)
        tensor([1., 1.])
    """

    def forward(self, Xq: Tensor) -> Tensor:
        """Any shape; float32 out."""
        result: Tensor = dequantize(Xq)
        return result

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """Needs nothing from ``mod``."""
        return cls()
