"""Quantized models for the tests of modules, export and contexts."""

import torch
import torch.nn.functional as F
from torch import nn

import qtensor
from qtensor import nn as qnn
from qtensor import ops


def random_weight(*shape, seed=0):
    """A qint8 weight quantized per output channel."""
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) / 4
    scales = weight.flatten(1).abs().amax(1) / 127
    zero_points = torch.zeros(shape[0], dtype=torch.int64)
    return qtensor.quantize_per_channel(weight, scales, zero_points, 0, qtensor.qint8)


def filled(layer, scale=0.05, zero_point=0, seed=0):
    """``layer`` with a random weight and bias, and output parameters where it has them."""
    out = layer.qweight.shape[0]
    bias = torch.randn(out, generator=torch.Generator().manual_seed(seed + 1))
    layer.set_weight_bias(random_weight(*layer.qweight.shape, seed=seed), bias)
    if hasattr(layer, "output_qparams"):
        layer.scale, layer.zero_point = scale, zero_point
    return layer


class ResidualNet(nn.Module):
    """Every kind of quantized module, and functions of torch on quantized tensors."""

    def __init__(self):
        super().__init__()
        self.quant = qnn.quantized.Quantize(0.05, 128, qtensor.quint8)
        self.stem = filled(qnn.intrinsic.quantized.ConvReLU2d(3, 8, 3, padding=1), seed=2)
        self.pool = nn.MaxPool2d(2)
        self.block = filled(qnn.intrinsic.quantized.ConvAddReLU2d(8, 8, 3, padding=1), 0.1, seed=3)
        self.depthwise = filled(qnn.quantized.Conv2d(8, 8, 3, groups=8), 0.1, 100, seed=4)
        self.dropout = nn.Dropout()
        self.fc = filled(qnn.quantized.Linear(8, 5), 0.02, 120, seed=5)
        self.dequant = qnn.quantized.DeQuantize()
        self.head = filled(qnn.intrinsic.quantized.dynamic.LinearReLU(5, 4), seed=6)

    def forward(self, x):
        x = self.pool(self.stem(self.quant(x)))
        x = ops.add(self.block(x, x), x, 0.15, 3)
        x = F.relu6(self.depthwise(F.hardtanh(x, 0.0, 4.0)))
        x = torch.cat([x[:, :4], x[:, 4:]], 1)
        x = F.adaptive_avg_pool2d(F.avg_pool2d(x, 2), 1)
        x = self.dropout(torch.flatten(x, 1)).reshape(x.shape[0], -1)
        return self.head(self.dequant(self.fc(x)))


def images(batch=2, seed=7):
    """Float input of :class:`ResidualNet`."""
    return torch.randn(batch, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
