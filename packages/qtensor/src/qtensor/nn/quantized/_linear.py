"""The quantized linear layer."""

from typing import Any, Self

from torch import nn

from ..._arguments import quantized, requantization
from ..._dtypes import QDType, as_qdtype, qint8
from ..._ops.linear import linear
from ..._qparams import QParams
from ..._qtensor import QTensor, wrapped
from ._base import QuantizedLayer, unfused


class Linear(QuantizedLayer):
    """``x @ weight.T + bias`` on integers: int8 weights, 8-bit activations, exact sums.

    Args:
        in_features, out_features: the sizes of the last dimension of input and output.
        bias_: whether there is a bias.
        dtype: the weight's dtype, ``qtensor.qint8``.

    Shape:
        Input ``(..., in_features)``, output ``(..., out_features)``, both quantized per tensor.

    Raises:
        TypeError: (forward) the input is not quantized per tensor.
        ValueError: ``dtype`` is not ``qint8``; (forward) the input's last dimension does not fit.

    Example:
        >>> import torch, qtensor
        >>> layer = qtensor.nn.quantized.Linear(4, 2)
        >>> layer(qtensor.quantize_per_tensor(torch.ones(3, 4), 0.1, 0, qtensor.quint8)).shape
        torch.Size([3, 2])
    """

    _name = "QuantizedLinear"

    def __init__(
        self, in_features: int, out_features: int, bias_: bool = True, dtype: QDType = qint8
    ) -> None:
        super().__init__()
        if as_qdtype(dtype) is not qint8:
            raise ValueError(f"{self._name} has weights of {qint8}, got dtype={dtype}")
        self.in_features = in_features
        self.out_features = out_features
        self.output_qparams = QParams(1.0, 0)
        self._init_weight((out_features, in_features), bias_)

    def forward(self, x: QTensor) -> QTensor:
        """Shape ``(..., in_features)`` to ``(..., out_features)``."""
        return self._compute(x, None, 1.0, 0)

    def _compute(self, x: QTensor, *residual: Any) -> QTensor:
        x, output = quantized(x, self._name), self.output_qparams
        data = linear(
            x._data,
            x._scale,
            x._zero_point,
            *self._weight_arguments(),
            *requantization(output),
            self.activation_min,
            self.activation_max,
            *residual,
            self.activation,
            self.negative_slope,
            cache=self._packed,
        )
        return wrapped(data, output)

    @classmethod
    def _shaped_like(cls, mod: nn.Module) -> Self:
        inner = unfused(mod)
        return cls(inner.in_features, inner.out_features, inner.bias is not None)

    def extra_repr(self) -> str:
        """Sizes, output parameters and the weight's scheme."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, {super().extra_repr()}, qscheme={self.weight().qscheme()}"
