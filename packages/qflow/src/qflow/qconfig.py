"""How a layer's activations and weight are observed: the qconfig, and the usual ones."""

from qobserve import (
    QConfig,
    QConfigAny,
    default_debug_qconfig,
    default_dynamic_qconfig,
    default_per_channel_qconfig,
    default_per_channel_symmetric_qnnpack_qconfig,
    default_qconfig,
    default_quint8_weight_qconfig,
    default_reuse_input_qconfig,
    default_symmetric_qnnpack_qconfig,
    float_qparams_weight_only_qconfig,
    get_default_qconfig,
    per_channel_dynamic_qconfig,
    qconfig_equals,
)

__all__ = [
    "QConfig",
    "QConfigAny",
    "default_debug_qconfig",
    "default_dynamic_qconfig",
    "default_per_channel_qconfig",
    "default_per_channel_symmetric_qnnpack_qconfig",
    "default_qconfig",
    "default_quint8_weight_qconfig",
    "default_reuse_input_qconfig",
    "default_symmetric_qnnpack_qconfig",
    "float_qparams_weight_only_qconfig",
    "get_default_qconfig",
    "per_channel_dynamic_qconfig",
    "qconfig_equals",
]
