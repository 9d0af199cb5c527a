"""Operators on quantized tensors, with the argument order of the ones torch is removing.

Each takes and returns :class:`qtensor.QTensor`; the operators on plain integers below them are
``torch.ops.qtensor.*``. Where several inputs are quantized they have one dtype.
"""

from ._add import add as add
from ._add import add_relu as add_relu
from ._add import add_scalar as add_scalar
from ._add import add_to as add_to
from ._cat import cat as cat
from ._conv import conv2d as conv2d
from ._linear import linear as linear
from ._matmul import matmul as matmul
from ._mul import mul as mul
from ._mul import mul_scalar as mul_scalar
