"""Interpolation against torch's own in float64, and against loops for the nearest pixel."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import qtensor
from qtensor._ops import interpolate as ops

from ..elementwise.common import check_operator, generators, integers, on_every_isa
from .common import any_layouts
from .test_pool import CHANNELS, DTYPES, assert_laid_out_like, images_of, spatial_sizes

LINEAR = ("linear", "bilinear", "trilinear")


def output_sizes(sizes):
    """Sizes, and the factors that gave them, if any did."""
    given_sizes = st.tuples(*[st.integers(1, 12)] * len(sizes)).map(lambda n: (list(n), None))
    factors = st.lists(
        st.sampled_from([0.5, 1.0, 1.7, 2.0, 3.0]), min_size=len(sizes), max_size=len(sizes)
    )
    scaled = factors.map(lambda f: ([max(1, int(n * k)) for n, k in zip(sizes, f, strict=True)], f))
    return given_sizes | scaled


@given(st.data(), generators, any_layouts, st.integers(0, 2), CHANNELS, spatial_sizes(), DTYPES)
def test_nearest(data, rng, layout, batch, channels, sizes, dtype):
    images = images_of(rng, layout, batch, channels, sizes, dtype)
    (output_size, factors), exact = data.draw(output_sizes(sizes)), data.draw(st.booleans())
    result = on_every_isa(ops.interpolate_nearest, images, output_size, factors, exact)

    expected = images.numpy()
    for axis, (size, count) in enumerate(zip(sizes, output_size, strict=True)):
        step = np.float32(1 / factors[axis] if factors else size / count)
        start = np.float32(0.5 if exact else 0)
        taps = [min(int(np.float32(np.float32(i) + start) * step), size - 1) for i in range(count)]
        expected = expected.take(taps, axis + 2)
    np.testing.assert_array_equal(result.numpy(), expected)
    assert_laid_out_like(images, result)
    args = images, output_size, factors, exact
    assert torch.equal(result, ops.interpolate_nearest_reference(*args))


@given(st.data(), generators, any_layouts, st.integers(0, 2), CHANNELS, spatial_sizes(), DTYPES)
def test_linear(data, rng, layout, batch, channels, sizes, dtype):
    images = images_of(rng, layout, batch, channels, sizes, dtype)
    (output_size, factors), corners = data.draw(output_sizes(sizes)), data.draw(st.booleans())
    zero_point = data.draw(st.integers(0, 127))
    args = images, zero_point, output_size, factors, corners
    result = on_every_isa(ops.interpolate_linear, *args)
    assert torch.equal(result, ops.interpolate_linear_reference(*args))
    assert_laid_out_like(images, result)

    if batch and not factors:
        mode = LINEAR[len(sizes) - 1]
        real = F.interpolate(images.double(), output_size, mode=mode, align_corners=corners)
        # float32 positions and steps: half a step of rounding and a little
        assert (result.double() - real).abs().max() <= 0.5 + 2**-12


@pytest.mark.parametrize("channels", [3, 16])
def test_values_between_two_integers_round_to_even_distance_from_the_zero_point(channels):
    images = torch.tensor([0, 1, 2, 3], dtype=torch.uint8).view(1, 1, 4).expand(1, channels, 4)
    even = on_every_isa(ops.interpolate_linear, images, 0, [7], None, True)
    odd = on_every_isa(ops.interpolate_linear, images, 1, [7], None, True)
    assert even[0, 0].tolist() == [0, 0, 1, 2, 2, 2, 3]
    assert odd[0, 0].tolist() == [0, 1, 1, 1, 2, 3, 3]


def test_two_threads_give_the_same():
    images = integers(np.random.default_rng(0), (2, 40, 60, 60), torch.uint8)
    calls = [
        lambda: ops.interpolate_nearest(images, [121, 90], None, False),
        lambda: ops.interpolate_linear(images, 3, [121, 90], None, False),
    ]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = [call() for call in calls]
        torch.set_num_threads(2)
        assert all(torch.equal(call(), e) for call, e in zip(calls, expected, strict=True))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("sizes", [(5,), (5, 6), (2, 3, 4)])
def test_fakes(sizes):
    images = torch.zeros(2, 3, *sizes, dtype=torch.uint8)
    output_size = [4] * len(sizes)
    check_operator(ops.interpolate_nearest, (images, output_size, None, True))
    check_operator(ops.interpolate_linear, (images, 3, output_size, None, True))


def test_bad_input():
    images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    with pytest.raises(TypeError, match=r"got torch\.float32"):
        ops.interpolate_nearest(images.float(), [2, 2], None, False)
    with pytest.raises(ValueError, match=r"output_size of 2 positive integers .* got \(2,\)"):
        ops.interpolate_nearest(images, [2], None, False)
    with pytest.raises(ValueError, match=r"output_size of 2 positive integers .* got \(2, 0\)"):
        ops.interpolate_linear(images, 0, [2, 0], None, False)
    with pytest.raises(ValueError, match=r"2 positive scale_factors .* got \(1\.0, 0\.0\)"):
        ops.interpolate_linear(images, 0, [2, 2], [1.0, 0.0], False)
    with pytest.raises(ValueError, match="zero_point within 0 … 255, got 256"):
        ops.interpolate_linear(images, 256, [2, 2], None, False)


MODES = {
    1: ("nearest", "nearest-exact", "area", "linear"),
    2: ("nearest", "nearest-exact", "area", "bilinear"),
    3: ("nearest", "nearest-exact", "area", "trilinear"),
}
SIZES = [{"size": 9}, {"scale_factor": 1.7}, {"scale_factor": 0.6, "recompute_scale_factor": True}]


@pytest.mark.parametrize("given_size", SIZES)
@pytest.mark.parametrize(
    ("rank", "mode"), [(r, mode) for r, modes in MODES.items() for mode in modes]
)
def test_of_quantized_tensors(rank, mode, given_size):
    x = torch.randn(2, 9, 7, 6, 5)[..., *[0] * (3 - rank)]
    q = qtensor.quantize_per_tensor(x, 0.03, 100, qtensor.quint8)
    for corners in (None, True, False) if mode in LINEAR else (None,):
        with qtensor.fallback("error"):
            result = F.interpolate(q, mode=mode, align_corners=corners, **given_size)
        expected = F.interpolate(q.dequantize(), mode=mode, align_corners=corners, **given_size)
        assert result.qparams == q.qparams and result.shape == expected.shape
        tolerance = 1e-6 if mode.startswith("nearest") else 0.01501
        assert (result.dequantize() - expected).abs().max() <= tolerance


def test_misuse_of_quantized_tensors():
    q = qtensor.quantize_per_tensor(torch.ones(1, 1, 4, 4), 0.03, 100, qtensor.quint8)
    with pytest.raises(ValueError, match="align_corners has no meaning for mode 'nearest'"):
        F.interpolate(q, 2, align_corners=True)
    for factor in (float("nan"), float("inf"), (2.0,), (2.0, 2.0, 2.0)):
        with pytest.raises(ValueError, match="one finite scale_factor, or 2, got"):
            F.interpolate(q, scale_factor=factor)
    with pytest.raises(ValueError, match="either size or scale_factor"):
        F.interpolate(q)
    with qtensor.fallback("error"), pytest.raises(NotImplementedError, match="interpolate"):
        F.interpolate(q, 2, mode="bicubic")
