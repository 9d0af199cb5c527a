"""Quantized tensors, their operators, and exact int8 CPU kernels for PyTorch."""

from . import _overrides as _overrides  # gives QTensor its operators
from . import backends as backends
from . import nn as nn
from . import ops as ops
from ._call_site import warn_user as warn_user
from ._dtypes import QDType as QDType
from ._dtypes import QScheme as QScheme
from ._dtypes import as_qdtype as as_qdtype
from ._dtypes import as_qscheme as as_qscheme
from ._dtypes import per_channel_affine as per_channel_affine
from ._dtypes import per_channel_affine_float_qparams as per_channel_affine_float_qparams
from ._dtypes import per_channel_symmetric as per_channel_symmetric
from ._dtypes import per_tensor_affine as per_tensor_affine
from ._dtypes import per_tensor_symmetric as per_tensor_symmetric
from ._dtypes import qint4 as qint4
from ._dtypes import qint8 as qint8
from ._dtypes import qint32 as qint32
from ._dtypes import quint2x4 as quint2x4
from ._dtypes import quint4x2 as quint4x2
from ._dtypes import quint8 as quint8
from ._fallback import FallbackWarning as FallbackWarning
from ._fallback import fallback as fallback
from ._qparams import QParams as QParams
from ._qtensor import QTensor as QTensor
from ._quantize import dequantize as dequantize
from ._quantize import quantize_per_channel as quantize_per_channel
from ._quantize import quantize_per_tensor as quantize_per_tensor
from ._quantize import quantize_per_tensor_dynamic as quantize_per_tensor_dynamic
from ._training import (
    fake_quantize_learnable_per_channel_affine as fake_quantize_learnable_per_channel_affine,
)
from ._training import (
    fake_quantize_learnable_per_tensor_affine as fake_quantize_learnable_per_tensor_affine,
)
from ._training import fake_quantize_per_channel_affine as fake_quantize_per_channel_affine
from ._training import fake_quantize_per_tensor_affine as fake_quantize_per_tensor_affine
from ._training import fused_moving_avg_obs_fake_quant as fused_moving_avg_obs_fake_quant
from .nn.quantized._weight import repack as repack
from .ops import requantize as requantize

__version__ = "0.1.0"
