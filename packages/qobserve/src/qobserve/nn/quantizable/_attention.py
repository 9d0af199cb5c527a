"""Multi-head attention, taken apart."""

from typing import Any, ClassVar, NoReturn, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qtensor.nn.quantized.structure import MultiheadAttentionBase

from ..._stubs import QuantStub
from ._observed import observed, qconfig_of

_PROJECTIONS = ("linear_Q", "linear_K", "linear_V")


class MultiheadAttention(MultiheadAttentionBase):
    """Attention with several heads, its operators modules that can be observed.

    Computes what :class:`torch.nn.MultiheadAttention` does. :meth:`from_float` makes an observed
    one, which is calibrated and then becomes a ``qtensor.nn.quantized.MultiheadAttention``. The
    flows of qflow do both for every :class:`torch.nn.MultiheadAttention` with a qconfig.

    Args:
        embed_dim, num_heads, dropout, bias, add_bias_kv, add_zero_attn, kdim, vdim, batch_first,
            device, dtype: as in :class:`torch.nn.MultiheadAttention`.

    Shape:
        As :class:`torch.nn.MultiheadAttention`.

    Raises:
        ValueError: ``embed_dim`` is no multiple of ``num_heads``.

    Example:
        >>> import torch
        >>> from qobserve import default_qconfig
        >>> from qobserve.nn.quantizable import MultiheadAttention
        >>> from qtensor import quantize_per_tensor, quint8
        >>> from qtensor.nn import quantized as nnq
        >>> model, x = torch.nn.MultiheadAttention(8, 2).eval(), torch.randn(5, 3, 8)
        >>> model.qconfig = default_qconfig
        >>> observed = MultiheadAttention.from_float(model)
        >>> _ = observed(x, x, x)  # calibrate
        >>> quantized = nnq.MultiheadAttention.from_observed(observed)
        >>> q = quantize_per_tensor(x, 0.05, 64, quint8)
        >>> y, weights = quantized(q, q, q)
        >>> y.shape, weights.shape
        (torch.Size([5, 3, 8]), torch.Size([3, 5, 5]))
    """

    _FLOAT_MODULE: ClassVar[type[nn.Module]] = nn.MultiheadAttention

    observes_itself: ClassVar[bool] = True
    """Observers are on its parts, so ``prepare`` puts none on its output."""

    def _linear(self, inputs: int, outputs: int, bias: bool, **factory: Any) -> nn.Module:
        return nn.Linear(inputs, outputs, bias=bias, **factory)

    def _boundary(self, scale: float) -> QuantStub:
        return QuantStub()

    def _add_key_or_value(self, name: str, value: Tensor | None) -> None:
        self.register_parameter(name, None if value is None else nn.Parameter(value))

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        scores = (q * self.head_dim**-0.5) @ k.transpose(2, 3)
        if mask is not None:
            scores = scores + mask
        weights = F.dropout(torch.softmax(scores, -1), self.dropout, self.training)
        # The weights are observed though nobody may ask for them now: it may happen later.
        return self.quant_attn_output(weights @ v), self.quant_attn_output_weights(weights)

    @classmethod
    def from_float(cls, other: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """An observed one from a float one; one in training mode is prepared to train.

        Args:
            other: a :class:`torch.nn.MultiheadAttention` with a qconfig; its parameters are copied.
            use_precomputed_fake_quant: not used.

        Raises:
            TypeError: ``other`` is no such module.
            ValueError: it has no qconfig.
        """
        qconfig = qconfig_of(other, cls._FLOAT_MODULE)
        made = cls._like(other)
        made._take(other)
        made.qconfig = qconfig
        observed(made, other.training)
        return made

    def _take(self, attention: Any) -> None:
        if attention.in_proj_weight is not None:
            weights = attention.in_proj_weight.chunk(3)
        else:
            weights = [getattr(attention, f"{name}_proj_weight") for name in "qkv"]
        biases = [None] * 3 if attention.in_proj_bias is None else attention.in_proj_bias.chunk(3)
        layers = [getattr(self, name) for name in _PROJECTIONS]
        out = attention.out_proj
        for layer, weight, bias in zip(
            [*layers, self.out_proj], [*weights, out.weight], [*biases, out.bias], strict=True
        ):
            layer.weight = nn.Parameter(weight.detach().clone())
            layer.bias = None if bias is None else nn.Parameter(bias.detach().clone())
        for name in ("bias_k", "bias_v"):
            added = getattr(attention, name)
            setattr(self, name, None if added is None else nn.Parameter(added.detach().clone()))

    @classmethod
    def from_observed(cls, other: nn.Module) -> NoReturn:
        """Not possible: this class is what is observed.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "an observed attention becomes a qtensor.nn.quantized.MultiheadAttention; call its "
            "from_observed"
        )

    def _get_name(self) -> str:
        return "QuantizableMultiheadAttention"
