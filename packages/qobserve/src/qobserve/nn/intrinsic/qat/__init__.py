"""Layers fused with a batch norm or an activation, that train with fake-quantized weights."""

from ._batch_norm import freeze_bn_stats as freeze_bn_stats
from ._batch_norm import update_bn_stats as update_bn_stats
from ._conv import ConvBn1d as ConvBn1d
from ._conv import ConvBn2d as ConvBn2d
from ._conv import ConvBn3d as ConvBn3d
from ._conv import ConvBnReLU1d as ConvBnReLU1d
from ._conv import ConvBnReLU2d as ConvBnReLU2d
from ._conv import ConvBnReLU3d as ConvBnReLU3d
from ._conv import ConvReLU1d as ConvReLU1d
from ._conv import ConvReLU2d as ConvReLU2d
from ._conv import ConvReLU3d as ConvReLU3d
from ._linear import LinearBn1d as LinearBn1d
from ._linear import LinearReLU as LinearReLU
