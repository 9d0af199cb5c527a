"""QConfigs with the usual observers, under the names they have always had."""

import torch

from qtensor import qint8

from ._default_observers import (
    default_debug_observer,
    default_dynamic_quant_observer,
    default_float_qparams_observer,
    default_float_qparams_observer_4bit,
    default_observer,
    default_per_channel_weight_observer,
    default_placeholder_observer,
    default_reuse_input_observer,
    default_weight_observer,
    per_channel_weight_observer_range_neg_127_to_127,
    weight_observer_range_neg_127_to_127,
)
from ._histogram import HistogramObserver
from ._minmax import MinMaxObserver
from ._passive import NoopObserver, PlaceholderObserver
from ._qconfig import QConfig

default_qconfig = QConfig(activation=default_observer, weight=default_weight_observer)
"""Static: activations by range in 0 … 127, weights per tensor."""

default_debug_qconfig = QConfig(activation=default_debug_observer, weight=default_weight_observer)
"""Keeps all activations."""

default_per_channel_qconfig = QConfig(
    activation=default_observer, weight=default_per_channel_weight_observer
)
"""Static: activations by range in 0 … 127, weights per channel."""

default_dynamic_qconfig = QConfig(
    activation=default_dynamic_quant_observer, weight=default_weight_observer
)
"""Dynamic: activations at run time, weights per tensor."""

per_channel_dynamic_qconfig = QConfig(
    activation=default_dynamic_quant_observer, weight=default_per_channel_weight_observer
)
"""Dynamic: activations at run time, weights per channel."""

float16_dynamic_qconfig = QConfig(
    activation=PlaceholderObserver.with_args(dtype=torch.float16, is_dynamic=True),
    weight=PlaceholderObserver.with_args(dtype=torch.float16),
)
"""Dynamic, with weights in float16."""

float16_static_qconfig = QConfig(
    activation=PlaceholderObserver.with_args(dtype=torch.float16),
    weight=PlaceholderObserver.with_args(dtype=torch.float16),
)
"""Activations and weights in float16."""

float_qparams_weight_only_qconfig = QConfig(
    activation=default_placeholder_observer, weight=default_float_qparams_observer
)
"""Weights only, by row with real zero points: for embedding tables."""

float_qparams_weight_only_qconfig_4bit = QConfig(
    activation=default_placeholder_observer, weight=default_float_qparams_observer_4bit
)
"""As :data:`float_qparams_weight_only_qconfig`, with 4 bits."""

default_reuse_input_qconfig = QConfig(activation=default_reuse_input_observer, weight=NoopObserver)
"""For what keeps the parameters of its input, such as a reshape."""

default_quint8_weight_qconfig = QConfig(activation=HistogramObserver, weight=MinMaxObserver)
"""Static, with unsigned affine weights: for PReLU."""

_signed_activation = HistogramObserver.with_args(dtype=qint8, reduce_range=False, eps=2**-12)

default_symmetric_qnnpack_qconfig = QConfig(
    activation=_signed_activation, weight=weight_observer_range_neg_127_to_127
)
"""For XNNPACK: signed activations, weights per tensor in -127 … 127."""

default_per_channel_symmetric_qnnpack_qconfig = QConfig(
    activation=_signed_activation, weight=per_channel_weight_observer_range_neg_127_to_127
)
"""For XNNPACK: signed activations, weights per channel in -127 … 127."""

_STATIC = {
    "x86": QConfig(
        activation=HistogramObserver.with_args(reduce_range=False),
        weight=default_per_channel_weight_observer,
    ),
    "fbgemm": QConfig(
        activation=HistogramObserver.with_args(reduce_range=True),
        weight=default_per_channel_weight_observer,
    ),
    "onednn": QConfig(
        activation=HistogramObserver.with_args(reduce_range=False),
        weight=default_per_channel_weight_observer,
    ),
    "qnnpack": QConfig(
        activation=HistogramObserver.with_args(reduce_range=False),
        weight=default_weight_observer,
    ),
}


def get_default_qconfig(backend: str = "x86", version: int = 0) -> QConfig:
    """The QConfig for static quantization on ``backend``.

    Activations get the range with the least error. ``x86``, ``onednn`` and ``qnnpack`` use all of
    0 … 255, since the kernels are exact there; ``fbgemm`` keeps its documented 0 … 127, which is
    faster on machines without VNNI. Weights are symmetric, per channel but for ``qnnpack``.

    Args:
        backend: ``"x86"`` (default), ``"fbgemm"``, ``"onednn"`` or ``"qnnpack"``.
        version: the version of the defaults; there is only 0.

    Raises:
        ValueError: an unknown backend or version.

    Example:
        >>> from qobserve import get_default_qconfig
        >>> get_default_qconfig("fbgemm").activation().quant_max
        127
    """
    if backend not in _STATIC:
        raise ValueError(f"unknown backend {backend!r}; expected one of {', '.join(_STATIC)}")
    if version != 0:
        raise ValueError(f"unknown version {version} of the default qconfigs; there is only 0")
    return _STATIC[backend]
