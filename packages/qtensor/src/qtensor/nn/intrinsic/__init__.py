"""Float layers kept together to be quantized as one."""

from . import quantized as quantized
from ._fused import ConvAdd2d as ConvAdd2d
from ._fused import ConvAddReLU2d as ConvAddReLU2d
from ._fused import ConvBn2d as ConvBn2d
from ._fused import ConvBnReLU2d as ConvBnReLU2d
from ._fused import ConvHardtanh2d as ConvHardtanh2d
from ._fused import ConvReLU2d as ConvReLU2d
from ._fused import LinearBn1d as LinearBn1d
from ._fused import LinearHardtanh as LinearHardtanh
from ._fused import LinearReLU as LinearReLU
