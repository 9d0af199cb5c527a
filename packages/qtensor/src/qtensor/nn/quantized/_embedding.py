"""The quantized embedding table."""

from typing import Any, Self

import torch
from torch import Tensor, nn

from ..._dtypes import QDType, as_qdtype, quint8
from ..._ops.embedding import embedding
from ..._qparams import QParams
from ..._qtensor import QTensor
from ._base import keeping_dtypes, quantized_weight


class Embedding(nn.Module):
    """A table of 8-bit rows, each with its own scale and real zero point; looks up float rows.

    Args:
        num_embeddings, embedding_dim, padding_idx: as in :class:`torch.nn.Embedding`.
        max_norm, norm_type, scale_grad_by_freq, sparse: matter in training only; ``max_norm``,
            which would change the table, must be ``None``.
        _weight: the table, quantized per channel along axis 0 with real zero points.
        dtype: the table's dtype, ``qtensor.quint8``.

    Shape:
        Input: integers of any shape ``(*)``. Output: float32, ``(*, embedding_dim)``.

    Raises:
        ValueError: another dtype, or a ``max_norm``.
        IndexError: (forward) an index outside ``0 … num_embeddings - 1``.

    Example:
        >>> import torch, qtensor
        >>> table = qtensor.nn.quantized.Embedding(10, 3)
        >>> table(torch.tensor([1, 2])).shape
        torch.Size([2, 3])
    """

    qweight: Tensor
    weight_scales: Tensor
    weight_zero_points: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: QTensor | None = None,
        dtype: QDType = quint8,
    ) -> None:
        super().__init__()
        if as_qdtype(dtype) is not quint8:
            raise ValueError(f"QuantizedEmbedding has tables of {quint8}, got dtype={dtype}")
        if max_norm is not None:
            raise ValueError(
                f"QuantizedEmbedding cannot renormalize its rows, got max_norm={max_norm}; "
                "normalize the float table before quantizing it"
            )
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        table = torch.zeros(num_embeddings, embedding_dim, dtype=torch.uint8)
        self.register_buffer("qweight", table)
        self.register_buffer("weight_scales", torch.ones(num_embeddings))
        self.register_buffer("weight_zero_points", torch.zeros(num_embeddings))
        if _weight is not None:
            self.set_weight(_weight)

    def forward(self, indices: Tensor) -> Tensor:
        """Shape ``(*)`` to ``(*, embedding_dim)``, float32."""
        return embedding(self.qweight, self.weight_scales, self.weight_zero_points, indices)

    def weight(self) -> QTensor:
        """The table as a quantized tensor, sharing memory with this module."""
        qparams = QParams(self.weight_scales, self.weight_zero_points, quint8, axis=0)
        return QTensor(self.qweight, qparams)

    def set_weight(self, w: QTensor) -> None:
        """Replaces the table.

        Args:
            w: quint8, shape ``(num_embeddings, embedding_dim)``, per channel along axis 0.

        Raises:
            TypeError: ``w`` is not quantized so.
            ValueError: another shape.
        """
        if not isinstance(w, QTensor) or w.qdtype is not quint8 or w.qparams.axis != 0:
            given = w.qparams if isinstance(w, QTensor) else type(w).__name__
            raise TypeError(
                f"QuantizedEmbedding expects a table of {quint8} quantized per channel along "
                f"axis 0, got {given}"
            )
        if w.shape != self.qweight.shape:
            raise ValueError(
                f"QuantizedEmbedding expects a table of shape {tuple(self.qweight.shape)}, "
                f"got {tuple(w.shape)}"
            )
        self.qweight = w.int_repr().detach()
        self.weight_scales = w.q_per_channel_scales().to(torch.float32)
        self.weight_zero_points = w.q_per_channel_zero_points().to(torch.float32)

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """From a float embedding whose ``qconfig.weight()`` quantizes per row to quint8."""
        return cls._made(mod, quantized_weight(mod, use_precomputed_fake_quant))

    @classmethod
    def from_reference(cls, ref_embedding: nn.Module) -> Self:
        """From a reference embedding: has ``get_quantized_weight()``."""
        source: Any = ref_embedding
        return cls._made(ref_embedding, source.get_quantized_weight())

    @classmethod
    def _made(cls, mod: Any, qweight: QTensor) -> Self:
        sizes = mod.num_embeddings, mod.embedding_dim
        made = cls(*sizes, mod.padding_idx, mod.max_norm, _weight=qweight)
        return made.train(mod.training)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        return super()._apply(keeping_dtypes(fn), recurse)  # type: ignore[no-untyped-call, no-any-return]

    def _get_name(self) -> str:
        return "QuantizedEmbedding"

    def extra_repr(self) -> str:
        """Sizes, dtype and scheme."""
        return (
            f"num_embeddings={self.num_embeddings}, embedding_dim={self.embedding_dim}, "
            f"dtype={quint8}, qscheme={self.weight().qscheme()}"
        )
