"""The linear layer of which only the weight is quantized."""

from torch import Tensor

from ...._ops.linear_weight_only import linear_weight_only
from .._linear import FloatLinear


class Linear(FloatLinear):
    """``x @ weight.T + bias`` with int8 weights and float activations, which stay as they are.

    The weight takes a quarter of the memory and of the time to read it; sums are in float32.

    Args:
        in_features, out_features: the sizes of the last dimension of input and output.
        bias_: whether there is a bias.
        dtype: the weight's dtype, ``qtensor.qint8``.

    Shape:
        Input ``(..., in_features)``, output ``(..., out_features)``, both float32.

    Raises:
        TypeError: (forward) the input is not a float32 tensor.
        ValueError: ``dtype`` is not ``qint8``; (forward) the input's last dimension does not fit.

    Example:
        >>> import torch, qtensor
        >>> qtensor.nn.quantized.weight_only.Linear(4, 2)(torch.ones(3, 4)).shape
        torch.Size([3, 2])
    """

    _name = "WeightOnlyQuantizedLinear"

    def forward(self, x: Tensor) -> Tensor:
        """Shape ``(..., in_features)`` to ``(..., out_features)``, float32."""
        return linear_weight_only(
            self._checked(x),
            *self._weight_arguments(),
            *self._finish_arguments(),
            cache=self._packed,
        )
