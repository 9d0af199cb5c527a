"""Bad input to every operator: an exception that says what is wrong, never a crash or garbage."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

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


@pytest.mark.parametrize("example", examples(), ids=str)
def test_integers_are_not_differentiable(example):
    for result in tensors(example.op(*_with_gradients(example.arguments))):
        assert result.is_floating_point() or not result.requires_grad
