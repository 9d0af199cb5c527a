"""Quantized layers with what follows them fused in."""

from . import dynamic as dynamic
from ._linear import LinearAdd as LinearAdd
from ._linear import LinearAddReLU as LinearAddReLU
from ._linear import LinearGELU as LinearGELU
from ._linear import LinearHardtanh as LinearHardtanh
from ._linear import LinearLeakyReLU as LinearLeakyReLU
from ._linear import LinearReLU as LinearReLU
from ._linear import LinearTanh as LinearTanh
from ._modules import ConvAdd2d as ConvAdd2d
from ._modules import ConvAddReLU2d as ConvAddReLU2d
from ._modules import ConvHardtanh2d as ConvHardtanh2d
from ._modules import ConvReLU2d as ConvReLU2d
