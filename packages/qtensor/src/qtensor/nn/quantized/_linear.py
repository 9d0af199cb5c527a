"""The quantized linear layer, and what it shares with those that take float activations."""

from typing import Self

from torch import nn

from ..._dtypes import QDType, as_qdtype, qint8
from ..._ops.linear import linear
from ..._qtensor import QTensor
from ._from_float import unfused
from ._layer import FloatLayer, QuantizedLayer, WeightedLayer


class LinearLayer(WeightedLayer):
    """The sizes of a linear layer, whatever it computes on."""

    def __init__(
        self, in_features: int, out_features: int, bias_: bool = True, dtype: QDType = qint8
    ) -> None:
        super().__init__()
        if as_qdtype(dtype) is not qint8:
            raise ValueError(f"{self._name} has weights of {qint8}, got dtype={dtype}")
        self.in_features = in_features
        self.out_features = out_features
        self._init_weight((out_features, in_features), bias_)

    @classmethod
    def _shaped_like(cls, mod: nn.Module) -> Self:
        inner = unfused(mod)
        return cls(inner.in_features, inner.out_features, inner.bias is not None)


class FloatLinear(LinearLayer, FloatLayer):
    """A linear layer with an int8 weight that takes and gives float32."""

    def extra_repr(self) -> str:
        """Sizes, dtype and the weight's scheme."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, dtype={qint8}, "
            f"qscheme={self.weight().qscheme()}"
        )


class Linear(LinearLayer, QuantizedLayer):
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

    _name, _operator = "QuantizedLinear", linear

    def forward(self, x: QTensor) -> QTensor:
        """Shape ``(..., in_features)`` to ``(..., out_features)``."""
        return self._compute(x, None, 1.0, 0)

    def extra_repr(self) -> str:
        """Sizes, output parameters and the weight's scheme."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, {super().extra_repr()}, qscheme={self.weight().qscheme()}"
