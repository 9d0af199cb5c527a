"""Batch norm against the requantization in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtensor._ops import batch_norm

from .common import CHANNELS, activations, check_operator, generators, on_every_isa, requantized
from .test_conv import layouts

OPERATORS = (batch_norm.batch_norm1d, batch_norm.batch_norm2d, batch_norm.batch_norm3d)
dtypes = st.sampled_from([torch.uint8, torch.int8])


@given(generators, st.integers(1, 3), CHANNELS, dtypes, dtypes, st.sampled_from([None, 0.0]))
def test_batch_norm(rng, axes, channels, dtype, output_dtype, lowest):
    input = activations(rng, (2, channels, *rng.integers(1, 6, axes)), "random", dtype)
    weight, bias, mean = (torch.from_numpy(rng.normal(size=channels)).float() for _ in range(3))
    var = torch.from_numpy(rng.uniform(0, 4, channels)).float()
    info = torch.iinfo(output_dtype)
    output = (0.05, 10, info.min, info.max)
    factors = weight.double() / (var.double() + 1e-5).sqrt()
    expected = requantized(
        np.moveaxis(input.numpy().astype(np.int64) - 3, 1, -1), 0.1, factors.float(),
        (bias.double() - mean.double() * factors).float(), *output, lowest,
    )  # fmt: skip
    for image in layouts(input):
        arguments = (image, 0.1, 3, weight, bias, mean, var, 1e-5, *output, output_dtype, lowest)
        result = on_every_isa(OPERATORS[axes - 1], *arguments)
        np.testing.assert_array_equal(np.moveaxis(result.numpy(), 1, -1), expected)
    assert torch.equal(result, OPERATORS[axes - 1].reference(*arguments))


IMAGE = torch.zeros(1, 4, 5, 5, dtype=torch.uint8)
GOOD = (IMAGE, 0.1, 3, *[torch.ones(4)] * 4, 1e-5, 0.1, 3, 0, 255)


def test_torch_knows_the_operator():
    check_operator(batch_norm.batch_norm2d, (*GOOD, torch.uint8))


def test_changed_statistics_are_noticed():
    mean = torch.zeros(4)
    arguments = (*GOOD[:5], mean, *GOOD[6:], torch.uint8)
    before = batch_norm.batch_norm2d(*arguments)
    mean.sub_(1)
    after = batch_norm.batch_norm2d(*arguments)
    assert torch.equal(after, batch_norm.batch_norm2d.reference(*arguments))
    assert not torch.equal(after, before)


@pytest.mark.parametrize(
    ("index", "value", "error", "message"),
    [
        (0, torch.zeros(1, 4, 5, 5), TypeError, "uint8 or int8 input"),
        (0, torch.zeros(4, 5, 5, dtype=torch.uint8), TypeError, "of 4 dimensions"),
        (5, torch.ones(3), ValueError, r"mean of shape \(4,\)"),
        (6, torch.ones(4).double(), TypeError, "float32 var"),
    ],
)
def test_bad_arguments(index, value, error, message):
    arguments = [*GOOD, torch.uint8]
    arguments[index] = value
    with pytest.raises(error, match=message):
        batch_norm.batch_norm2d(*arguments)
