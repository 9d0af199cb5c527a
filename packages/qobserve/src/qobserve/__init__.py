"""Observers, QConfig and module swapping: from values seen to quantization parameters."""

from . import nn as nn
from ._base import ObserverBase as ObserverBase
from ._base import UniformQuantizationObserverBase as UniformQuantizationObserverBase
from ._clipping import EntropyObserver as EntropyObserver
from ._clipping import MSEObserver as MSEObserver
from ._clipping import PercentileObserver as PercentileObserver
from ._convert import ModuleMapping as ModuleMapping
from ._convert import convert as convert
from ._convert import get_qparam_dict as get_qparam_dict
from ._convert import get_weight_qparam_dict as get_weight_qparam_dict
from ._convert import swap_module as swap_module
from ._convert import unseen_observers as unseen_observers
from ._default_fake_quantize import (
    default_affine_fixed_qparams_fake_quant as default_affine_fixed_qparams_fake_quant,
)
from ._default_fake_quantize import default_dynamic_fake_quant as default_dynamic_fake_quant
from ._default_fake_quantize import default_embedding_fake_quant as default_embedding_fake_quant
from ._default_fake_quantize import (
    default_embedding_fake_quant_4bit as default_embedding_fake_quant_4bit,
)
from ._default_fake_quantize import default_fake_quant as default_fake_quant
from ._default_fake_quantize import (
    default_fixed_qparams_range_0to1_fake_quant as default_fixed_qparams_range_0to1_fake_quant,
)
from ._default_fake_quantize import (
    default_fixed_qparams_range_neg1to1_fake_quant as default_fixed_qparams_range_neg1to1_fake_quant,  # noqa: E501  # one long name
)
from ._default_fake_quantize import default_fused_act_fake_quant as default_fused_act_fake_quant
from ._default_fake_quantize import (
    default_fused_per_channel_wt_fake_quant as default_fused_per_channel_wt_fake_quant,
)
from ._default_fake_quantize import default_fused_wt_fake_quant as default_fused_wt_fake_quant
from ._default_fake_quantize import default_histogram_fake_quant as default_histogram_fake_quant
from ._default_fake_quantize import (
    default_per_channel_weight_fake_quant as default_per_channel_weight_fake_quant,
)
from ._default_fake_quantize import (
    default_symmetric_fixed_qparams_fake_quant as default_symmetric_fixed_qparams_fake_quant,
)
from ._default_fake_quantize import default_weight_fake_quant as default_weight_fake_quant
from ._default_fake_quantize import (
    fused_per_channel_wt_fake_quant_range_neg_127_to_127 as fused_per_channel_wt_fake_quant_range_neg_127_to_127,  # noqa: E501  # one long name
)
from ._default_fake_quantize import (
    fused_wt_fake_quant_range_neg_127_to_127 as fused_wt_fake_quant_range_neg_127_to_127,
)
from ._default_observers import (
    default_affine_fixed_qparams_observer as default_affine_fixed_qparams_observer,
)
from ._default_observers import default_debug_observer as default_debug_observer
from ._default_observers import default_dynamic_quant_observer as default_dynamic_quant_observer
from ._default_observers import (
    default_fixed_qparams_range_0to1_observer as default_fixed_qparams_range_0to1_observer,
)
from ._default_observers import (
    default_fixed_qparams_range_neg1to1_observer as default_fixed_qparams_range_neg1to1_observer,
)
from ._default_observers import default_float_qparams_observer as default_float_qparams_observer
from ._default_observers import (
    default_float_qparams_observer_4bit as default_float_qparams_observer_4bit,
)
from ._default_observers import default_histogram_observer as default_histogram_observer
from ._default_observers import default_observer as default_observer
from ._default_observers import (
    default_per_channel_weight_observer as default_per_channel_weight_observer,
)
from ._default_observers import default_placeholder_observer as default_placeholder_observer
from ._default_observers import default_reuse_input_observer as default_reuse_input_observer
from ._default_observers import (
    default_symmetric_fixed_qparams_observer as default_symmetric_fixed_qparams_observer,
)
from ._default_observers import default_weight_observer as default_weight_observer
from ._default_observers import (
    per_channel_weight_observer_range_neg_127_to_127 as per_channel_weight_observer_range_neg_127_to_127,  # noqa: E501  # one long name
)
from ._default_observers import (
    weight_observer_range_neg_127_to_127 as weight_observer_range_neg_127_to_127,
)
from ._default_qat_qconfigs import (
    default_activation_only_qconfig as default_activation_only_qconfig,
)
from ._default_qat_qconfigs import default_dynamic_qat_qconfig as default_dynamic_qat_qconfig
from ._default_qat_qconfigs import default_embedding_qat_qconfig as default_embedding_qat_qconfig
from ._default_qat_qconfigs import (
    default_embedding_qat_qconfig_4bit as default_embedding_qat_qconfig_4bit,
)
from ._default_qat_qconfigs import (
    default_per_channel_symmetric_qnnpack_qat_qconfig as default_per_channel_symmetric_qnnpack_qat_qconfig,  # noqa: E501  # one long name
)
from ._default_qat_qconfigs import default_qat_qconfig as default_qat_qconfig
from ._default_qat_qconfigs import default_qat_qconfig_v2 as default_qat_qconfig_v2
from ._default_qat_qconfigs import (
    default_symmetric_qnnpack_qat_qconfig as default_symmetric_qnnpack_qat_qconfig,
)
from ._default_qat_qconfigs import default_weight_only_qconfig as default_weight_only_qconfig
from ._default_qat_qconfigs import get_default_qat_qconfig as get_default_qat_qconfig
from ._default_qconfigs import default_debug_qconfig as default_debug_qconfig
from ._default_qconfigs import default_dynamic_qconfig as default_dynamic_qconfig
from ._default_qconfigs import default_per_channel_qconfig as default_per_channel_qconfig
from ._default_qconfigs import (
    default_per_channel_symmetric_qnnpack_qconfig as default_per_channel_symmetric_qnnpack_qconfig,
)
from ._default_qconfigs import default_qconfig as default_qconfig
from ._default_qconfigs import default_quint8_weight_qconfig as default_quint8_weight_qconfig
from ._default_qconfigs import default_reuse_input_qconfig as default_reuse_input_qconfig
from ._default_qconfigs import (
    default_symmetric_qnnpack_qconfig as default_symmetric_qnnpack_qconfig,
)
from ._default_qconfigs import float16_dynamic_qconfig as float16_dynamic_qconfig
from ._default_qconfigs import float16_static_qconfig as float16_static_qconfig
from ._default_qconfigs import (
    float_qparams_weight_only_qconfig as float_qparams_weight_only_qconfig,
)
from ._default_qconfigs import (
    float_qparams_weight_only_qconfig_4bit as float_qparams_weight_only_qconfig_4bit,
)
from ._default_qconfigs import get_default_qconfig as get_default_qconfig
from ._default_qconfigs import per_channel_dynamic_qconfig as per_channel_dynamic_qconfig
from ._fake_quantize import FakeQuantize as FakeQuantize
from ._fake_quantize import FakeQuantizeBase as FakeQuantizeBase
from ._fake_quantize import FixedQParamsFakeQuantize as FixedQParamsFakeQuantize
from ._fake_quantize import FusedMovingAvgObsFakeQuantize as FusedMovingAvgObsFakeQuantize
from ._fake_quantize import disable_fake_quant as disable_fake_quant
from ._fake_quantize import disable_observer as disable_observer
from ._fake_quantize import enable_fake_quant as enable_fake_quant
from ._fake_quantize import enable_observer as enable_observer
from ._granularity import AffineQuantizedObserverBase as AffineQuantizedObserverBase
from ._granularity import Granularity as Granularity
from ._granularity import MappingType as MappingType
from ._granularity import PerAxis as PerAxis
from ._granularity import PerBlock as PerBlock
from ._granularity import PerGroup as PerGroup
from ._granularity import PerRow as PerRow
from ._granularity import PerTensor as PerTensor
from ._granularity import PerToken as PerToken
from ._granularity import TorchAODType as TorchAODType
from ._granularity import ZeroPointDomain as ZeroPointDomain
from ._granularity import get_block_size as get_block_size
from ._histogram import HistogramObserver as HistogramObserver
from ._learnable_fake_quantize import _LearnableFakeQuantize as _LearnableFakeQuantize
from ._minmax import MinMaxObserver as MinMaxObserver
from ._minmax import MovingAverageMinMaxObserver as MovingAverageMinMaxObserver
from ._minmax import MovingAveragePerChannelMinMaxObserver as MovingAveragePerChannelMinMaxObserver
from ._minmax import PerChannelMinMaxObserver as PerChannelMinMaxObserver
from ._observer_state import get_observer_state_dict as get_observer_state_dict
from ._observer_state import load_observer_state_dict as load_observer_state_dict
from ._passive import FixedQParamsObserver as FixedQParamsObserver
from ._passive import NoopObserver as NoopObserver
from ._passive import PlaceholderObserver as PlaceholderObserver
from ._passive import RecordingObserver as RecordingObserver
from ._passive import ReuseInputObserver as ReuseInputObserver
from ._prepare import is_activation_post_process as is_activation_post_process
from ._prepare import is_memoryless as is_memoryless
from ._prepare import prepare as prepare
from ._prepare_qat import prepare_qat as prepare_qat
from ._propagate import propagate_qconfig_ as propagate_qconfig_
from ._qconfig import QConfig as QConfig
from ._qconfig import QConfigAny as QConfigAny
from ._qconfig import QConfigDynamic as QConfigDynamic
from ._qconfig import assert_valid_qconfig as assert_valid_qconfig
from ._qconfig import qconfig_equals as qconfig_equals
from ._qconfig_mapping import QConfigMapping as QConfigMapping
from ._running import RangeObserver as RangeObserver
from ._running import RunningObserver as RunningObserver
from ._stubs import DeQuantStub as DeQuantStub
from ._stubs import QuantStub as QuantStub
from ._stubs import QuantWrapper as QuantWrapper
from ._stubs import add_quant_dequant as add_quant_dequant
from ._sync import sync as sync

__version__ = "0.1.0"
