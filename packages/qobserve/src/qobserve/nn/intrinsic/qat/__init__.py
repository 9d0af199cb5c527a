"""Layers fused with a batch norm or an activation, that train with fake-quantized weights."""

from ._batch_norm import freeze_bn_stats as freeze_bn_stats
from ._batch_norm import update_bn_stats as update_bn_stats
from ._conv import ConvBn2d as ConvBn2d
from ._conv import ConvBnReLU2d as ConvBnReLU2d
from ._conv import ConvReLU2d as ConvReLU2d
from ._linear import LinearBn1d as LinearBn1d
from ._linear import LinearReLU as LinearReLU
