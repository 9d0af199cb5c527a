"""Dynamically quantized layers with an activation fused in."""

from ._modules import LinearGELU as LinearGELU
from ._modules import LinearHardtanh as LinearHardtanh
from ._modules import LinearLeakyReLU as LinearLeakyReLU
from ._modules import LinearReLU as LinearReLU
from ._modules import LinearTanh as LinearTanh
