"""The dynamically quantized linear layer."""

from torch import Tensor

from ...._dtypes import QDType, qint8
from ...._ops.linear_dynamic import linear_dynamic
from .._linear import FloatLinear
from ._base import DynamicLayer


class Linear(DynamicLayer, FloatLinear):
    """``x @ weight.T + bias`` with int8 weights; activations are quantized on the fly, per row.

    Args:
        in_features, out_features: the sizes of the last dimension of input and output.
        bias_: whether there is a bias.
        dtype: the weight's dtype, ``qtensor.qint8``.
        reduce_range: quantize activations to 0 … 127 instead of 0 … 255: a little less accurate,
            faster on CPUs without VNNI.
        per_row: a scale for each row of the input, instead of one for all of it.

    Shape:
        Input ``(..., in_features)``, output ``(..., out_features)``, both float32.

    Raises:
        TypeError: (forward) the input is not a float32 tensor.
        ValueError: ``dtype`` is not ``qint8``; (forward) the input's last dimension does not fit.

    Example:
        >>> import torch, qtensor
        >>> qtensor.nn.quantized.dynamic.Linear(4, 2)(torch.ones(3, 4)).shape
        torch.Size([3, 2])
    """

    _name = "DynamicQuantizedLinear"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias_: bool = True,
        dtype: QDType = qint8,
        *,
        reduce_range: bool = False,
        per_row: bool = True,
    ) -> None:
        super().__init__(in_features, out_features, bias_, dtype)
        self.reduce_range = reduce_range
        self.per_row = per_row

    def forward(self, x: Tensor) -> Tensor:
        """Shape ``(..., in_features)`` to ``(..., out_features)``, float32."""
        return linear_dynamic(
            self._checked(x),
            *self._weight_arguments(),
            self._quant_max(),
            self.per_row,
            *self._finish_arguments(),
            cache=self._packed,
        )

    def extra_repr(self) -> str:
        """Sizes, dtype and the weight's scheme, and what is not the default."""
        text = super().extra_repr() + (", reduce_range=True" if self.reduce_range else "")
        return text + ("" if self.per_row else ", per_row=False")
