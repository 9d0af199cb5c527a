"""The linear layer that trains for quantization at run time."""

from typing import Any

from ...._prepare import is_memoryless
from .._linear import Linear as StaticLinear


class Linear(StaticLinear):
    """A linear layer whose input will be quantized by its own range, batch by batch.

    Args:
        in_features, out_features, bias, device, dtype: as in :class:`torch.nn.Linear`.
        qconfig: its ``weight()`` makes the fake-quantize module of the weight; its
            ``activation()`` must keep no memory: a moving average with averaging constant 1.

    Shape:
        Input ``(..., in_features)``, output ``(..., out_features)``.

    Raises:
        ValueError: no ``qconfig``, or one whose activations are averaged over batches.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        qconfig: Any = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(in_features, out_features, bias, qconfig, device, dtype)
        if not is_memoryless(qconfig):
            raise ValueError(
                "qat.dynamic.Linear needs a qconfig whose activation() keeps no memory, a moving "
                f"average with averaging_constant=1, got {qconfig.activation}"
            )
