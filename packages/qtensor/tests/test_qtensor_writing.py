"""Every way to write into a QTensor: into its own integers, with its own parameters."""

import numpy as np
import pytest
import torch

import qtensor
from qtensor import QParams, QTensor, quantize_per_channel, quantize_per_tensor

SHAPE = (3, 4)


@pytest.fixture(autouse=True)
def no_fallback():
    with qtensor.fallback("error"):
        yield


@pytest.fixture(params=[qtensor.quint8, qtensor.qint8], ids=repr)
def q(request):
    x = torch.linspace(-2, 2, 12).reshape(SHAPE)
    return quantize_per_tensor(
        x, 0.03, 100 if request.param is qtensor.quint8 else -5, request.param
    )


def channels(axis=1, zero_points=(0, 1, -3, 20)):
    scales = torch.tensor([0.1, 0.2, 0.3, 0.4])[: SHAPE[axis]]
    zeros = torch.tensor(zero_points)[: SHAPE[axis]]
    return quantize_per_channel(torch.zeros(SHAPE), scales, zeros, axis, qtensor.qint8)


INDEX = torch.tensor([[0, 1, 2, 0], [1, 1, 0, 2], [2, 0, 1, 1]])
ROWS = torch.tensor([2, 0])
MASK = INDEX == 1
VALUES = torch.linspace(-1, 1, 12).reshape(SHAPE)

WRITES = {
    "int": lambda x, v: x.__setitem__(1, v(VALUES[1])),
    "slice": lambda x, v: x.__setitem__((slice(None), slice(1, 3)), v(VALUES[:, 1:3])),
    "number": lambda x, v: x.__setitem__((0, ...), 0.7),
    "mask": lambda x, v: x.__setitem__(MASK, v(VALUES[MASK])),
    "tensors": lambda x, v: x.__setitem__((ROWS, torch.tensor([1, 3])), v(VALUES[0, :2])),
    "list": lambda x, v: x.__setitem__([2, 0], v(VALUES[:2])),
    "none": lambda x, v: x.__setitem__((None, 1), v(VALUES[:1])),
    "broadcast": lambda x, v: x.__setitem__(..., v(VALUES[1])),
    "leading ones": lambda x, v: x.__setitem__(0, v(VALUES[:1])),
    "copy_": lambda x, v: x.copy_(v(VALUES[0])),
    "fill_": lambda x, v: x.fill_(0.4),
    "zero_": lambda x, v: x.zero_(),
}
PLACING = {
    "masked_fill_": lambda x, v: x.masked_fill_(MASK, 0.4),
    "masked_fill_ tensor": lambda x, v: x.masked_fill_(MASK, v(torch.tensor(0.4))),
    "masked_scatter_": lambda x, v: x.masked_scatter_(MASK, v(VALUES)),
    "index_fill_": lambda x, v: x.index_fill_(0, ROWS, 0.4),
    "index_copy_": lambda x, v: x.index_copy_(0, ROWS, v(VALUES[:2])),
    "index_put_": lambda x, v: x.index_put_((ROWS,), v(VALUES[:2])),
    "put_": lambda x, v: x.put_(ROWS, source=v(VALUES[0, :2])),
    "scatter_": lambda x, v: x.scatter_(1, torch.tensor([[1, 3]]), v(VALUES)),
    "scatter_ value": lambda x, v: x.scatter_(1, torch.tensor([[1, 3]]), value=0.4),
    "fill_diagonal_": lambda x, v: x.fill_diagonal_(0.4),
    "tril_": lambda x, v: x.tril_(),
    "triu_": lambda x, v: x.triu_(1),
}


def plain(values):
    return values


def quantized(values):
    return quantize_per_tensor(values, 0.01, 128, qtensor.quint8)


@pytest.mark.parametrize("value", [plain, quantized])
@pytest.mark.parametrize("name", [*WRITES, *PLACING])
def test_values_are_quantized_as_the_target_is(q, name, value):
    write = {**WRITES, **PLACING}[name]
    expected, data = q.dequantize(), q.int_repr()
    write(expected, lambda v: value(v).dequantize())
    write(q, value)
    assert torch.equal(quantize_per_tensor(expected, *parameters(q)).int_repr(), q.int_repr())
    assert q.int_repr() is data


def parameters(q):
    return q.q_scale(), q.q_zero_point(), q.qdtype


@pytest.mark.parametrize("value", [plain, quantized])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", WRITES)
def test_writing_part_of_what_is_quantized_per_channel(name, axis, value):
    q = channels(axis)
    expected = q.dequantize()
    WRITES[name](expected, lambda v: value(v).dequantize())
    WRITES[name](q, value)
    scales, zeros = q.q_per_channel_scales(), q.q_per_channel_zero_points()
    same = quantize_per_channel(expected, scales, zeros, axis, q.qdtype)
    assert torch.equal(same.int_repr(), q.int_repr())


def test_real_zero_points_per_channel():
    scales, zeros = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([10.5, 20.25, 3.0])
    table = quantize_per_channel(torch.zeros(SHAPE), scales, zeros, 0, qtensor.quint8)
    table[1:, 2] = torch.tensor([1.0, 2.0])
    whole = table.dequantize()
    whole[1:, 2] = torch.tensor([1.0, 2.0])
    expected = quantize_per_channel(whole, scales, zeros, 0, qtensor.quint8)
    assert torch.equal(table.int_repr(), expected.int_repr())


def within(q, real):
    """``real`` (float64) as the integers of ``q``, from an independent computation."""
    low, high = q.qdtype.quant_min, q.qdtype.quant_max
    return np.clip(np.rint(real / q.q_scale()) + q.q_zero_point(), low, high)


def real(q):
    return (q.int_repr().numpy().astype(np.float64) - q.q_zero_point()) * q.q_scale()


@pytest.mark.parametrize("number", [0.25, -3.0, 100.0, 0])
def test_arithmetic_with_numbers(q, number):
    data = q.int_repr()
    for operate, expected in (
        (lambda: q.add_(number), lambda x: x + number),
        (lambda: q.sub_(number, alpha=2), lambda x: x - 2 * number),
        (lambda: q.mul_(number), lambda x: x * number),
    ):
        integers = within(q, expected(real(q)))
        assert operate() is q and q.int_repr() is data
        assert np.abs(data.numpy() - integers).max() <= 1  # float32 may round a tie the other way


def test_arithmetic_with_tensors(q):
    other = QTensor(q.int_repr().flip(0), QParams(0.05, q.q_zero_point(), q.qdtype))
    x, y = real(q), real(other)
    for operate, expected in (
        (lambda a: a.add_(other), x + y),
        (lambda a: a.sub_(other), x - y),
        (lambda a: a.mul_(other), x * y),
        (lambda a: a.add_(other[0]), x + y[0]),
    ):
        result = q.clone()
        assert operate(result) is result
        assert np.abs(result.int_repr().numpy() - within(q, expected)).max() <= 1


def test_operators_write_into_every_alias(q):
    alias, view, before = q, q[0], real(q)
    q += 0.3
    assert alias is q
    np.testing.assert_allclose(real(view), before[0] + 0.3, atol=0.5 * q.q_scale() + 1e-6)
    q *= 0.5
    q -= 0.1
    q /= 2
    assert alias is q and torch.equal(view.int_repr(), q[0].int_repr())


def test_float_tensors_take_quantized_values(q):
    x, y = torch.ones(SHAPE), q.dequantize()
    assert torch.equal(x.add_(q), 1 + y)
    assert torch.equal(x.mul_(q), (1 + y) * y)
    x.index_copy_(0, ROWS, q[:2])
    assert torch.equal(x[ROWS], y[:2])


def test_out_is_written_with_its_own_parameters(q):
    out = QTensor(torch.zeros_like(q.int_repr()), q.qparams.replace(scale=0.1))
    assert torch.cat([q[:1], q[1:]], out=out) is out
    np.testing.assert_array_equal(out.int_repr().numpy(), within(out, real(q)))
    assert torch.index_select(q, 1, torch.tensor([3, 2, 1, 0]), out=out) is out
    np.testing.assert_array_equal(out.int_repr().numpy(), within(out, real(q)[:, ::-1]))
    values, indices = out[0].clone(), torch.empty(4, dtype=torch.int64)
    torch.max(q, 0, out=(values, indices))
    np.testing.assert_array_equal(values.int_repr().numpy(), within(values, real(q).max(0)))
    assert torch.equal(indices, q.argmax(0))
    floats = torch.empty(SHAPE)
    torch.index_select(q, 0, torch.arange(3), out=floats)
    assert torch.equal(floats, q.dequantize())


def test_out_that_does_not_fit(q):
    with pytest.raises(
        ValueError, match=r"index_select expects out of shape \(2, 4\), got \(3, 4\)"
    ):
        torch.index_select(q, 0, ROWS, out=q.clone())
    with pytest.raises(NotImplementedError, match="add cannot write"):
        torch.add(q, q, out=q)
    with pytest.raises(NotImplementedError, match="eq cannot write"):
        torch.eq(q, 0.5, out=q)


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.index_put_((ROWS,), VALUES[:2], True),
        lambda x: x.index_put_((ROWS,), VALUES[:2], accumulate=True),
        lambda x: x.scatter_(0, INDEX, VALUES, reduce="add"),
        lambda x: x.div_(0),
        lambda x: x.div_(2, rounding_mode="floor"),
    ],
)
def test_what_cannot_be_written(q, write):
    before = q.int_repr().clone()
    with pytest.raises(NotImplementedError, match="cannot write"):
        write(q)
    assert torch.equal(q.int_repr(), before)


def test_other_writes_per_channel_raise():
    with pytest.raises(NotImplementedError, match="cannot write"):
        channels().masked_fill_(MASK, 1.0)
    with pytest.raises(NotImplementedError, match="cannot write"):
        channels().add_(1.0)


def test_floats_are_not_added_in_place(q):
    with pytest.raises(
        TypeError, match=r"add expects a quantized tensor as qb, got a torch\.float32"
    ):
        q.add_(VALUES)
