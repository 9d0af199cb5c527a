"""Observers with their usual arguments, under the names they have always had."""

from qtensor import (
    per_channel_affine_float_qparams,
    per_channel_symmetric,
    per_tensor_symmetric,
    qint8,
    quint4x2,
    quint8,
)

from ._histogram import HistogramObserver
from ._minmax import MinMaxObserver, PerChannelMinMaxObserver
from ._passive import (
    FixedQParamsObserver,
    PlaceholderObserver,
    RecordingObserver,
    ReuseInputObserver,
)

default_observer = MinMaxObserver.with_args(quant_min=0, quant_max=127)
"""For activations: the range seen, mapped to 0 … 127."""

default_placeholder_observer = PlaceholderObserver
"""For what stays float."""

default_debug_observer = RecordingObserver
"""Keeps all it sees."""

default_weight_observer = MinMaxObserver.with_args(dtype=qint8, qscheme=per_tensor_symmetric)
"""For weights: per tensor, symmetric, -128 … 127."""

weight_observer_range_neg_127_to_127 = MinMaxObserver.with_args(
    dtype=qint8, qscheme=per_tensor_symmetric, quant_min=-127, quant_max=127, eps=2**-12
)
"""For weights where -128 must not occur; ``eps`` keeps XNNPACK's requantization scale in range."""

default_histogram_observer = HistogramObserver.with_args(quant_min=0, quant_max=127)
"""For activations: the range with the least error, mapped to 0 … 127."""

default_per_channel_weight_observer = PerChannelMinMaxObserver.with_args(
    dtype=qint8, qscheme=per_channel_symmetric
)
"""For weights: per channel, symmetric, -128 … 127."""

per_channel_weight_observer_range_neg_127_to_127 = PerChannelMinMaxObserver.with_args(
    dtype=qint8, qscheme=per_channel_symmetric, quant_min=-127, quant_max=127, eps=2**-12
)
"""As :data:`weight_observer_range_neg_127_to_127`, per channel."""

default_dynamic_quant_observer = PlaceholderObserver.with_args(
    dtype=quint8, quant_min=0, quant_max=255, is_dynamic=True
)
"""For activations quantized at run time."""

default_float_qparams_observer = PerChannelMinMaxObserver.with_args(
    dtype=quint8, qscheme=per_channel_affine_float_qparams, ch_axis=0
)
"""For embedding tables: every row with a real zero point."""

default_float_qparams_observer_4bit = PerChannelMinMaxObserver.with_args(
    dtype=quint4x2, qscheme=per_channel_affine_float_qparams, ch_axis=0
)
"""As :data:`default_float_qparams_observer`, with 4 bits."""

default_fixed_qparams_range_neg1to1_observer = FixedQParamsObserver.with_args(
    scale=2.0 / 256.0, zero_point=128, dtype=quint8, quant_min=0, quant_max=255
)
"""For outputs within -1 … 1, such as that of tanh."""

default_fixed_qparams_range_0to1_observer = FixedQParamsObserver.with_args(
    scale=1.0 / 256.0, zero_point=0, dtype=quint8, quant_min=0, quant_max=255
)
"""For outputs within 0 … 1, such as that of a sigmoid."""

default_symmetric_fixed_qparams_observer = default_fixed_qparams_range_neg1to1_observer
default_affine_fixed_qparams_observer = default_fixed_qparams_range_0to1_observer

default_reuse_input_observer = ReuseInputObserver
"""For outputs that have the parameters of their input."""
