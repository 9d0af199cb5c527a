"""Attention made of modules, which the observed form and the quantized one share."""

from abc import abstractmethod
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..._qtensor import QTensor, parameters
from ..._quantize import quantize
from ._weight import WeightModule

State = dict[str, Any]


class MultiheadAttentionBase(nn.Module):
    """Attention with several heads, its operators modules. Subclasses say which modules.

    Attributes:
        linear_Q, linear_K, linear_V, out_proj: the projections.
        quant_attn_output, quant_attn_output_weights: where attention and its weights are quantized.
        bias_k, bias_v: float, ``(1, 1, embed_dim)``: one more key and value; or ``None``.
    """

    # What torch's transformer layers look at: they then call the module, and not a kernel that
    # takes its weights.
    in_proj_weight: Tensor | None = None
    in_proj_bias: Tensor | None = None

    bias_k: Tensor | None
    bias_v: Tensor | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if embed_dim < 1 or num_heads < 1 or embed_dim % num_heads:
            raise ValueError(
                "expected embed_dim to be a positive multiple of num_heads, got "
                f"embed_dim={embed_dim} and num_heads={num_heads}"
            )
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, embed_dim // num_heads
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        self._qkv_same_embed_dim = self.kdim == self.vdim == embed_dim
        self.dropout, self.add_zero_attn, self.batch_first = dropout, add_zero_attn, batch_first
        factory = {"device": device, "dtype": dtype}
        self.linear_Q = self._linear(embed_dim, embed_dim, bias, **factory)
        self.linear_K = self._linear(self.kdim, embed_dim, bias, **factory)
        self.linear_V = self._linear(self.vdim, embed_dim, bias, **factory)
        self.out_proj = self._linear(embed_dim, embed_dim, bias, **factory)
        for name in ("bias_k", "bias_v"):
            one = nn.init.xavier_normal_(torch.empty(1, 1, embed_dim, **factory))
            self._add_key_or_value(name, one if add_bias_kv else None)
        self.quant_attn_output = self._boundary(1.0)
        self.quant_attn_output_weights = self._boundary(1 / 256)

    @classmethod
    def _like(cls, attention: Any) -> Self:
        """With the sizes and options of ``attention``, float or taken apart."""
        return cls(
            attention.embed_dim,
            attention.num_heads,
            attention.dropout,
            getattr(attention.out_proj, "bias", None) is not None,
            attention.bias_k is not None,
            attention.add_zero_attn,
            attention.kdim,
            attention.vdim,
            attention.batch_first,
        )

    @abstractmethod
    def _linear(self, inputs: int, outputs: int, bias: bool, **factory: Any) -> nn.Module:
        """A projection; ``factory``: the device and dtype of its parameters."""

    @abstractmethod
    def _boundary(self, scale: float) -> nn.Module:
        """Where floats become quantized, with this scale until there is a better one."""

    @abstractmethod
    def _get_name(self) -> str:
        """How the module prints, and what messages call it."""

    @abstractmethod
    def _add_key_or_value(self, name: str, value: Tensor | None) -> None:
        """Let the attribute ``name`` hold one more key or value, or ``None``."""

    @abstractmethod
    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Attention of each head.

        Args:
            q, k, v: ``(N, heads, L, head_dim)``, and twice ``(N, heads, S, head_dim)``.
            mask: float, added to the scores; broadcasts to ``(N, heads, L, S)``.
            need_weights: whether anyone reads the weights.

        Returns:
            ``(N, heads, L, head_dim)``, and the weights ``(N, heads, L, S)``.
        """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend, as :class:`torch.nn.MultiheadAttention` does.

        Args:
            query: ``(L, N, embed_dim)``, with ``batch_first`` ``(N, L, embed_dim)``, or
                ``(L, embed_dim)`` without a batch.
            key, value: likewise, of length S, and with ``kdim`` and ``vdim`` features.
            key_padding_mask: ``(N, S)`` or ``(S,)``: true for keys to ignore; or floats to add.
            need_weights: return the weights too.
            attn_mask: ``(L, S)`` or ``(N * num_heads, L, S)``: true for what is not to be attended;
                or floats to add.
            average_attn_weights: return the mean of the weights over all heads.
            is_causal: no position attends to a later one. Beside an ``attn_mask`` it is a hint,
                and the mask is what counts.

        Returns:
            attention, of the shape of ``query``, and ``None`` or the weights: ``(N, L, S)``, or
            ``(N, num_heads, L, S)`` if they are not averaged, without N if there is no batch. S
            counts added keys too. What may attend to nothing gets NaN, in quantized form zeros.

        Raises:
            TypeError: a mask is neither boolean nor float.
            ValueError: a shape is not as above.
        """
        batched = self._check_inputs(query, key, value)
        axis = 0 if self.batch_first and batched else 1 if batched else None  # of the batch
        q, k, v = (self._batch_first(x, axis) for x in (query, key, value))
        batch, length, sources = q.shape[0], q.shape[1], k.shape[1]
        if attn_mask is None and is_causal:
            everything = torch.ones(length, sources, dtype=torch.bool, device=q.device)
            attn_mask = everything.triu(1)
        mask = self._mask(attn_mask, key_padding_mask, batch, length, sources)

        q, k, v = self.linear_Q(q), self.linear_K(k), self.linear_V(v)
        k, v = self._extended(k, self.bias_k), self._extended(v, self.bias_v)
        added = k.shape[1] - sources
        if mask is not None and added:
            mask = nn.functional.pad(mask, (0, added))
        q, k, v = map(self._split, (q, k, v))
        heads, weights = self._attend(q, k, v, mask, need_weights)
        joined = heads.transpose(1, 2).reshape(batch, length, self.embed_dim)
        output = self._batch_last(self.out_proj(joined), axis)
        if not need_weights or weights is None:
            return output, None
        weights = weights.mean(dim=1) if average_attn_weights else weights
        return output, weights if batched else weights.squeeze(0)

    # ---- shapes

    def _check_inputs(self, query: Any, key: Any, value: Any) -> bool:
        """Whether the inputs are batches; raises unless they fit."""
        given = (query, key, value)
        for name, x, size in zip(
            ("query", "key", "value"), given, (self.embed_dim, self.kdim, self.vdim), strict=True
        ):
            if not isinstance(x, Tensor) or x.dim() not in (2, 3) or x.shape[-1] != size:
                shape = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
                raise ValueError(
                    f"{self._get_name()} expects a {name} of 2 or 3 dimensions, the last of "
                    f"{size}, got {shape}"
                )
        axis = 0 if self.batch_first else 1
        batches = {x.shape[axis] if x.dim() == 3 else None for x in given}
        if len(batches) > 1 or key.shape[:-1] != value.shape[:-1]:
            shapes = ", ".join(str(tuple(x.shape)) for x in given)
            raise ValueError(
                f"{self._get_name()} expects query, key and value of one batch, and keys and "
                f"values of one length, got shapes {shapes}"
            )
        return bool(query.dim() == 3)

    def _batch_first(self, x: Tensor, axis: int | None) -> Tensor:
        return x.unsqueeze(0) if axis is None else x.transpose(0, 1) if axis else x

    def _batch_last(self, x: Tensor, axis: int | None) -> Tensor:
        return x.squeeze(0) if axis is None else x.transpose(0, 1) if axis else x

    def _split(self, x: Tensor) -> Tensor:
        """``(N, length, embed_dim)`` to ``(N, heads, length, head_dim)``."""
        return x.reshape(*x.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)

    def _extended(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """Keys or values with those that are added to them, quantized as they are."""
        added = [] if bias is None else [bias.detach() if isinstance(x, QTensor) else bias]
        if self.add_zero_attn:
            added.append(torch.zeros(1, 1, self.embed_dim, device=x.device, dtype=x.dtype))
        if not added:
            return x
        rows = torch.cat(added, 1).expand(x.shape[0], -1, -1)
        if isinstance(x, QTensor):
            rows = quantize(rows, parameters(x))
        return torch.cat([x, rows], 1)

    def _mask(
        self,
        attn_mask: Tensor | None,
        key_padding_mask: Tensor | None,
        batch: int,
        length: int,
        sources: int,
    ) -> Tensor | None:
        """All masks as one to be added, broadcasting to ``(N, heads, L, S)``."""
        masks = []
        if attn_mask is not None:
            of_head = (batch * self.num_heads, length, sources)
            self._check_mask("attn_mask", attn_mask, ((length, sources), of_head))
            if attn_mask.dim() == 3:
                attn_mask = attn_mask.reshape(batch, self.num_heads, length, sources)
            masks.append(_to_add(attn_mask))
        if key_padding_mask is not None:
            shapes = ((batch, sources), (sources,)) if batch == 1 else ((batch, sources),)
            self._check_mask("key_padding_mask", key_padding_mask, shapes)
            masks.append(_to_add(key_padding_mask).reshape(batch, 1, 1, sources))
        return sum(masks[1:], start=masks[0]) if masks else None

    def _check_mask(self, name: str, mask: Tensor, shapes: tuple[tuple[int, ...], ...]) -> None:
        if mask.dtype != torch.bool and not mask.dtype.is_floating_point:
            raise TypeError(f"expected {name} to be boolean or float, got {mask.dtype}")
        if tuple(mask.shape) not in shapes:
            expected = " or ".join(map(str, shapes))
            raise ValueError(f"expected {name} of shape {expected}, got {tuple(mask.shape)}")

    # ---- conversions

    def dequantize(self) -> nn.MultiheadAttention:
        """The float module that this one stands for, with weights as precise as they are here."""
        weights = {
            name: _weight_and_bias(getattr(self, name))
            for name in ("linear_Q", "linear_K", "linear_V", "out_proj")
        }
        made = nn.MultiheadAttention(
            self.embed_dim,
            self.num_heads,
            self.dropout,
            weights["linear_Q"][1] is not None,
            self.bias_k is not None,
            self.add_zero_attn,
            self.kdim,
            self.vdim,
            self.batch_first,
        )
        projections = [weights[name] for name in ("linear_Q", "linear_K", "linear_V")]
        state: dict[str, Tensor | None] = {"bias_k": self.bias_k, "bias_v": self.bias_v}
        if self._qkv_same_embed_dim:
            state["in_proj_weight"] = torch.cat([weight for weight, _ in projections])
        else:
            for name, (weight, _) in zip("qkv", projections, strict=True):
                state[f"{name}_proj_weight"] = weight
        biases = [bias for _, bias in projections if bias is not None]
        state["in_proj_bias"] = torch.cat(biases) if biases else None
        state["out_proj.weight"], state["out_proj.bias"] = weights["out_proj"]
        made.load_state_dict({k: v.detach() for k, v in state.items() if v is not None})
        return made.train(self.training)

    def _load_from_state_dict(self, state_dict: State, prefix: str, *rest: Any) -> None:
        # Saved models of old hold more: the float module's joint projection, which was not used,
        # and an observer of nothing.
        for name in list(state_dict):
            if name.startswith((f"{prefix}in_proj_", f"{prefix}q_scaling_product.")):
                del state_dict[name]
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _to_add(mask: Tensor) -> Tensor:
    """A mask as floats to add to scores."""
    if mask.dtype.is_floating_point:
        return mask
    return torch.zeros(mask.shape, dtype=torch.float32, device=mask.device).masked_fill(
        mask, float("-inf")
    )


def _weight_and_bias(layer: Any) -> tuple[Tensor, Tensor | None]:
    """Of a linear layer, in float."""
    if isinstance(layer, WeightModule):
        return layer.weight().dequantize(), layer.bias()
    return layer.weight, layer.bias
