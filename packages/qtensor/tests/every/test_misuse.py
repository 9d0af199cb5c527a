"""Bad input to every operator: an exception that says what is wrong, never a crash or garbage."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._pytree import tree_map_only

import qtensor

from .kernels import assert_same, tensors
from .operators import examples

# What plain torch would differentiate, and we do too.
DIFFERENTIABLE = {
    *("fake_quantize", "fake_quantize_backward"),
    *("fake_quantize_learnable", "fake_quant_per_channel"),
}
FLOAT_RESULTS = [
    example
    for example in examples()
    if example.operator not in DIFFERENTIABLE
    and tensors(example.op(*example.arguments))[0].is_floating_point()
    and any(isinstance(a, Tensor) and a.is_floating_point() for a in example.arguments)
]


@pytest.mark.slow
def test_no_bad_argument_crashes_or_gives_garbage():
    root = Path(__file__).parents[2]
    program = [sys.executable, "-m", "tests.every.misuse"]
    done = subprocess.run(program, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    *faults, calls = done.stdout.splitlines()
    assert not faults, "\n".join(faults)
    print(calls)
    assert int(calls.split()[0]) > 2000


def _with_gradients(arguments):
    def leaf(tensor: Tensor) -> Tensor:
        return tensor.clone().requires_grad_() if tensor.is_floating_point() else tensor

    return tree_map_only(Tensor, leaf, arguments)


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # by torch.func.jvp
@pytest.mark.parametrize("example", FLOAT_RESULTS, ids=str)
def test_backward_names_the_operator(example):
    arguments = _with_gradients(example.arguments)
    result = tensors(example.op(*arguments))[0]
    assert_same(result, tensors(example.op(*example.arguments))[0])
    name = rf"qtensor\.{example.operator}\b"
    with pytest.raises(RuntimeError, match=rf"{name}.* has no gradient"):
        result.sum().backward()
    position = next(i for i, a in enumerate(arguments) if isinstance(a, Tensor) and a.requires_grad)

    def total(value: Tensor) -> Tensor:
        given = (*arguments[:position], value, *arguments[position + 1 :])
        return tensors(example.op(*given))[0].sum()

    value = example.arguments[position]
    with pytest.raises(RuntimeError, match=rf"{name} cannot be differentiated by torch\.func"):
        torch.func.grad(total)(value)
    with pytest.raises(RuntimeError, match=rf"{name} cannot be differentiated by torch\.func"):
        torch.func.jvp(total, (value,), (value,))


def _floats(example):
    return [
        position
        for position, value in enumerate(example.arguments)
        if isinstance(value, Tensor) and value.is_floating_point()
    ]


@pytest.mark.parametrize("example", [x for x in examples() if _floats(x)], ids=str)
def test_dual_numbers_are_refused(example):
    """Whatever argument they are: the derivative would be lost without a word."""
    composite = example.operator == "fake_quant_per_channel"
    name = "fake_quantize" if composite else example.operator
    refused = rf"qtensor\.{name}\b.* cannot be differentiated in forward mode"
    for position in _floats(example):
        arguments = list(example.arguments)
        value = arguments[position]
        with forward_ad.dual_level():
            arguments[position] = forward_ad.make_dual(value, torch.ones_like(value))
            with pytest.raises(RuntimeError, match=refused):
                example.op(*arguments)


def test_dual_numbers_are_refused_by_functions_and_modules():
    x = torch.randn(3, 4)
    layer = qtensor.nn.quantized.dynamic.Linear(4, 2)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, x)
        with pytest.raises(RuntimeError, match="in DynamicQuantizedLinear cannot be diff"):
            layer(dual)
        with pytest.raises(RuntimeError, match="quantize_per_tensor cannot be differentiated in"):
            qtensor.quantize_per_tensor(dual, 0.1, 0, qtensor.qint8)
        with pytest.raises(RuntimeError, match=r"forward mode: use backward\(\)"):
            qtensor.fake_quantize_per_tensor_affine(dual, 0.1, 0, -128, 127)
        assert torch.equal(layer(x), layer(x.clone()))  # others still work there


@pytest.mark.parametrize("example", examples(), ids=str)
def test_integers_are_not_differentiable(example):
    for result in tensors(example.op(*_with_gradients(example.arguments))):
        assert result.is_floating_point() or not result.requires_grad
