"""Quantized layers with what follows them fused in."""

from . import dynamic as dynamic
from ._modules import ConvAdd2d as ConvAdd2d
from ._modules import ConvAddReLU2d as ConvAddReLU2d
from ._modules import ConvHardtanh2d as ConvHardtanh2d
from ._modules import ConvReLU2d as ConvReLU2d
from ._modules import LinearHardtanh as LinearHardtanh
from ._modules import LinearReLU as LinearReLU
