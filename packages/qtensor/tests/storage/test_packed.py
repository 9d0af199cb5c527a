"""Dtypes of less than 8 bits: packed inside, plain integers outside."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import qtensor
from qtensor import QParams, QTensor
from qtensor._ops.pack_bits import pack_bits, unpack_bits

DTYPES = [qtensor.quint4x2, qtensor.quint2x4, qtensor.qint4]
shapes = st.lists(st.integers(0, 9), max_size=3).map(tuple)


def example(dtype=qtensor.quint4x2, shape=(3, 7)) -> QTensor:
    torch.manual_seed(0)
    return qtensor.quantize_per_tensor(torch.randn(shape) * 2, 0.5, 1, dtype)


def packed_by_hand(rows: np.ndarray, bits: int) -> list[list[int]]:
    per_byte = 8 // bits
    return [
        [
            sum(
                (int(v) % 2**bits) << (i * bits)
                for i, v in enumerate(row[start : start + per_byte])
            )
            for start in range(0, len(row), per_byte)
        ]
        for row in rows
    ]


@given(st.integers(0, 2**32 - 1), st.integers(0, 4), st.integers(0, 20), st.sampled_from(DTYPES))
def test_layout(seed, rows, columns, dtype):
    rng = np.random.default_rng(seed)
    values = rng.integers(dtype.quant_min, dtype.quant_max, (rows, columns), endpoint=True)
    integers = torch.tensor(values).to(dtype.storage)
    packed = pack_bits(integers, dtype.bits)
    assert packed.tolist() == packed_by_hand(values, dtype.bits)
    assert torch.equal(unpack_bits(packed, dtype.bits, (rows, columns), dtype.storage), integers)


@given(shapes, st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
def test_values(shape, dtype, seed):
    x = torch.tensor(np.random.default_rng(seed).normal(0, 4, shape), dtype=torch.float32)
    q = qtensor.quantize_per_tensor(x, 0.5, 1, dtype)
    expected = np.clip(np.rint(x.numpy() / 0.5) + 1, dtype.quant_min, dtype.quant_max)
    assert q.qdtype == dtype
    assert q.shape == x.shape
    assert q.numel() == x.numel()
    assert q.int_repr().dtype == dtype.storage
    np.testing.assert_array_equal(q.int_repr().numpy(), expected)
    np.testing.assert_array_equal(q.dequantize().numpy(), (expected - 1) * 0.5)


def test_memory():
    q = example(shape=(10, 100))
    assert q._packed.numel() == 10 * 50
    assert q._packed.dtype == torch.uint8


@pytest.mark.parametrize("zero_points", [torch.tensor([1, 2, 3]), torch.tensor([0.5, 7.25, 3.0])])
def test_per_channel(zero_points):
    x, scales = torch.randn(3, 7), torch.tensor([0.1, 0.2, 0.3])
    q = qtensor.quantize_per_channel(x, scales, zero_points, 0, qtensor.quint4x2)
    wide = qtensor.quantize_per_channel(x, scales, zero_points, 0, qtensor.quint8, 0, 15)
    assert torch.equal(q.int_repr(), wide.int_repr())
    assert torch.equal(q.dequantize(), wide.dequantize())
    assert q.t().q_per_channel_axis() == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_of_the_integers(dtype):
    q = example(dtype)
    for function in (
        lambda t: t[1:, 2:],
        lambda t: t.reshape(-1),
        torch.t,
        torch.clone,
        lambda t: torch.cat([t, t]),
        torch.relu,
        lambda t: t.amax(),
    ):
        result = function(q)
        assert result.qdtype == dtype
        assert torch.equal(result.dequantize(), function(q.dequantize()))


def test_writing_is_an_error():
    q = example()
    before = q.int_repr()
    for write in (
        lambda: q.fill_(1.0),
        lambda: q.zero_(),
        lambda: q.copy_(q),
        lambda: q.relu_(),
        lambda: q.clamp_(0, 1),
        lambda: q[0].fill_(1.0),
        lambda: q.__setitem__(0, 1.0),
    ):
        with pytest.raises(NotImplementedError, match="quint4x2 holds several integers to a byte"):
            write()
    assert torch.equal(q.int_repr(), before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_copies_and_files(dtype):
    q = example(dtype)
    buffer = io.BytesIO()
    torch.save({"w": q}, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=True)["w"]
    for other in (copy.deepcopy(q), pickle.loads(pickle.dumps(q)), loaded, q.to("cpu")):
        assert type(other) is type(q)
        assert other.qparams == q.qparams
        assert torch.equal(other.int_repr(), q.int_repr())
    assert q.to("meta").int_repr().shape == q.shape


@pytest.mark.parametrize("strict", [True, False])
def test_exported(strict):
    class Model(torch.nn.Module):
        def forward(self, x):
            return qtensor.quantize_per_tensor(x, 0.5, 1, qtensor.qint4).reshape(-1).dequantize()

    x = torch.randn(3, 7)
    program = torch.export.export(Model(), (x,), strict=strict)
    assert torch.equal(program.module()(x), Model()(x))


def test_compiled():
    q = example()
    compiled = torch.compile(lambda q: (q.reshape(-1), q.dequantize() + 1), backend="aot_eager")
    flat, plus = compiled(q)
    assert torch.equal(flat.int_repr(), q.int_repr().reshape(-1))
    assert torch.equal(plus, q.dequantize() + 1)


def test_names_of_torch_are_accepted():
    if not hasattr(torch, "quint4x2"):
        pytest.skip("this torch has no quantized dtypes")
    assert qtensor.as_qdtype(torch.quint4x2) is qtensor.quint4x2
    assert qtensor.as_qdtype(torch.uint8) is qtensor.quint8  # storage alone means 8 bits


def test_ranges_are_those_of_the_dtype():
    with pytest.raises(ValueError, match="within -8 … 7 of "):
        QParams(0.1, 0, qtensor.qint4, quant_max=8)
    with pytest.raises(TypeError, match=r"a cast, .to\(torch.float16\), needs no parameters"):
        qtensor.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.float16)
