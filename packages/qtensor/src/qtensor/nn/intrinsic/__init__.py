"""Float layers kept together to be quantized as one."""

from . import quantized as quantized
from ._fused import BNReLU2d as BNReLU2d
from ._fused import BNReLU3d as BNReLU3d
from ._fused import ConvAdd2d as ConvAdd2d
from ._fused import ConvAddReLU2d as ConvAddReLU2d
from ._fused import ConvBn1d as ConvBn1d
from ._fused import ConvBn2d as ConvBn2d
from ._fused import ConvBn3d as ConvBn3d
from ._fused import ConvBnReLU1d as ConvBnReLU1d
from ._fused import ConvBnReLU2d as ConvBnReLU2d
from ._fused import ConvBnReLU3d as ConvBnReLU3d
from ._fused import ConvHardtanh1d as ConvHardtanh1d
from ._fused import ConvHardtanh2d as ConvHardtanh2d
from ._fused import ConvHardtanh3d as ConvHardtanh3d
from ._fused import ConvReLU1d as ConvReLU1d
from ._fused import ConvReLU2d as ConvReLU2d
from ._fused import ConvReLU3d as ConvReLU3d
from ._linear import LinearAdd as LinearAdd
from ._linear import LinearAddReLU as LinearAddReLU
from ._linear import LinearBn1d as LinearBn1d
from ._linear import LinearGELU as LinearGELU
from ._linear import LinearHardtanh as LinearHardtanh
from ._linear import LinearLeakyReLU as LinearLeakyReLU
from ._linear import LinearReLU as LinearReLU
from ._linear import LinearTanh as LinearTanh
