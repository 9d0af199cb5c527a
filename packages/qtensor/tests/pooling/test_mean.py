"""The mean over any dimensions against exact rational arithmetic."""

from fractions import Fraction
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import qtensor
from qtensor._ops import mean as ops

from ..elementwise.common import check_operator, generators, integers, on_every_isa, shapes
from .common import any_layouts

OUTPUTS = st.sampled_from([None, (0.05, 3), (0.0125, 100), (1.0, 0)])


def dimensions(shape):
    return st.lists(st.integers(-len(shape), len(shape) - 1), unique_by=lambda i: i % len(shape))


@given(st.data(), generators, any_layouts, shapes(5), st.booleans(), OUTPUTS, st.integers(0, 127))
def test_mean(data, rng, layout, shape, keepdim, output, zero_point):
    dtype = data.draw(st.sampled_from([torch.uint8, torch.int8]))
    dim = data.draw(dimensions(shape)) if shape else []
    assume(all(shape[i] > 0 for i in dim))
    x = layout(integers(rng, shape, dtype))
    info = torch.iinfo(dtype)
    scale, output_zero_point = output or (0.05, zero_point)
    rule = 0.05, zero_point, scale, output_zero_point, info.min, info.max
    result = on_every_isa(ops.mean, x, dim, keepdim, *rule)

    axes = tuple(i % len(shape) for i in dim)
    sums = (x.numpy().astype(np.int64) - zero_point).sum(axes, keepdims=keepdim)
    count = prod(shape[i] for i in axes)
    # Fraction rounds ties to even, exactly; scales in a power of two's ratio are exact too.
    ratio = Fraction(1) if output is None else Fraction(0.05 / scale)
    means = [round(Fraction(int(total)) * ratio / count) for total in np.ravel(sums)]
    expected = np.clip(
        np.array(means, np.int64).reshape(sums.shape) + output_zero_point, info.min, info.max
    )
    difference = np.abs(result.numpy().astype(np.int64) - expected)
    assert difference.max(initial=0) <= (0 if output is None else 1)  # a tie in float64 need not be
    assert result.is_contiguous()
    assert torch.equal(result, ops.mean_reference(x, dim, keepdim, *rule))


@pytest.mark.parametrize("dim", [[0], [1], [2], [0, 2], [0, 1], [1, 2], [0, 1, 2]])
def test_many_values(dim):
    x = integers(np.random.default_rng(0), (9, 300, 385), torch.uint8)
    result = on_every_isa(ops.mean, x, dim, False, 0.1, 7, 0.1, 7, 0, 255)
    sums = (x.numpy().astype(np.int64) - 7).sum(tuple(dim))
    count = prod(x.shape[i] for i in dim)
    expected = [round(Fraction(int(total), count)) + 7 for total in np.ravel(sums)]
    assert result.flatten().tolist() == expected


@pytest.mark.parametrize("dim", [[0, 2, 4, 6], [1, 3, 5], [0, 1, 3, 5, 6], [3]])
@pytest.mark.parametrize("shape", [(3, 2, 9, 2, 20, 2, 11), (2, 3, 1, 5, 2, 2, 3)])
def test_more_dimensions_than_images_have(dim, shape):
    """Of a view in which no two neighbouring dimensions can be taken as one."""
    x = integers(np.random.default_rng(0), [n + 1 for n in shape], torch.int8)
    x = x[(slice(1, None),) * x.ndim]
    result = on_every_isa(ops.mean, x, dim, True, 0.1, 7, 0.1, 7, -128, 127)
    sums = (x.numpy().astype(np.int64) - 7).sum(tuple(dim))
    count = prod(shape[i] for i in dim)
    expected = [round(Fraction(int(total), count)) + 7 for total in np.ravel(sums)]
    assert result.flatten().tolist() == expected


def test_fakes():
    x = torch.zeros(2, 3, 4, 5, dtype=torch.int8).contiguous(memory_format=torch.channels_last)
    check_operator(ops.mean, (x, [2, 3], False, 0.1, 0, 0.2, 3, -128, 127))
    check_operator(ops.mean, (x, [1], True, 0.1, 0, 0.1, 0, -128, 127))


def test_bad_input():
    x = torch.zeros(2, 0, dtype=torch.uint8)
    rule = 0.1, 0, 0.1, 0, 0, 255
    with pytest.raises(ValueError, match="the mean of nothing"):
        ops.mean(x, [1], False, *rule)
    with pytest.raises(ValueError, match=r"different dimensions .* got \(0, -2\)"):
        ops.mean(x, [0, -2], False, *rule)
    with pytest.raises(ValueError, match=r"different dimensions .* got \(2,\)"):
        ops.mean(x, [2], False, *rule)
    with pytest.raises(TypeError, match=r"got torch\.int32"):
        ops.mean(x.int(), [0], False, *rule)


def test_of_quantized_tensors():
    q = qtensor.quantize_per_tensor(torch.randn(2, 3, 4, 5), 0.03, 100, qtensor.quint8)
    with qtensor.fallback("error"):
        for dim in (None, 1, (2, 3), [-1]):
            for keepdim in (False, True):
                result, expected = q.mean(dim, keepdim), q.dequantize().mean(dim, keepdim)
                assert result.qparams == q.qparams and result.shape == expected.shape
                assert (result.dequantize() - expected).abs().max() <= 0.01501
        result = qtensor.ops.mean(q, (2, 3), scale=0.001, zero_point=128)
        expected = q.dequantize().mean((2, 3)).clamp(-0.128, 0.127)
        assert (result.dequantize() - expected).abs().max() <= 0.000501
    with qtensor.fallback("silent"):
        assert q.mean(dtype=torch.float64).dtype is torch.float64
