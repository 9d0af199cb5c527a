"""Reference modules: float layers whose weight has been through quantization and back."""

from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...._dtypes import QDType, QScheme, as_qdtype, as_qscheme, per_tensor_affine, qint8
from ...._qtensor import QTensor
from ...._quantize import quantize_per_channel, quantize_per_tensor
from ...._training import fake_quantize_per_tensor_affine

_IDENTITY = {"qscheme": per_tensor_affine, "dtype": qint8, "scale": 1.0, "zero_point": 0}


class ReferenceModule(nn.Module):
    """What reference modules share: a float ``weight`` and how to quantize it.

    ``weight_qparams`` is a dict with the keys ``qscheme``, ``dtype``, ``scale`` and
    ``zero_point``, per channel also ``axis`` (0 by default), and ``quant_min`` and ``quant_max``
    where they are not the dtype's. Scale and zero point become buffers, ``weight_scale`` and
    ``weight_zero_point``, so they are saved with the float weight.
    """

    weight: Tensor
    weight_scale: Tensor
    weight_zero_point: Tensor
    weight_qscheme: QScheme
    weight_dtype: QDType
    weight_axis: int

    def _init_weight_qparams(self, weight_qparams: dict[str, Any] | None, device: Any) -> None:
        given: dict[str, Any] = _IDENTITY if weight_qparams is None else weight_qparams
        self.weight_qscheme = as_qscheme(given["qscheme"])
        self.weight_dtype = as_qdtype(given["dtype"])
        self.weight_axis = int(given.get("axis", 0))
        self.weight_quant_min = given.get("quant_min")
        self.weight_quant_max = given.get("quant_max")
        for name in ("scale", "zero_point"):
            value = torch.as_tensor(given[name], device=device).detach().clone()
            self.register_buffer(f"weight_{name}", value)

    def get_quantized_weight(self) -> QTensor:
        """The weight, quantized."""
        weight = self.weight.detach()
        parameters = self.weight_scale, self.weight_zero_point
        bounds = self.weight_quant_min, self.weight_quant_max
        if self.weight_qscheme.per_channel:
            axis = self.weight_axis
            return quantize_per_channel(weight, *parameters, axis, self.weight_dtype, *bounds)
        return quantize_per_tensor(weight, *parameters, self.weight_dtype, *bounds)

    def get_weight(self) -> Tensor:
        """The weight after quantizing and dequantizing: float32, of the weight's shape."""
        if torch.compiler.is_compiling() and not self.weight_qscheme.per_channel:
            # A QTensor has its scale as a number, which is not known yet.
            low, high = self.weight_quant_min, self.weight_quant_max
            return fake_quantize_per_tensor_affine(
                self.weight.detach(),
                self.weight_scale,
                self.weight_zero_point,
                self.weight_dtype.quant_min if low is None else low,
                self.weight_dtype.quant_max if high is None else high,
            )
        return self.get_quantized_weight().dequantize()

    def _take_parameters(self, source: nn.Module) -> Self:
        for name, parameter in source.named_parameters(recurse=False):
            setattr(self, name, nn.Parameter(parameter.detach(), requires_grad=False))
        return self.train(source.training)


class Linear(ReferenceModule, nn.Linear):
    """A float linear layer on its quantized-dequantized weight.

    Args:
        in_features, out_features, bias_, device, dtype: as in :class:`torch.nn.Linear`.
        weight_qparams: how to quantize the weight; see :class:`ReferenceModule`.

    Example:
        >>> import torch, qtensor
        >>> qparams = {"qscheme": qtensor.per_tensor_affine, "dtype": qtensor.qint8,
        ...            "scale": 0.5, "zero_point": 0}
        >>> float_layer = torch.nn.Linear(4, 2)
        >>> layer = qtensor.nn.quantized.reference.Linear.from_float(float_layer, qparams)
        >>> layer(torch.ones(3, 4)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias_: bool = True,
        device: Any = None,
        dtype: Any = None,
        weight_qparams: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias_, device, dtype)
        self._init_weight_qparams(weight_qparams, device)

    def forward(self, x: Tensor) -> Tensor:
        """Shape ``(..., in_features)`` to ``(..., out_features)``, float32."""
        return F.linear(x, self.get_weight(), self.bias)

    @classmethod
    def from_float(cls, float_linear: nn.Linear, weight_qparams: dict[str, Any]) -> Self:
        """From a float layer and how to quantize its weight."""
        weight = float_linear.weight
        made = cls(
            float_linear.in_features,
            float_linear.out_features,
            float_linear.bias is not None,
            weight.device,
            weight.dtype,
            weight_qparams,
        )
        return made._take_parameters(float_linear)

    def _get_name(self) -> str:
        return "QuantizedLinear(Reference)"


class Embedding(ReferenceModule, nn.Embedding):
    """A float embedding on its quantized-dequantized table.

    Args:
        num_embeddings … dtype: as in :class:`torch.nn.Embedding`.
        weight_qparams: how to quantize the table; see :class:`ReferenceModule`.
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
        _weight: Tensor | None = None,
        device: Any = None,
        dtype: Any = None,
        weight_qparams: dict[str, Any] | None = None,
    ) -> None:
        options = (padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight)
        super().__init__(num_embeddings, embedding_dim, *options, device=device, dtype=dtype)
        self._init_weight_qparams(weight_qparams, device)

    def forward(self, input: Tensor) -> Tensor:
        """Shape ``(*)`` to ``(*, embedding_dim)``, float32."""
        return F.embedding(input, self.get_weight(), self.padding_idx)

    @classmethod
    def from_float(cls, mod: nn.Embedding, weight_qparams: dict[str, Any]) -> Self:
        """From a float embedding and how to quantize its table."""
        made = cls(
            mod.num_embeddings,
            mod.embedding_dim,
            mod.padding_idx,
            mod.max_norm,
            mod.norm_type,
            mod.scale_grad_by_freq,
            mod.sparse,
            device=mod.weight.device,
            dtype=mod.weight.dtype,
            weight_qparams=weight_qparams,
        )
        return made._take_parameters(mod)

    def _get_name(self) -> str:
        return "QuantizedEmbedding(Reference)"


class EmbeddingBag(ReferenceModule, nn.EmbeddingBag):
    """A float embedding bag on its quantized-dequantized table.

    Args:
        num_embeddings … dtype: as in :class:`torch.nn.EmbeddingBag`.
        weight_qparams: how to quantize the table; see :class:`ReferenceModule`.
    """

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
        device: Any = None,
        dtype: Any = None,
        weight_qparams: dict[str, Any] | None = None,
    ) -> None:
        options = (max_norm, norm_type, scale_grad_by_freq, mode, sparse, _weight)
        place = (include_last_offset, padding_idx, device, dtype)
        super().__init__(num_embeddings, embedding_dim, *options, *place)
        self._init_weight_qparams(weight_qparams, device)

    def forward(
        self,
        input: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        """Shape ``(bags, length)``, or ``(indices,)`` with ``offsets``, to ``(bags, dim)``."""
        return F.embedding_bag(
            input,
            self.get_weight(),
            offsets,
            mode=self.mode,
            per_sample_weights=per_sample_weights,
            include_last_offset=self.include_last_offset,
            padding_idx=self.padding_idx,
        )

    @classmethod
    def from_float(cls, mod: nn.EmbeddingBag, weight_qparams: dict[str, Any]) -> Self:
        """From a float embedding bag and how to quantize its table."""
        made = cls(
            mod.num_embeddings,
            mod.embedding_dim,
            mod.max_norm,
            mod.norm_type,
            mod.scale_grad_by_freq,
            mod.mode,
            mod.sparse,
            include_last_offset=mod.include_last_offset,
            padding_idx=mod.padding_idx,
            device=mod.weight.device,
            dtype=mod.weight.dtype,
            weight_qparams=weight_qparams,
        )
        return made._take_parameters(mod)

    def _get_name(self) -> str:
        return "QuantizedEmbeddingBag(Reference)"
