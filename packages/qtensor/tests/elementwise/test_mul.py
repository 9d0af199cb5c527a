"""Multiplication against NumPy: integer products, then one float32 multiplication."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qtensor._ops.mul import mul, mul_reference

from .common import LAYOUTS, check_operator, generators, integers, layouts, on_every_isa, shapes

RANGES = [(torch.uint8, 0, 255), (torch.int8, -128, 127), (torch.uint8, 0, 127)]
ACTIVATIONS = [(None, None), (0.0, None), (0.0, 6.0), (None, -3.0)]

scales = st.floats(-10, 10).map(lambda exponent: 2.0**exponent)
extreme_scales = st.sampled_from([1.2e-38, 1e-20, 1.0, 1e20, 3.4e38])


def expected_product(a, a_scale, a_zp, b, b_scale, b_zp, scale, zp, lowest, highest, activation):
    product = (a.numpy().astype(np.int64) - a_zp) * (b.numpy().astype(np.int64) - b_zp)
    with np.errstate(over="ignore", invalid="ignore"):
        multiplier = np.float32(a_scale * b_scale / scale)
        t = (product.astype(np.float32) * multiplier).astype(np.float64)
    bounds = [lowest - zp, highest - zp]
    for i, bound in enumerate(activation):
        if bound is not None:
            bounds[i] = float(np.float32(np.clip(bound / scale, lowest - zp, highest - zp)))
    t = np.where(np.isnan(t), bounds[0], t)
    return np.rint(np.minimum(np.maximum(t, bounds[0]), bounds[1])) + zp


@given(
    generators,
    shapes(4),
    layouts,
    layouts,
    st.sampled_from(RANGES),
    st.sampled_from(ACTIVATIONS),
    st.one_of(st.tuples(scales, scales, scales), st.tuples(*[extreme_scales] * 3)),
)
def test_mul(rng, shape, layout_a, layout_b, integer_range, activation, three_scales):
    dtype, lowest, highest = integer_range
    a, b = layout_a(integers(rng, shape, dtype)), layout_b(integers(rng, shape, dtype))
    info = torch.iinfo(dtype)
    a_zp, b_zp = (int(rng.integers(info.min, info.max, endpoint=True)) for _ in range(2))
    zp = int(rng.integers(lowest, highest, endpoint=True))
    a_scale, b_scale, scale = three_scales
    args = a, a_scale, a_zp, b, b_scale, b_zp, scale, zp, lowest, highest
    result = on_every_isa(mul, *args, *activation)
    assert result.dtype is dtype
    np.testing.assert_array_equal(result.numpy(), expected_product(*args, activation))
    assert torch.equal(result, mul_reference(*args, *activation))


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [
        ((2, 70, 9, 9), (2, 70, 1, 1)),  # squeeze and excite
        ((2, 70, 9, 9), (70, 1, 1)),
        ((70, 1), (1, 130)),
        ((2, 1, 3, 1, 5, 1, 7), (1, 2, 1, 3, 1, 4, 1)),
        ((), (40,)),
        ((0, 3), (1, 1)),
    ],
)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_broadcasting(a_shape, b_shape, layout):
    rng = np.random.default_rng(0)
    a, b = layout(integers(rng, a_shape, torch.uint8)), layout(integers(rng, b_shape, torch.uint8))
    for first, second in ((a, b), (b, a)):
        args = first, 0.1, 3, second, 0.02, 100, 0.25, 7, 0, 255
        result = on_every_isa(mul, *args)
        assert result.shape == torch.broadcast_shapes(a_shape, b_shape)
        np.testing.assert_array_equal(result.numpy(), expected_product(*args, (None, None)))


def test_registered():
    a = torch.zeros(2, 3, dtype=torch.uint8)
    args = a, 0.1, 3, a[:1], 0.2, 100, 0.25, 7, 0, 255
    check_operator(mul, args)
    for call in (mul, mul.op):
        with pytest.raises(TypeError, match="a and b of one dtype"):
            call(a, 0.1, 3, a.to(torch.int8), 0.2, 100, 0.25, 7, 0, 255)
        with pytest.raises(ValueError, match="b_zero_point within 0 … 255, got 256"):
            call(a, 0.1, 3, a, 0.2, 256, 0.25, 7, 0, 255)
        with pytest.raises(ValueError, match="broadcast together"):
            call(a, 0.1, 3, a[:, :2], 0.2, 0, 0.25, 7, 0, 255)
