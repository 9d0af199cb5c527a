"""Quantized embedding tables: looked up row by row, or in bags."""

from abc import abstractmethod
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..._arguments import tensor
from ..._dtypes import QDType, as_qdtype, quint4x2, quint8
from ..._ops.embedding_bag import MODES, embedding_bag
from ..._ops.pack_bits import unpack_bits
from ..._qparams import QParams
from ..._qtensor import QTensor
from ...ops._embedding import flat_bags, looked_up
from ._from_float import quantized_weight
from ._output import State
from ._weight import KeepsDtypes, report_scales


class _Table(KeepsDtypes):
    """A table of rows, each with its own scale and real zero point; rows of 4 bits are packed."""

    qweight: Tensor
    weight_scales: Tensor
    weight_zero_points: Tensor

    def _init_table(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None,
        _weight: QTensor | None,
        dtype: Any,
    ) -> None:
        self.dtype = as_qdtype(dtype)
        if self.dtype not in (quint8, quint4x2):
            raise ValueError(
                f"{self._get_name()} has tables of {quint8} or {quint4x2}, got dtype={dtype}"
            )
        if max_norm is not None:
            raise ValueError(
                f"{self._get_name()} cannot renormalize its rows, got max_norm={max_norm}; "
                "normalize the float table before quantizing it"
            )
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        columns = (embedding_dim * self.dtype.bits + 7) // 8
        self.register_buffer("qweight", torch.zeros(num_embeddings, columns, dtype=torch.uint8))
        self.register_buffer("weight_scales", torch.ones(num_embeddings, dtype=torch.float32))
        self.register_buffer("weight_zero_points", torch.zeros(num_embeddings, dtype=torch.float32))
        if _weight is not None:
            self.set_weight(_weight)

    def weight(self) -> QTensor:
        """The table as a quantized tensor; of 8 bits, it shares memory with this module."""
        table, bits = self.qweight, self.dtype.bits
        if bits < 8:
            shape = self.num_embeddings, self.embedding_dim
            table = unpack_bits(table, bits, shape, torch.uint8)
        of_rows = self.weight_scales, self.weight_zero_points
        return QTensor(table, QParams(*of_rows, self.dtype, axis=0))

    def set_weight(self, w: QTensor) -> None:
        """Replaces the table.

        Args:
            w: of this module's dtype, shape ``(num_embeddings, embedding_dim)``, per channel along
                axis 0.

        Raises:
            TypeError: ``w`` is not quantized so.
            ValueError: another shape.
        """
        if not isinstance(w, QTensor) or w.qdtype is not self.dtype or w.qparams.axis != 0:
            given = w.qparams if isinstance(w, QTensor) else type(w).__name__
            raise TypeError(
                f"{self._get_name()} expects a table of {self.dtype} quantized per channel along "
                f"axis 0, got {given}"
            )
        if w.shape != (self.num_embeddings, self.embedding_dim):
            raise ValueError(
                f"{self._get_name()} expects a table of shape "
                f"{(self.num_embeddings, self.embedding_dim)}, got {tuple(w.shape)}"
            )
        self.qweight = w._stored().detach()
        self.weight_scales = w.q_per_channel_scales().to(torch.float32)
        self.weight_zero_points = w.q_per_channel_zero_points().to(torch.float32)

    def _load_from_state_dict(self, state_dict: State, prefix: str, *rest: Any) -> None:
        report_scales(state_dict, prefix, *rest)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """From a float module whose ``qconfig.weight()`` has real zero points for each row."""
        return cls._made(mod, quantized_weight(mod, use_precomputed_fake_quant))

    @classmethod
    def from_reference(cls, ref_embedding: nn.Module) -> Self:
        """From a reference module: has ``get_quantized_weight()``."""
        source: Any = ref_embedding
        return cls._made(ref_embedding, source.get_quantized_weight())

    @abstractmethod
    def _get_name(self) -> str:
        """How the module prints."""

    @classmethod
    @abstractmethod
    def _made(cls, mod: Any, qweight: QTensor) -> Self:
        """With the sizes and options of a float module, and this table."""

    def extra_repr(self) -> str:
        """Sizes, dtype and scheme."""
        return (
            f"num_embeddings={self.num_embeddings}, embedding_dim={self.embedding_dim}, "
            f"dtype={self.dtype}, qscheme={self.weight().qscheme()}"
        )


class Embedding(_Table):
    """A table of rows of 8 or 4 bits, each with its own scale and real zero point.

    Args:
        num_embeddings, embedding_dim, padding_idx: as in :class:`torch.nn.Embedding`.
        max_norm, norm_type, scale_grad_by_freq, sparse: matter in training only; ``max_norm``,
            which would change the table, must be ``None``.
        _weight: the table, quantized per channel along axis 0 with real zero points.
        dtype: the table's dtype, ``qtensor.quint8`` (default) or ``qtensor.quint4x2``.

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
        self.padding_idx = padding_idx
        self._init_table(num_embeddings, embedding_dim, max_norm, _weight, dtype)

    def forward(self, indices: Tensor) -> Tensor:
        """Shape ``(*)`` to ``(*, embedding_dim)``, float32."""
        indices = tensor(indices, self._get_name(), "indices")
        table = self.qweight, self.weight_scales, self.weight_zero_points
        return looked_up(table, indices, self.embedding_dim, self.dtype.bits)

    @classmethod
    def _made(cls, mod: Any, qweight: QTensor) -> Self:
        sizes = mod.num_embeddings, mod.embedding_dim
        made = cls(*sizes, mod.padding_idx, mod.max_norm, _weight=qweight, dtype=qweight.qdtype)
        return made.train(mod.training)

    def _get_name(self) -> str:
        return "QuantizedEmbedding"


class EmbeddingBag(_Table):
    """Bags of rows of a table of 8 or 4 bits: their sums, means or largest values.

    Args:
        num_embeddings, embedding_dim, mode, include_last_offset, padding_idx: as in
            :class:`torch.nn.EmbeddingBag`; ``mode`` is ``"sum"`` by default.
        max_norm, norm_type, scale_grad_by_freq, sparse: matter in training only; ``max_norm``,
            which would change the table, must be ``None``.
        _weight: the table, quantized per channel along axis 0 with real zero points.
        dtype: the table's dtype, ``qtensor.quint8`` (default) or ``qtensor.quint4x2``.

    Shape:
        Input: integers, ``(bags, length)``; or ``(indices,)``, with ``offsets`` of ``(bags,)``,
        and one more with ``include_last_offset``. ``per_sample_weights``: float32, of the shape of
        the input, with mode ``"sum"`` only. Output: float32, ``(bags, embedding_dim)``.

    Raises:
        ValueError: another dtype or mode, or a ``max_norm``; (forward) offsets or weights do not
            fit the input.
        IndexError: (forward) an index outside ``0 … num_embeddings - 1``.

    Example:
        >>> import torch, qtensor
        >>> bags = qtensor.nn.quantized.EmbeddingBag(10, 3)
        >>> bags(torch.tensor([1, 2, 4]), torch.tensor([0, 2])).shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "sum",
        sparse: bool = False,
        _weight: QTensor | None = None,
        include_last_offset: bool = False,
        dtype: QDType = quint8,
        padding_idx: int | None = None,
    ) -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"{self._get_name()} has the modes {MODES}, got {mode!r}")
        self.mode, self.padding_idx = mode, padding_idx
        self.include_last_offset = include_last_offset
        self._init_table(num_embeddings, embedding_dim, max_norm, _weight, dtype)

    def forward(
        self,
        indices: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """Shape ``(bags, length)``, or ``(indices,)`` with ``offsets``, to ``(bags, dim)``."""
        bags = indices, offsets, per_sample_weights, self.include_last_offset
        indices, offsets, *options = flat_bags(self._get_name(), *bags)
        return embedding_bag(
            self.qweight,
            self.weight_scales,
            self.weight_zero_points,
            indices,
            offsets,
            self.embedding_dim,
            self.dtype.bits,
            self.mode,
            *options,
            self.padding_idx,
        )

    @classmethod
    def _made(cls, mod: Any, qweight: QTensor) -> Self:
        made = cls(
            mod.num_embeddings,
            mod.embedding_dim,
            mod.max_norm,
            mode=mod.mode,
            _weight=qweight,
            include_last_offset=mod.include_last_offset,
            dtype=qweight.qdtype,
            padding_idx=mod.padding_idx,
        )
        return made.train(mod.training)

    def _get_name(self) -> str:
        return "QuantizedEmbeddingBag"
