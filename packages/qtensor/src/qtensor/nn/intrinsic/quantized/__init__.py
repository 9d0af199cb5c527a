"""Quantized layers with what follows them fused in."""

from . import dynamic as dynamic
from ._batchnorm import BNReLU2d as BNReLU2d
from ._batchnorm import BNReLU3d as BNReLU3d
from ._conv import ConvAdd2d as ConvAdd2d
from ._conv import ConvAddReLU2d as ConvAddReLU2d
from ._conv import ConvHardtanh1d as ConvHardtanh1d
from ._conv import ConvHardtanh2d as ConvHardtanh2d
from ._conv import ConvHardtanh3d as ConvHardtanh3d
from ._conv import ConvReLU1d as ConvReLU1d
from ._conv import ConvReLU2d as ConvReLU2d
from ._conv import ConvReLU3d as ConvReLU3d
from ._linear import LinearAdd as LinearAdd
from ._linear import LinearAddReLU as LinearAddReLU
from ._linear import LinearGELU as LinearGELU
from ._linear import LinearHardtanh as LinearHardtanh
from ._linear import LinearLeakyReLU as LinearLeakyReLU
from ._linear import LinearReLU as LinearReLU
from ._linear import LinearTanh as LinearTanh
