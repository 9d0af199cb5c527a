"""QConfigs for quantization-aware training, and the default one of each backend."""

import torch
from torch import nn

from qtensor import qint8

from ._default_fake_quantize import (
    default_dynamic_fake_quant,
    default_embedding_fake_quant,
    default_embedding_fake_quant_4bit,
    default_fake_quant,
    default_fused_act_fake_quant,
    default_fused_per_channel_wt_fake_quant,
    default_fused_wt_fake_quant,
    default_per_channel_weight_fake_quant,
    default_weight_fake_quant,
    fused_per_channel_wt_fake_quant_range_neg_127_to_127,
    fused_wt_fake_quant_range_neg_127_to_127,
)
from ._factory import ObserverFactory
from ._fake_quantize import FakeQuantize, FusedMovingAvgObsFakeQuantize
from ._minmax import MovingAverageMinMaxObserver
from ._passive import NoopObserver
from ._qconfig import QConfig

default_qat_qconfig = QConfig(activation=default_fake_quant, weight=default_weight_fake_quant)
"""Activations by averaged range in 0 … 127, weights per tensor."""

default_qat_qconfig_v2 = QConfig(
    activation=default_fused_act_fake_quant, weight=default_fused_wt_fake_quant
)
"""Activations by averaged range in 0 … 255, weights per tensor."""

default_dynamic_qat_qconfig = QConfig(
    activation=default_dynamic_fake_quant, weight=default_weight_fake_quant
)
"""Activations by each batch's own range, weights per tensor."""

default_weight_only_qconfig = QConfig(activation=nn.Identity, weight=default_weight_fake_quant)
"""Only weights, per tensor."""

default_activation_only_qconfig = QConfig(activation=default_fake_quant, weight=nn.Identity)
"""Only activations, by averaged range in 0 … 127."""

default_embedding_qat_qconfig = QConfig(
    activation=NoopObserver.with_args(dtype=torch.float32), weight=default_embedding_fake_quant
)
"""Weights only, by row with real zero points: for embedding tables."""

default_embedding_qat_qconfig_4bit = QConfig(
    activation=NoopObserver.with_args(dtype=torch.float32), weight=default_embedding_fake_quant_4bit
)
"""As :data:`default_embedding_qat_qconfig`, in 4 bits."""

_signed_activation = FusedMovingAvgObsFakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver,
    quant_min=-128,
    quant_max=127,
    dtype=qint8,
    reduce_range=False,
    eps=2**-12,
)

default_symmetric_qnnpack_qat_qconfig = QConfig(
    activation=_signed_activation, weight=fused_wt_fake_quant_range_neg_127_to_127
)
"""For XNNPACK: signed activations, weights per tensor in -127 … 127."""

default_per_channel_symmetric_qnnpack_qat_qconfig = QConfig(
    activation=_signed_activation, weight=fused_per_channel_wt_fake_quant_range_neg_127_to_127
)
"""For XNNPACK: signed activations, weights per channel in -127 … 127."""

_REDUCED = {"x86": False, "fbgemm": True, "onednn": False, "qnnpack": False}
"""Whether a backend's activations keep to 0 … 127."""


def _activation(kind: type[FakeQuantize], reduce_range: bool) -> ObserverFactory:
    return kind.with_args(
        observer=MovingAverageMinMaxObserver,
        quant_min=0,
        quant_max=255,
        reduce_range=reduce_range,
    )


def get_default_qat_qconfig(backend: str = "x86", version: int | None = 1) -> QConfig:
    """The QConfig for quantization-aware training for ``backend``.

    Ranges are those of :func:`get_default_qconfig`: 0 … 255 for activations, but 0 … 127 for
    ``fbgemm``; symmetric weights, per channel but for ``qnnpack``.

    Args:
        backend: ``"x86"`` (default), ``"fbgemm"``, ``"onednn"`` or ``"qnnpack"``.
        version: 1 (default, also written ``None``) for :class:`FusedMovingAvgObsFakeQuantize`, 0
            for :class:`FakeQuantize`.

    Raises:
        ValueError: an unknown backend or version.

    Example:
        >>> from qobserve import get_default_qat_qconfig
        >>> get_default_qat_qconfig("fbgemm").activation().quant_max
        127
    """
    if backend not in _REDUCED:
        raise ValueError(f"unknown backend {backend!r}; expected one of {', '.join(_REDUCED)}")
    per_tensor = backend == "qnnpack"
    if version == 0:
        kind: type[FakeQuantize] = FakeQuantize
        per_channel_weight = default_per_channel_weight_fake_quant
        weight = default_weight_fake_quant if per_tensor else per_channel_weight
    elif version in (1, None):
        kind = FusedMovingAvgObsFakeQuantize
        per_channel_weight = default_fused_per_channel_wt_fake_quant
        weight = default_fused_wt_fake_quant if per_tensor else per_channel_weight
    else:
        raise ValueError(f"unknown version {version} of the default qconfigs; expected 0 or 1")
    return QConfig(activation=_activation(kind, _REDUCED[backend]), weight=weight)
