"""Operators on quantized tensors, with the argument order of the ones torch is removing.

Each takes and returns :class:`qtensor.QTensor`; the operators on plain integers below them are
``torch.ops.qtensor.*``. Where several inputs are quantized they have one dtype.
"""

from ._add import add as add
from ._add import add_relu as add_relu
from ._add import add_scalar as add_scalar
from ._add import add_scalar_relu as add_scalar_relu
from ._add import add_to as add_to
from ._cat import cat as cat
from ._cat import cat_relu as cat_relu
from ._cat import cat_to as cat_to
from ._cat import stack as stack
from ._conv import conv1d as conv1d
from ._conv import conv2d as conv2d
from ._conv import conv3d as conv3d
from ._conv import conv_transpose1d as conv_transpose1d
from ._conv import conv_transpose2d as conv_transpose2d
from ._conv import conv_transpose3d as conv_transpose3d
from ._linear import linear as linear
from ._linear import linear_dynamic as linear_dynamic
from ._linear import linear_leaky_relu as linear_leaky_relu
from ._linear import linear_relu as linear_relu
from ._linear import linear_tanh as linear_tanh
from ._linear import linear_weight_only as linear_weight_only
from ._matmul import matmul as matmul
from ._matmul import matmul_to as matmul_to
from ._mean import mean as mean
from ._mul import mul as mul
from ._mul import mul_relu as mul_relu
from ._mul import mul_scalar as mul_scalar
from ._mul import mul_scalar_relu as mul_scalar_relu
from ._mul import mul_to as mul_to
from ._pool import dropout as dropout
from ._pool import max_pool1d as max_pool1d
from ._pool import max_pool2d as max_pool2d
from ._requantize import requantize as requantize
from ._unary import apply as apply
from ._unary import celu as celu
from ._unary import clamp as clamp
from ._unary import elu as elu
from ._unary import fitting as fitting
from ._unary import hardswish as hardswish
from ._unary import leaky_relu as leaky_relu
from ._unary import prelu as prelu
from ._unary import prelu_to as prelu_to
from ._unary import relu6 as relu6
from ._unary import sigmoid as sigmoid
from ._unary import softmax as softmax
from ._unary import softmax_to as softmax_to
from ._unary import threshold as threshold
