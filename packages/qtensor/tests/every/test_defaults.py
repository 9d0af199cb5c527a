"""Whatever torch's default dtype and device are: kernels write to memory of their own dtype."""

from contextlib import contextmanager

import pytest
import torch

import qtensor

from .functions import functions
from .kernels import assert_same, tensors
from .modules import modules
from .operators import examples


@contextmanager
def _dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


DEFAULTS = {
    "float64": lambda: _dtype(torch.float64),
    "bfloat16": lambda: _dtype(torch.bfloat16),  # as while large models are loaded
    "meta": lambda: torch.device("meta"),
}
each_default = pytest.mark.parametrize("default", DEFAULTS)


def _same_under(default, call):
    with DEFAULTS[default]():  # first, so that what is remembered is made there
        result = tensors(call())
    for a, b in zip(result, tensors(call()), strict=True):
        assert a.device.type == "cpu"
        assert_same(qtensor.dequantize(a), qtensor.dequantize(b))


@each_default
@pytest.mark.parametrize("example", examples(), ids=str)
def test_operators(example, default):
    with DEFAULTS[default]():
        result = tensors(example.op(*example.arguments))
    for a, b in zip(result, tensors(example.op(*example.arguments)), strict=True):
        assert a.device.type == "cpu"
        assert_same(a, b)


@each_default
@pytest.mark.parametrize("function", functions(), ids=str)
def test_functions(function, default):
    made = function.name == "fitting"  # of parameters, no tensor
    if not made:
        _same_under(default, lambda: function(*function.arguments))


@each_default
@pytest.mark.parametrize("module", modules(), ids=str)
def test_modules(module, default):
    layer, inputs = module.make(), module.inputs()
    _same_under(default, lambda: layer(*inputs))


@pytest.mark.parametrize(
    "make",
    [
        lambda: qtensor.nn.quantized.Linear(4, 3),
        lambda: qtensor.nn.quantized.Conv2d(4, 3, 1),
        lambda: qtensor.nn.quantized.dynamic.Linear(4, 3),
        lambda: qtensor.nn.quantized.BatchNorm2d(4),
        lambda: qtensor.nn.quantized.PReLU(0.1, 3),
        lambda: qtensor.nn.quantized.Embedding(4, 3),
    ],
)
def test_what_modules_are_made_of(make):
    expected = [value.dtype for value in make().state_dict().values()]
    with _dtype(torch.float64):
        assert [value.dtype for value in make().state_dict().values()] == expected
