"""Bags of rows of quantized tables against NumPy, on every instruction set and without kernels."""

import numpy as np
import pytest
import torch

import qtensor
from qtensor import _embedding, _isa
from qtensor._ops.embedding_bag import embedding_bag, embedding_bag_reference
from qtensor.nn import quantized as nnq


def table(dtype, rows=20, columns=300):
    torch.manual_seed(0)
    real = torch.randn(rows, columns)
    low, high = real.amin(1), real.amax(1)
    scale = (high - low) / (dtype.quant_max - dtype.quant_min) + 0.01
    return qtensor.quantize_per_channel(real, scale, -low / scale, 0, dtype)


def bags():
    return torch.tensor([3, 0, 19, 3, 7, 7, 1]), torch.tensor([0, 2, 2, 6])


def wanted(weight, indices, offsets, mode, factors=None, padding=None):
    rows = weight.dequantize().double().numpy()
    ends = [*offsets[1:].tolist(), len(indices)]
    result = np.zeros((len(offsets), rows.shape[1]))
    for bag, (begin, end) in enumerate(zip(offsets.tolist(), ends, strict=True)):
        taken = [i for i in range(begin, end) if indices[i] != padding]
        for i in taken:
            result[bag] += rows[indices[i]] * (1.0 if factors is None else factors[i].item())
        if mode == "max" and taken:
            result[bag] = rows[indices[taken].numpy()].max(0)
        if mode == "mean" and taken:
            result[bag] /= len(taken)
    return torch.as_tensor(result).float()


@pytest.mark.parametrize("columns", [1, 3, 64, 300])
@pytest.mark.parametrize("dtype", [qtensor.quint8, qtensor.quint4x2, qtensor.quint2x4], ids=str)
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding", [None, 7])
def test_bags(dtype, mode, padding, columns):
    weight, (indices, offsets) = table(dtype, columns=columns), bags()
    parameters = weight.q_per_channel_scales().float(), weight.q_per_channel_zero_points().float()
    arguments = weight._stored(), *parameters, indices, offsets, columns, dtype.bits, mode
    expected = wanted(weight, indices, offsets, mode, padding=padding)
    results = [embedding_bag_reference(*arguments, padding_idx=padding)]
    for isa in ("scalar", _isa.ISA):
        _embedding.use_isa(isa)
        results.append(embedding_bag(*arguments, padding_idx=padding))
    for result in results:
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(results[1], results[2])


@pytest.mark.parametrize("first", [0, 1])
def test_nan_is_the_largest(first):
    weight = torch.arange(24, dtype=torch.uint8).reshape(2, 12)
    scales, zero_points = torch.tensor([0.5, torch.nan]), torch.zeros(2)
    indices, offsets = torch.tensor([first, 1 - first]), torch.tensor([0])
    arguments = weight, scales, zero_points, indices, offsets, 12, 8, "max"
    for isa in ("scalar", _isa.ISA):
        _embedding.use_isa(isa)
        assert embedding_bag(*arguments).isnan().all()
    assert embedding_bag_reference(*arguments).isnan().all()


def test_no_bags():
    weight, indices = torch.zeros(2, 3, dtype=torch.uint8), torch.tensor([0, 1])
    arguments = weight, torch.ones(2), torch.zeros(2), indices, indices[:0], 3
    assert embedding_bag(*arguments).shape == embedding_bag_reference(*arguments).shape == (0, 3)


@pytest.mark.parametrize("dtype", [qtensor.quint8, qtensor.quint4x2], ids=str)
def test_modules(dtype):
    weight, (indices, offsets) = table(dtype), bags()
    factors = torch.randn(len(indices))
    module = nnq.EmbeddingBag(20, 300, _weight=weight, dtype=dtype)
    assert torch.equal(module.weight().int_repr(), weight.int_repr())
    torch.testing.assert_close(
        module(indices, offsets, factors),
        wanted(weight, indices, offsets, "sum", factors),
        rtol=1e-5,
        atol=1e-5,
    )
    last = nnq.EmbeddingBag(20, 300, _weight=weight, dtype=dtype, include_last_offset=True)
    ends = torch.cat([offsets, torch.tensor([7])])
    assert torch.equal(last(indices, ends), module(indices, offsets))
    square = torch.tensor([[1, 2, 3], [4, 5, 6]])
    assert torch.equal(module(square), module(square.reshape(-1), torch.tensor([0, 3])))
    rows = nnq.Embedding(20, 300, _weight=weight, dtype=dtype)
    assert torch.equal(rows(square), weight.dequantize()[square])
    again = nnq.EmbeddingBag(20, 300, dtype=dtype)
    again.load_state_dict(module.state_dict())
    assert torch.equal(again(square), module(square))


@pytest.mark.parametrize("bits", ["byte", "4bit"])
def test_functions(bits):
    dtype = {"byte": qtensor.quint8, "4bit": qtensor.quint4x2}[bits]
    weight, (indices, offsets) = table(dtype), bags()
    rows = getattr(qtensor.ops, f"embedding_{bits}")
    summed = getattr(qtensor.ops, f"embedding_bag_{bits}")
    assert torch.equal(rows(weight, indices), weight.dequantize()[indices])
    for mode, name in enumerate(("sum", "mean", "max")):
        expected = wanted(weight, indices, offsets, name)
        result = summed(weight, indices, offsets, mode=mode)
        torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
    square, factors = torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.randn(2, 3)
    flat = square.reshape(-1), torch.tensor([0, 3])
    expected = summed(weight, *flat, per_sample_weights=factors.reshape(-1))
    assert torch.equal(summed(weight, square, per_sample_weights=factors), expected)
    with pytest.raises(ValueError, match="no offsets with indices of two dimensions"):
        summed(weight, square, flat[1])
    with pytest.raises(ValueError, match="pruned"):
        rows(weight, indices, True)
    with pytest.raises(TypeError, match="quantized along axis 0"):
        rows(torch.ones(2, 2), indices)


def test_bad_input():
    module = nnq.EmbeddingBag(20, 300, _weight=table(qtensor.quint8))
    with pytest.raises(IndexError, match=r"index 20 \(position 1 of 2"):
        module(torch.tensor([0, 20]), torch.tensor([0]))
    with pytest.raises(ValueError, match="offsets that do not fall"):
        module(torch.tensor([0, 1]), torch.tensor([0, 2, 1]))
    with pytest.raises(ValueError, match="offsets that do not fall"):
        module(torch.tensor([0, 1]), torch.tensor([0, 5]))
    with pytest.raises(ValueError, match="offsets, of which the last"):
        module.include_last_offset = True
        module(torch.tensor([0, 1]), torch.tensor([], dtype=torch.int64))
    module.include_last_offset = False
    with pytest.raises(ValueError, match="per_sample_weights"):
        module(torch.tensor([0, 1]), torch.tensor([0]), torch.ones(3))
    with pytest.raises(ValueError, match=r"modes .*, got 'product'"):
        nnq.EmbeddingBag(2, 2, mode="product")
    with pytest.raises(ValueError, match="offsets with indices"):
        module(torch.tensor([0, 1]))


def test_exported():
    module = nnq.EmbeddingBag(20, 300, _weight=table(qtensor.quint8), mode="mean")
    program = torch.export.export(module, bags())
    assert torch.equal(program.module()(*bags()), module(*bags()))
