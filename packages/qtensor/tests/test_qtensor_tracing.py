"""Functions on quantized tensors where torch traces, transforms, or computes shapes only."""

import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qtensor

SHAPE = (2, 8, 8, 8)


@pytest.fixture(autouse=True)
def no_fallback():
    torch._dynamo.reset()
    with qtensor.fallback("error"):
        yield


class Images(nn.Module):
    """Whatever keeps the parameters of images."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.MaxPool2d(2, 2, 0),
            nn.AvgPool2d(3, 1, 1),
            nn.Upsample(scale_factor=2),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.PixelShuffle(2),
            nn.PixelUnshuffle(2),
            nn.ChannelShuffle(2),
            nn.Dropout(),
            nn.AdaptiveAvgPool2d(3),
            nn.AdaptiveMaxPool2d(2),
            nn.ZeroPad2d(1),
            nn.ReplicationPad2d(1),
            nn.ReflectionPad2d(1),
            nn.CircularPad2d(1),
        )

    def forward(self, x):
        q = qtensor.quantize_per_tensor(x, 0.03, 100, qtensor.quint8)
        return torch.mean(self.layers(q), (2, 3)).dequantize()


class Writes(nn.Module):
    """Whatever writes into a quantized tensor."""

    def forward(self, x):
        q = qtensor.quantize_per_tensor(x, 0.03, 100, qtensor.quint8)
        q[:, 0] = 0.5
        q.add_(0.3)
        q.masked_fill_(torch.zeros(8, dtype=torch.bool), 1.0)
        q.mul_(q)
        q[0] = q[1]
        return q.dequantize()


class PerChannel(nn.Module):
    """What is quantized per channel."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scales", torch.linspace(0.01, 0.08, 8))
        self.register_buffer("zeros", torch.arange(8))

    def forward(self, x):
        q = qtensor.quantize_per_channel(x, self.scales, self.zeros, 1, qtensor.quint8)
        return q.transpose(1, 3).dequantize()


class Buffers(nn.Module):
    """What was quantized before."""

    def __init__(self):
        super().__init__()
        scales, zeros = torch.linspace(0.01, 0.08, 8), torch.arange(8)
        weight = qtensor.quantize_per_channel(torch.randn(8, 8), scales, zeros, 0, qtensor.qint8)
        self.register_buffer("weight", weight)
        self.register_buffer("more", qtensor.quantize_per_tensor(scales, 0.1, 0, qtensor.quint8))

    def forward(self, x):
        return x @ self.weight.dequantize() + self.more.dequantize()


MODULES = [Images, Writes, PerChannel, Buffers]


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("module", MODULES)
def test_compile(module, backend):
    model, x = module().eval(), torch.randn(SHAPE)
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    assert torch.equal(compiled(x), model(x))


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_layers_that_differ_in_numbers_compile_one_by_one(backend):
    """From the second on, the compiler takes their numbers for inputs of the graph."""
    q = qtensor.quantize_per_tensor(torch.randn(SHAPE), 0.05, 3, qtensor.quint8)
    for scale, zero_point in ((0.05, 10), (0.07, 12), (0.09, 9)):
        layer = qtensor.nn.quantized.Hardswish(scale, zero_point)
        result = torch.compile(layer, fullgraph=True, backend=backend)(q)
        assert result.qparams == layer(q).qparams
        assert torch.equal(result.int_repr(), layer(q).int_repr())


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("module", MODULES)
def test_export(module, strict):
    model, x = module().eval(), torch.randn(SHAPE)
    batch = torch.export.Dim("batch", min=2, max=64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about its own parts
        program = torch.export.export(model, (x,), strict=strict, dynamic_shapes=({0: batch},))
    other = torch.randn(5, *SHAPE[1:])
    assert torch.equal(program.module()(other), model(other))


FUNCTIONS = {
    "max_pool": lambda x: F.max_pool2d(x, 2),
    "avg_pool": lambda x: F.avg_pool2d(x, 3, 1, 1),
    "adaptive_avg_pool": lambda x: F.adaptive_avg_pool2d(x, 2),
    "adaptive_max_pool": lambda x: F.adaptive_max_pool2d(x, 2),
    "mean": lambda x: x.mean((2, 3)),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "bilinear": lambda x: F.interpolate(x, (3, 3), mode="bilinear"),
    "pad": lambda x: F.pad(x, (1, 1)),
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "softmax": lambda x: torch.softmax(x, 1),
    "cat": lambda x: torch.cat([x, x]),
    "add": lambda x: qtensor.ops.add(x, x, 0.1, 3),
    "fill_": lambda x: x.clone().fill_(1.0),
    "add_": lambda x: x.clone().add_(1.0),
    "eq": lambda x: x == 1,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_on_the_meta_device(name):
    q = qtensor.quantize_per_tensor(torch.randn(SHAPE), 0.03, 100, qtensor.quint8)
    expected, result = FUNCTIONS[name](q), FUNCTIONS[name](q.to("meta"))
    assert result.device.type == "meta"
    assert (result.shape, result.stride()) == (expected.shape, expected.stride())


def test_transforms():
    q = qtensor.quantize_per_tensor(torch.randn(SHAPE), 0.03, 100, qtensor.quint8)
    relu = torch.vmap(torch.relu)(q)
    assert torch.equal(relu.dequantize(), torch.relu(q).dequantize())
    assert torch.equal(torch.func.functionalize(torch.relu)(q), torch.relu(q))
    with pytest.raises(RuntimeError, match="derivative for dequantize is not implemented"):
        torch.func.grad(lambda x: torch.relu(x).dequantize().sum())(q)
    with qtensor.fallback("silent"):
        pooled = torch.vmap(lambda x: F.max_pool2d(x, 2))(q)
    assert torch.equal(pooled, F.max_pool2d(q.dequantize(), 2))
