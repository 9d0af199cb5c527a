"""Embedding tables for quantization-aware training."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from qtensor import as_qscheme, per_channel_affine_float_qparams

from ._base import QATModule


class _Table(QATModule):
    """Checks that the table is quantized by rows with real zero points, as kernels have it."""

    def _fake_quantize_weight(self, qconfig: Any) -> None:
        super()._fake_quantize_weight(qconfig)
        scheme: Any = getattr(self.weight_fake_quant, "qscheme", None)
        if scheme is None or as_qscheme(scheme) != per_channel_affine_float_qparams:
            raise ValueError(
                f"{type(self).__name__} needs a qconfig whose weight() has the scheme "
                f"{per_channel_affine_float_qparams}, such as default_embedding_qat_qconfig; got "
                f"{scheme}"
            )


class Embedding(_Table, nn.Embedding):
    """An embedding table that trains fake-quantized.

    Args:
        num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq,
        _weight, device, dtype: as in :class:`torch.nn.Embedding`.
        sparse: kept, but gradients are dense.
        qconfig: its ``weight()`` makes the fake-quantize module of the table.

    Attributes:
        weight_fake_quant: that module.

    Shape:
        Input: integers of any shape ``(*)``. Output: ``(*, embedding_dim)``.

    Raises:
        ValueError: no ``qconfig``, or one without real zero points.
    """

    _FLOAT_MODULE = _FLOAT_LAYER = nn.Embedding
    _HYPERPARAMETERS = (
        "num_embeddings",
        "embedding_dim",
        "padding_idx",
        "max_norm",
        "norm_type",
        "scale_grad_by_freq",
        "sparse",
    )

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        device: Any = None,
        dtype: Any = None,
        qconfig: Any = None,
    ) -> None:
        nn.Embedding.__init__(
            self,
            num_embeddings,
            embedding_dim,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight,
            device=device,
            dtype=dtype,
        )
        self._fake_quantize_weight(qconfig)

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(*)`` to ``(*, embedding_dim)``."""
        return F.embedding(
            input,
            self._quantized_weight(),
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
        )


class EmbeddingBag(_Table, nn.EmbeddingBag):
    """An embedding table, of which bags of rows are reduced, that trains fake-quantized.

    Args:
        num_embeddings, embedding_dim, max_norm, norm_type, scale_grad_by_freq, mode, _weight,
        include_last_offset, padding_idx, device, dtype: as in :class:`torch.nn.EmbeddingBag`.
        sparse: kept, but gradients are dense.
        qconfig: its ``weight()`` makes the fake-quantize module of the table.

    Attributes:
        weight_fake_quant: that module.

    Raises:
        ValueError: no ``qconfig``, or one without real zero points.
    """

    _FLOAT_MODULE = _FLOAT_LAYER = nn.EmbeddingBag
    _HYPERPARAMETERS = (
        "num_embeddings",
        "embedding_dim",
        "max_norm",
        "norm_type",
        "scale_grad_by_freq",
        "mode",
        "sparse",
        "include_last_offset",
        "padding_idx",
    )

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        qconfig: Any = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        nn.EmbeddingBag.__init__(
            self,
            num_embeddings,
            embedding_dim,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            mode,
            sparse,
            _weight,
            include_last_offset,
            padding_idx,
            device,
            dtype,
        )
        self._fake_quantize_weight(qconfig)

    def forward(
        self,
        input: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """Shape ``(bags, length)``, or ``(indices,)`` with ``offsets``, to ``(bags, dim)``."""
        return F.embedding_bag(
            input,
            self._quantized_weight(),
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            False,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )
