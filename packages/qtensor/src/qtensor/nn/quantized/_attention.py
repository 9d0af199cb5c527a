"""The quantized multi-head attention."""

from typing import Any, Self

from torch import Tensor, nn

from ..._arguments import quantized
from ..._dtypes import quint8
from ..._ops.attention_weights import attention_weights
from ..._ops.matmul import matmul_int32
from ._attention_structure import MultiheadAttentionBase
from ._conversions import Quantize
from ._from_float import take_parts
from ._linear import Linear


class MultiheadAttention(MultiheadAttentionBase):
    """Attention on quantized tensors: int8 projections, scores and sums of values.

    Made from a calibrated ``qobserve.nn.quantizable.MultiheadAttention``. Scores are exact integer
    sums, which are never rounded; softmax runs in float on them. For the sums of the values, each
    row of weights is rounded to 8 bits of its own largest one.

    Args:
        embed_dim, num_heads, bias, add_bias_kv, add_zero_attn, kdim, vdim, batch_first: as in
            :class:`torch.nn.MultiheadAttention`. What is added to keys and values is quantized as
            they are.
        dropout: kept as an attribute; quantized modules drop nothing.
        device, dtype: of what is added to keys and values.

    Shape:
        As :class:`torch.nn.MultiheadAttention`: query, key, value and both results quantized per
        tensor, masks boolean or float.

    Raises:
        TypeError: (forward) an input is not quantized, or a mask neither boolean nor float.
        ValueError: ``embed_dim`` is no multiple of ``num_heads``; (forward) a shape does not fit.

    Example:
        >>> import torch, qtensor
        >>> attention = qtensor.nn.quantized.MultiheadAttention(8, 2)
        >>> x = qtensor.quantize_per_tensor(torch.randn(5, 3, 8), 0.05, 128, qtensor.quint8)
        >>> y, weights = attention(x, x, x)
        >>> y.shape, weights.shape, y.qdtype
        (torch.Size([5, 3, 8]), torch.Size([3, 5, 5]), qtensor.quint8)
    """

    def _linear(self, inputs: int, outputs: int, bias: bool, **factory: Any) -> Linear:
        return Linear(inputs, outputs, bias)

    def _boundary(self, scale: float) -> Quantize:
        return Quantize(scale, 0, quint8)

    def _add_key_or_value(self, name: str, value: Tensor | None) -> None:
        self.register_buffer(name, value)

    def _check_inputs(self, query: Any, key: Any, value: Any) -> bool:
        for name, x in (("query", query), ("key", key), ("value", value)):
            quantized(x, self._get_name(), name)
        return super()._check_inputs(query, key, value)

    def _attend(
        self, q: Any, k: Any, v: Any, mask: Tensor | None, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        scores = matmul_int32(q._data, q._zero_point, k._data.mT, k._zero_point)
        scale = q._scale * k._scale * self.head_dim**-0.5
        steps, scales = attention_weights(scores, scale, None if mask is None else mask.float())
        sums = matmul_int32(steps, 0, v._data, v._zero_point)
        output = self.quant_attn_output(sums * (v._scale * scales))
        return output, self.quant_attn_output_weights(steps * scales) if need_weights else None

    @classmethod
    def from_observed(cls, other: nn.Module) -> Self:
        """From a calibrated observed attention, or a trained one.

        Raises:
            TypeError: ``other`` is none, such as a :class:`torch.nn.MultiheadAttention`.
            ValueError: it was not prepared.
        """
        if not isinstance(other, MultiheadAttentionBase):
            raise TypeError(
                f"{cls.__name__} is made from an observed one, got a {type(other).__name__}; make "
                "it with qobserve.nn.quantizable.MultiheadAttention.from_float, and calibrate it"
            )
        made = cls._like(other)
        take_parts(made, other)
        for name in ("bias_k", "bias_v"):
            added = getattr(other, name)
            setattr(made, name, None if added is None else added.detach().clone())
        return made.train(other.training)

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """As :meth:`from_observed`: what is quantized is the observed module."""
        return cls.from_observed(mod)

    def _get_name(self) -> str:
        return "QuantizedMultiheadAttention"
