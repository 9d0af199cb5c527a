"""Comparisons of quantized tensors, against those of their float values."""

import math
import operator

import pytest
import torch

import qtensor

COMPARISONS = ["eq", "ne", "lt", "le", "gt", "ge"]
PARAMETERS = [
    (0.1, 3, qtensor.quint8),
    (1 / 3, 255, qtensor.quint8),
    (0.7, -128, qtensor.qint8),
    (1e-3, 0, qtensor.qint8),
    (3e38, 0, qtensor.qint8),
]


@pytest.fixture(autouse=True)
def _no_fallback():
    with qtensor.fallback("error"):
        yield


def every_value(scale, zero_point, dtype):
    integers = torch.arange(dtype.quant_min, dtype.quant_max + 1).to(dtype.storage)
    return qtensor.QTensor(integers, qtensor.QParams(scale, zero_point, dtype))


@pytest.mark.parametrize("parameters", PARAMETERS)
@pytest.mark.parametrize("name", COMPARISONS)
def test_with_numbers(name, parameters):
    q = every_value(*parameters)
    values = q.dequantize()
    scale, zero_point, dtype = parameters
    written = [(i - zero_point) * scale for i in range(dtype.quant_min, dtype.quant_max, 31)]
    numbers = [*values[::17].tolist(), *written, 0, 0.05, -1e9, 1e9, math.inf, -math.inf, math.nan]
    numbers += [values.min().item(), values.max().item()]
    for number in numbers:
        expected = getattr(torch, name)(values, number)  # in float32, as torch's tensors do
        assert torch.equal(getattr(torch, name)(q, number), expected)
        assert torch.equal(getattr(q, name)(number), expected)
        assert torch.equal(getattr(operator, name)(q, number), expected)


@pytest.mark.parametrize("name", COMPARISONS)
def test_with_tensors_of_the_same_parameters(name):
    q = every_value(*PARAMETERS[0])
    other = q.flip(0)
    expected = getattr(torch, name)(q.dequantize(), other.dequantize())
    assert torch.equal(getattr(operator, name)(q, other), expected)


def test_other_tensors_are_compared_in_float():
    a, b = every_value(*PARAMETERS[0]), every_value(*PARAMETERS[1])
    with pytest.raises(NotImplementedError, match="gt has no quantized kernel"):
        torch.gt(a, b)
    with qtensor.fallback("silent"):
        assert torch.equal(a > b, a.dequantize() > b.dequantize())
        assert torch.equal(b.dequantize() > a, b.dequantize() > a.dequantize())


@pytest.mark.parametrize("strict", [True, False])
def test_export(strict):
    class Model(torch.nn.Module):
        def forward(self, x):
            return qtensor.quantize_per_tensor(x, 0.07, 10, qtensor.quint8) > 0.33

    x = torch.randn(4, 5)
    program = torch.export.export(Model(), (x,), strict=strict)
    assert torch.equal(program.module()(x), Model()(x))
