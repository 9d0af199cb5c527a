"""The quantization workflows people call: eager and FX, with reports. See README.md."""

from ._quantize_model import quantize_model as quantize_model
from ._report import LayerReport as LayerReport
from ._report import Report as Report
from .backend_config import BackendConfig as BackendConfig
from .backend_config import BackendPatternConfig as BackendPatternConfig
from .backend_config import DTypeConfig as DTypeConfig
from .backend_config import DTypeWithConstraints as DTypeWithConstraints
from .backend_config import ObservationType as ObservationType
from .backend_config import get_backend_config as get_backend_config
from .backend_config import get_fbgemm_backend_config as get_fbgemm_backend_config
from .backend_config import get_native_backend_config as get_native_backend_config
from .backend_config import get_onednn_backend_config as get_onednn_backend_config
from .backend_config import get_qnnpack_backend_config as get_qnnpack_backend_config
from .backend_config import get_x86_backend_config as get_x86_backend_config
from .fake_quantize import FakeQuantize as FakeQuantize
from .fake_quantize import FakeQuantizeBase as FakeQuantizeBase
from .fake_quantize import FixedQParamsFakeQuantize as FixedQParamsFakeQuantize
from .fake_quantize import FusedMovingAvgObsFakeQuantize as FusedMovingAvgObsFakeQuantize
from .fake_quantize import (
    default_affine_fixed_qparams_fake_quant as default_affine_fixed_qparams_fake_quant,
)
from .fake_quantize import default_dynamic_fake_quant as default_dynamic_fake_quant
from .fake_quantize import default_embedding_fake_quant as default_embedding_fake_quant
from .fake_quantize import default_embedding_fake_quant_4bit as default_embedding_fake_quant_4bit
from .fake_quantize import default_fake_quant as default_fake_quant
from .fake_quantize import (
    default_fixed_qparams_range_0to1_fake_quant as default_fixed_qparams_range_0to1_fake_quant,
)
from .fake_quantize import (
    default_fixed_qparams_range_neg1to1_fake_quant as default_fixed_qparams_range_neg1to1_fake_quant,  # noqa: E501  # one long name
)
from .fake_quantize import default_fused_act_fake_quant as default_fused_act_fake_quant
from .fake_quantize import (
    default_fused_per_channel_wt_fake_quant as default_fused_per_channel_wt_fake_quant,
)
from .fake_quantize import default_fused_wt_fake_quant as default_fused_wt_fake_quant
from .fake_quantize import default_histogram_fake_quant as default_histogram_fake_quant
from .fake_quantize import (
    default_per_channel_weight_fake_quant as default_per_channel_weight_fake_quant,
)
from .fake_quantize import (
    default_symmetric_fixed_qparams_fake_quant as default_symmetric_fixed_qparams_fake_quant,
)
from .fake_quantize import default_weight_fake_quant as default_weight_fake_quant
from .fake_quantize import disable_fake_quant as disable_fake_quant
from .fake_quantize import disable_observer as disable_observer
from .fake_quantize import enable_fake_quant as enable_fake_quant
from .fake_quantize import enable_observer as enable_observer
from .fake_quantize import (
    fused_per_channel_wt_fake_quant_range_neg_127_to_127 as fused_per_channel_wt_fake_quant_range_neg_127_to_127,  # noqa: E501  # one long name
)
from .fake_quantize import (
    fused_wt_fake_quant_range_neg_127_to_127 as fused_wt_fake_quant_range_neg_127_to_127,
)
from .fuse_modules import fuse_modules as fuse_modules
from .fuse_modules import fuse_modules_qat as fuse_modules_qat
from .observer import AffineQuantizedObserverBase as AffineQuantizedObserverBase
from .observer import FixedQParamsObserver as FixedQParamsObserver
from .observer import Granularity as Granularity
from .observer import HistogramObserver as HistogramObserver
from .observer import MappingType as MappingType
from .observer import MinMaxObserver as MinMaxObserver
from .observer import MovingAverageMinMaxObserver as MovingAverageMinMaxObserver
from .observer import MovingAveragePerChannelMinMaxObserver as MovingAveragePerChannelMinMaxObserver
from .observer import NoopObserver as NoopObserver
from .observer import ObserverBase as ObserverBase
from .observer import PerAxis as PerAxis
from .observer import PerBlock as PerBlock
from .observer import PerChannelMinMaxObserver as PerChannelMinMaxObserver
from .observer import PerGroup as PerGroup
from .observer import PerRow as PerRow
from .observer import PerTensor as PerTensor
from .observer import PerToken as PerToken
from .observer import PlaceholderObserver as PlaceholderObserver
from .observer import RecordingObserver as RecordingObserver
from .observer import ReuseInputObserver as ReuseInputObserver
from .observer import TorchAODType as TorchAODType
from .observer import UniformQuantizationObserverBase as UniformQuantizationObserverBase
from .observer import ZeroPointDomain as ZeroPointDomain
from .observer import default_affine_fixed_qparams_observer as default_affine_fixed_qparams_observer
from .observer import default_debug_observer as default_debug_observer
from .observer import default_dynamic_quant_observer as default_dynamic_quant_observer
from .observer import (
    default_fixed_qparams_range_0to1_observer as default_fixed_qparams_range_0to1_observer,
)
from .observer import (
    default_fixed_qparams_range_neg1to1_observer as default_fixed_qparams_range_neg1to1_observer,
)
from .observer import default_float_qparams_observer as default_float_qparams_observer
from .observer import default_float_qparams_observer_4bit as default_float_qparams_observer_4bit
from .observer import default_histogram_observer as default_histogram_observer
from .observer import default_observer as default_observer
from .observer import default_per_channel_weight_observer as default_per_channel_weight_observer
from .observer import default_placeholder_observer as default_placeholder_observer
from .observer import default_reuse_input_observer as default_reuse_input_observer
from .observer import (
    default_symmetric_fixed_qparams_observer as default_symmetric_fixed_qparams_observer,
)
from .observer import default_weight_observer as default_weight_observer
from .observer import get_block_size as get_block_size
from .observer import get_observer_state_dict as get_observer_state_dict
from .observer import load_observer_state_dict as load_observer_state_dict
from .observer import (
    per_channel_weight_observer_range_neg_127_to_127 as per_channel_weight_observer_range_neg_127_to_127,  # noqa: E501  # one long name
)
from .observer import weight_observer_range_neg_127_to_127 as weight_observer_range_neg_127_to_127
from .qconfig import QConfig as QConfig
from .qconfig import QConfigAny as QConfigAny
from .qconfig import QConfigDynamic as QConfigDynamic
from .qconfig import default_activation_only_qconfig as default_activation_only_qconfig
from .qconfig import default_debug_qconfig as default_debug_qconfig
from .qconfig import default_dynamic_qat_qconfig as default_dynamic_qat_qconfig
from .qconfig import default_dynamic_qconfig as default_dynamic_qconfig
from .qconfig import default_embedding_qat_qconfig as default_embedding_qat_qconfig
from .qconfig import default_embedding_qat_qconfig_4bit as default_embedding_qat_qconfig_4bit
from .qconfig import default_per_channel_qconfig as default_per_channel_qconfig
from .qconfig import (
    default_per_channel_symmetric_qnnpack_qat_qconfig as default_per_channel_symmetric_qnnpack_qat_qconfig,  # noqa: E501  # one long name
)
from .qconfig import (
    default_per_channel_symmetric_qnnpack_qconfig as default_per_channel_symmetric_qnnpack_qconfig,
)
from .qconfig import default_qat_qconfig as default_qat_qconfig
from .qconfig import default_qat_qconfig_v2 as default_qat_qconfig_v2
from .qconfig import default_qconfig as default_qconfig
from .qconfig import default_quint8_weight_qconfig as default_quint8_weight_qconfig
from .qconfig import default_reuse_input_qconfig as default_reuse_input_qconfig
from .qconfig import default_symmetric_qnnpack_qat_qconfig as default_symmetric_qnnpack_qat_qconfig
from .qconfig import default_symmetric_qnnpack_qconfig as default_symmetric_qnnpack_qconfig
from .qconfig import default_weight_only_qconfig as default_weight_only_qconfig
from .qconfig import float16_dynamic_qconfig as float16_dynamic_qconfig
from .qconfig import float16_static_qconfig as float16_static_qconfig
from .qconfig import float_qparams_weight_only_qconfig as float_qparams_weight_only_qconfig
from .qconfig import (
    float_qparams_weight_only_qconfig_4bit as float_qparams_weight_only_qconfig_4bit,
)
from .qconfig import get_default_qat_qconfig as get_default_qat_qconfig
from .qconfig import get_default_qat_qconfig_dict as get_default_qat_qconfig_dict
from .qconfig import get_default_qconfig as get_default_qconfig
from .qconfig import get_default_qconfig_dict as get_default_qconfig_dict
from .qconfig import per_channel_dynamic_qconfig as per_channel_dynamic_qconfig
from .qconfig import qconfig_equals as qconfig_equals
from .qconfig_mapping import QConfigMapping as QConfigMapping
from .qconfig_mapping import get_default_qat_qconfig_mapping as get_default_qat_qconfig_mapping
from .qconfig_mapping import get_default_qconfig_mapping as get_default_qconfig_mapping
from .quant_type import QuantType as QuantType
from .quantize import add_quant_dequant as add_quant_dequant
from .quantize import convert as convert
from .quantize import get_default_custom_config_dict as get_default_custom_config_dict
from .quantize import prepare as prepare
from .quantize import prepare_qat as prepare_qat
from .quantize import propagate_qconfig_ as propagate_qconfig_
from .quantize import quantize as quantize
from .quantize import quantize_dynamic as quantize_dynamic
from .quantize import quantize_qat as quantize_qat
from .quantize import swap_module as swap_module
from .quantize_fx import ConvertCustomConfig as ConvertCustomConfig
from .quantize_fx import FuseCustomConfig as FuseCustomConfig
from .quantize_fx import PrepareCustomConfig as PrepareCustomConfig
from .quantize_fx import UntraceableError as UntraceableError
from .quantize_fx import convert_fx as convert_fx
from .quantize_fx import convert_to_reference_fx as convert_to_reference_fx
from .quantize_fx import fuse_fx as fuse_fx
from .quantize_fx import prepare_fx as prepare_fx
from .quantize_fx import prepare_qat_fx as prepare_qat_fx
from .stubs import DeQuantStub as DeQuantStub
from .stubs import QuantStub as QuantStub
from .stubs import QuantWrapper as QuantWrapper

__version__ = "0.1.0"
