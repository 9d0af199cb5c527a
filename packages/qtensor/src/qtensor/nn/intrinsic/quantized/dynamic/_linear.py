"""Dynamically quantized linear layers with an activation fused in."""

from ....._dtypes import QDType, qint8
from ....quantized import dynamic as nnqd
from .._fused import ACTIVATIONS, fused


class Linear(nnqd.Linear):
    """:class:`qtensor.nn.quantized.dynamic.Linear`, whose fused forms have always called it
    ``bias``."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        dtype: QDType = qint8,
        *,
        reduce_range: bool = False,
        per_row: bool = True,
    ) -> None:
        options = {"reduce_range": reduce_range, "per_row": per_row}
        super().__init__(in_features, out_features, bias, dtype, **options)


LinearReLU, LinearHardtanh, LinearLeakyReLU, LinearTanh, LinearGELU = fused(
    Linear, ACTIVATIONS, __package__
)
