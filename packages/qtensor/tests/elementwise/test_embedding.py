"""Embedding lookup against NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtensor._ops.embedding import embedding, embedding_reference
from qtensor._ops.quantize import dequantize_per_channel

from .common import SIZES, check_operator, generators, integers, layouts, on_every_isa, shapes


def table_of(rng, rows, dimension):
    weight = integers(rng, (rows, dimension), torch.uint8)
    scales = torch.tensor(np.exp2(rng.uniform(-30, 30, rows)).astype(np.float32))
    zero_points = torch.tensor(rng.uniform(-10, 300, rows).astype(np.float32))
    return weight, scales, zero_points


@given(
    generators,
    shapes(3),
    st.integers(1, 50),
    SIZES,
    st.sampled_from([torch.int64, torch.int32]),
    layouts,
    layouts,
)
def test_embedding(rng, shape, rows, dimension, index_dtype, table_layout, index_layout):
    weight, scales, zero_points = table_of(rng, rows, dimension)
    indices = index_layout(torch.tensor(rng.integers(0, rows, shape)).to(index_dtype))
    args = table_layout(weight), scales, zero_points, indices
    result = on_every_isa(embedding, *args)

    named = [tensor.numpy()[indices.numpy()] for tensor in (weight, scales, zero_points)]
    difference = (named[0] - named[2][..., None].astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(result.numpy(), difference * named[1][..., None])
    assert torch.equal(result, embedding_reference(*args))


def test_it_is_the_dequantized_table():
    table = table_of(np.random.default_rng(0), 20, 50)
    rows = torch.arange(20)
    assert torch.equal(embedding(*table, rows), dequantize_per_channel(*table, 0))


def test_more_threads_give_the_same():
    table = table_of(np.random.default_rng(0), 100, 384)
    indices = torch.randint(0, 100, (9, 128))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = embedding(*table, indices)
        torch.set_num_threads(4)
        assert torch.equal(embedding(*table, indices), expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(), (0,), (3, 2)])
@pytest.mark.parametrize("index_dtype", [torch.int64, torch.int32])
def test_fake(shape, index_dtype):
    table = table_of(np.random.default_rng(0), 4, 10)
    check_operator(embedding, (*table, torch.zeros(shape, dtype=index_dtype)))


WEIGHT = torch.zeros(4, 10, dtype=torch.uint8)
GOOD = {
    "weight": WEIGHT,
    "scales": torch.ones(4),
    "zero_points": torch.zeros(4),
    "indices": torch.tensor([[0, 3]]),
}


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"indices": torch.tensor([[0, 4]])}, IndexError, r"index 4 \(position 1 .* 4 rows"),
        ({"indices": torch.tensor([-1])}, IndexError, "index -1 "),
        ({"indices": torch.tensor([2**40])}, IndexError, "index 1099511627776 "),
        ({"indices": torch.zeros(2)}, TypeError, "int64 or int32 indices, got torch.float32"),
        (
            {"weight": WEIGHT.to(torch.int8)},
            TypeError,
            "weight of dtype torch.uint8, got torch.int8",
        ),
        ({"weight": WEIGHT[0]}, ValueError, r"shape \(rows, dimension\), got shape \(10,\)"),
        ({"scales": torch.ones(3)}, ValueError, r"scales of shape \(4,\).*got shape \(3,\)"),
        ({"zero_points": torch.zeros(4).long()}, TypeError, "float32 zero_points"),
    ],
)
def test_bad_input(change, error, message):
    for call in (embedding, embedding.op):
        with pytest.raises(error, match=message):
            call(**{**GOOD, **change})


def test_an_empty_table():
    empty = torch.empty(0, 10, dtype=torch.uint8), torch.empty(0), torch.empty(0)
    assert embedding(*empty, torch.empty(0, dtype=torch.int64)).shape == (0, 10)
    with pytest.raises(IndexError, match="embedding table of 0 rows"):
        embedding(*empty, torch.tensor([0]))
