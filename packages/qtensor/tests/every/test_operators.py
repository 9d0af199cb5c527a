"""What holds for every operator: one result, whatever computes it and however its inputs lie."""

import copy

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map_only

from qtensor import _isa

from .kernels import assert_same, isa, tensors
from .operators import examples, registered

# Sums of floats: kernel and plain torch take them in different orders.
TOLERANCES = {"linear_weight_only": 1e-5, "embedding_bag": 1e-6}


def _strided(tensor: Tensor) -> Tensor:
    """The same values, none next to each other, dimensions in reversed order."""
    wide = torch.zeros(*reversed(tensor.shape), 2, dtype=tensor.dtype)
    view = wide[..., 1].permute(tuple(reversed(range(tensor.dim()))))
    return view.copy_(tensor)


def _unaligned(tensor: Tensor) -> Tensor:
    """The same values in the same order, one element behind where memory was allocated."""
    wide = torch.zeros(tensor.numel() + 1, dtype=tensor.dtype)
    return wide[1:].view(tensor.shape).copy_(tensor)


LAYOUTS = {"as given": lambda tensor: tensor, "strided": _strided, "unaligned": _unaligned}

each_example = pytest.mark.parametrize("example", examples(), ids=str)
each_layout = pytest.mark.parametrize("layout", LAYOUTS)


def _mapped(function, arguments):
    """``arguments`` with ``function`` of each tensor, also of those in lists."""
    return tree_map_only(Tensor, function, arguments)


def test_every_operator_has_examples():
    assert {example.operator for example in examples()} == registered()


@each_example
@each_layout
def test_the_plain_torch_path_equals_the_kernel(example, layout):
    arguments = _mapped(LAYOUTS[layout], example.arguments)
    result, expected = example.op(*arguments), example.reference(*arguments)
    if example.operator in TOLERANCES:
        tolerance = TOLERANCES[example.operator]
        torch.testing.assert_close(result, expected, rtol=tolerance, atol=tolerance)
    else:
        assert_same(result, expected)
    assert_same(result, example.op(*example.arguments), strides=False)


@each_example
def test_every_instruction_set_equals_scalar(example):
    with isa("scalar"):
        expected = example.op(*example.arguments)
    for name in _isa.available():
        with isa(name):
            assert_same(example.op(*example.arguments), expected)


@each_example
@each_layout
def test_meta_and_fake_tensors_tell_the_truth(example, layout):
    arguments = _mapped(LAYOUTS[layout], example.arguments)
    expected = tensors(example.op(*arguments))
    with FakeTensorMode() as mode:
        fake = example.op(*_mapped(mode.from_tensor, arguments))
    meta = example.op(*_mapped(_on_meta, arguments))
    for results in (tensors(fake), tensors(meta)):
        for one, other in zip(results, expected, strict=True):
            assert (one.dtype, one.shape) == (other.dtype, other.shape)
            assert one.stride() == other.stride()


def _on_meta(tensor: Tensor) -> Tensor:
    """Nothing, of the tensor's dtype, shape and strides; ``Tensor.to`` may change the strides."""
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


@each_example
def test_torch_finds_the_registration_sound(example):
    tests = ("test_schema", "test_faketensor", "test_autograd_registration")
    torch.library.opcheck(example.op, example.arguments, test_utils=tests)


@each_example
def test_inputs_are_not_written_to(example):
    before = copy.deepcopy(example.arguments)
    example.op(*example.arguments)
    for given, kept in zip(tree_leaves(example.arguments), tree_leaves(before), strict=True):
        if isinstance(given, Tensor):
            assert_same(given, kept)
