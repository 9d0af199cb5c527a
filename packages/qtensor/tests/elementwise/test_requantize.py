"""Requantize and cat against NumPy: an integer difference, then one float32 multiplication."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import qtensor
from qtensor import _elementwise
from qtensor._ops.cat import cat, cat_reference
from qtensor._ops.requantize import requantize, requantize_reference
from qtensor._ops.requantize_per_channel import (
    requantize_per_channel,
    requantize_per_channel_reference,
)

from .common import LAYOUTS, check_operator, generators, integers, layouts, on_every_isa, shapes

BYTES = st.sampled_from([torch.uint8, torch.int8])
SCALES = st.one_of(
    st.floats(-10, 10).map(lambda exponent: 2.0**exponent),
    st.sampled_from([1.2e-38, 1e-20, 1e20, 3.4e38]),
)


def full(dtype):
    info = torch.iinfo(dtype)
    return info.min, info.max


def expected_requantized(q, scale, zp, output_scale, output_zp, lowest, highest, _, low=None):
    with np.errstate(over="ignore", invalid="ignore"):
        multiplier = np.float32(scale / output_scale)
        t = (q.numpy().astype(np.int64) - zp).astype(np.float32) * multiplier
    least = lowest - output_zp if low is None else max(low / output_scale, lowest - output_zp)
    t = np.where(np.isnan(t), least, t.astype(np.float64))
    return np.rint(np.minimum(np.maximum(t, least), highest - output_zp)) + output_zp


@given(generators, shapes(4), layouts, BYTES, BYTES, SCALES, SCALES)
def test_requantize(rng, shape, layout, dtype, output_dtype, scale, output_scale):
    q = layout(integers(rng, shape, dtype))
    zp, output_zp = (int(integers(rng, (1,), t)[0]) for t in (dtype, output_dtype))
    args = q, scale, zp, output_scale, output_zp, *full(output_dtype), output_dtype
    for activation in ((), (0.0,)):
        result = on_every_isa(requantize, *args, *activation)
        np.testing.assert_array_equal(result.numpy(), expected_requantized(*args, *activation))
        assert torch.equal(result, requantize_reference(*args, *activation))


near_multipliers = st.one_of(
    st.floats(-7, 7).map(lambda exponent: 2.0**exponent), st.integers(-7, 7).map(lambda k: 2.0**k)
)


@given(BYTES, BYTES, near_multipliers, st.sampled_from([(), (0.0,)]), st.data())
def test_every_byte(dtype, output_dtype, scale, activation, data):
    lowest, highest = full(dtype)
    q = torch.arange(lowest, highest + 1).to(dtype)
    zp = data.draw(st.integers(lowest, highest))
    lowest, highest = full(output_dtype)
    highest -= data.draw(st.sampled_from([0, 128]))
    output_zp = data.draw(st.integers(lowest, highest))
    args = q, scale, zp, 1.0, output_zp, lowest, highest, output_dtype
    result = on_every_isa(requantize, *args, *activation)
    np.testing.assert_array_equal(result.numpy(), expected_requantized(*args, *activation))


def rescaling(multiplier):
    return _elementwise.RequantizeParams(multiplier, 128, False, 100, -100.0, 155.0, False)


def test_most_rescaling_is_done_in_fixed_point():
    multipliers = np.exp2(np.random.default_rng(0).uniform(-3, 5, 100))
    assert sum(rescaling(each).in_fixed_point for each in multipliers) >= 85
    assert not any(rescaling(each).in_fixed_point for each in (0.0, 1e-30, 500.0, 3e38, np.inf))


@given(generators, st.integers(0, 2), st.sampled_from([1, 2, 40, 3000]), layouts, BYTES)
def test_cat(rng, dim, inner, layout, output_dtype):
    sizes = [3, 4, inner]
    parts, expected = [], []
    for dtype, scale, zp in (
        (torch.uint8, 0.1, 3),
        (torch.int8, 0.07, -5),
        (output_dtype, 0.05, 7),  # as the output: copied
    ):
        sizes[dim] = int(rng.integers(0, 5))
        q = layout(integers(rng, tuple(sizes), dtype))
        parts.append((q, scale, zp))
        args = q, scale, zp, 0.05, 7, *full(output_dtype), output_dtype
        expected.append(expected_requantized(*args))
    tensors, scales, zero_points = zip(*parts, strict=True)
    args = list(tensors), list(scales), list(zero_points), dim, 0.05, 7, *full(output_dtype)
    result = on_every_isa(cat, *args, output_dtype)
    np.testing.assert_array_equal(result.numpy(), np.concatenate(expected, dim))
    assert torch.equal(result, cat_reference(*args, output_dtype))


def test_cat_keeps_channels_last_and_narrow_ranges():
    rng = np.random.default_rng(0)
    parts = [integers(rng, (2, c, 5, 7), torch.uint8) for c in (16, 40)]
    for layout in (LAYOUTS["contiguous"], LAYOUTS["channels_last"]):
        tensors = [layout(x) for x in parts]
        args = tensors, [0.1, 0.1], [3, 3], 1, 0.1, 3, 0, 127, torch.uint8, 0.0
        result = on_every_isa(cat, *args)
        assert torch.equal(result, torch.cat(tensors, 1).clamp(3, 127))
        assert result.stride() == torch.cat(tensors, 1).stride()
        check_operator(cat, args)


Q = torch.zeros(2, 3, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        (([Q], [], [0], 0), ValueError, "1 tensors, 0 scales and 1 zero_points"),
        (([Q, Q[:, :2]], [1.0] * 2, [0] * 2, 0), ValueError, "differ in dimension 0 only"),
        (([Q], [1.0], [0], 2), ValueError, "expected dim to be one of"),
        (([Q.float()], [1.0], [0], 0), TypeError, r"tensors\[0\] of dtype torch.uint8 or"),
        (([Q], [0.0], [0], 0), ValueError, "positive, finite scale"),
        (([Q], [1.0], [256], 0), ValueError, "zero_point within 0 … 255"),
    ],
)
def test_bad_input_to_cat(args, error, message):
    for call in (cat, cat.op):
        with pytest.raises(error, match=message):
            call(*args, 1.0, 0, 0, 255, torch.uint8)


def test_nothing_to_join():
    with pytest.raises(ValueError, match="one tensor or more"):
        cat([], [], [], 0, 1.0, 0, 0, 255, torch.uint8)


def test_bad_input_to_requantize():
    for call in (requantize, requantize.op):
        with pytest.raises(TypeError, match=r"output dtype out of torch.uint8, torch.int8"):
            call(Q, 0.1, 0, 0.1, 0, 0, 255, torch.int32)
        with pytest.raises(TypeError, match=r"input of dtype torch.uint8 or torch.int8"):
            call(Q.int(), 0.1, 0, 0.1, 0, 0, 255, torch.uint8)


# ---- channels


STORAGES = st.sampled_from([torch.uint8, torch.int8, torch.int32])


def channel_parameters(rng, dtype, channels):
    scales = np.float32(2.0) ** rng.uniform(-12, 4, channels)
    lowest, highest = full(dtype)
    near = 2**20 if dtype is torch.int32 else 255  # where float64 holds all there is
    zeros = rng.integers(max(lowest, -near), min(highest, near), channels, endpoint=True)
    return torch.tensor(scales.astype(np.float32)), torch.tensor(zeros)


def per_channel_exactly(q, given, wanted, axis, lowest, highest, single):
    shape = [1] * q.ndim
    shape[axis] = -1
    (scales, zeros), (output_scales, output_zeros) = (
        [parameter.numpy().astype(np.float64).reshape(shape) for parameter in pair]
        for pair in (given, wanted)
    )
    real = np.float32 if single else np.float64
    steps = (q.numpy() - zeros).astype(real) * (scales / output_scales).astype(real)
    steps = np.clip(steps.astype(np.float64), lowest - output_zeros, highest - output_zeros)
    return np.rint(steps) + output_zeros


@given(
    generators,
    shapes(4).filter(len),
    layouts,
    STORAGES,
    STORAGES,
    st.booleans(),
    st.booleans(),
    st.data(),
)
def test_channels(rng, shape, layout, dtype, output_dtype, from_channels, to_channels, data):
    axis = data.draw(st.integers(0, len(shape) - 1))
    q = layout(integers(rng, shape, dtype))
    given_parameters = channel_parameters(rng, dtype, shape[axis] if from_channels else 1)
    wanted = channel_parameters(rng, output_dtype, shape[axis] if to_channels else 1)
    bounds = full(output_dtype)
    args = q, *given_parameters, *wanted, axis, *bounds, output_dtype
    result = on_every_isa(requantize_per_channel, *args)
    assert result.stride() == torch.empty_like(q).stride()
    assert torch.equal(result, requantize_per_channel_reference(*args))
    single = torch.int32 not in (dtype, output_dtype)
    exact = per_channel_exactly(q, given_parameters, wanted, axis, *bounds, single)
    np.testing.assert_array_equal(result.numpy(), exact)


@pytest.mark.parametrize("channels", [31, 32, 33, 64, 300])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
@pytest.mark.parametrize("output_dtype", [torch.uint8, torch.int8])
def test_alternating_channels(channels, dtype, output_dtype):
    rng = np.random.default_rng(channels)
    q = integers(rng, (9, channels), dtype)
    given_parameters = channel_parameters(rng, dtype, channels)
    wanted = channel_parameters(rng, output_dtype, channels)
    given_parameters[0][0], wanted[0][0] = 1e38, 1e-37  # their ratio is infinite
    given_parameters[0][1], wanted[0][1] = 1e30, 1e-6  # beyond int32
    lowest, highest = full(output_dtype)
    wanted[1].clamp_(lowest + 5, highest - 9)
    args = q, *given_parameters, *wanted, 1, lowest + 5, highest - 9, output_dtype
    result = on_every_isa(requantize_per_channel, *args)
    assert torch.equal(result, requantize_per_channel_reference(*args))


def test_channels_of_equal_parameters_are_as_one():
    rng = np.random.default_rng(0)
    q = integers(rng, (4, 70), torch.uint8)
    one = requantize(q, 0.3, 7, 0.11, -3, -128, 127, torch.int8)
    scales, zeros = torch.full((4,), 0.3, dtype=torch.float64), torch.full((4,), 7)
    wanted = torch.tensor([0.11], dtype=torch.float64), torch.tensor([-3])
    args = q, scales, zeros, *wanted, 0, -128, 127, torch.int8
    assert torch.equal(requantize_per_channel(*args), one)
    check_operator(requantize_per_channel, args)


DTYPES = [qtensor.quint8, qtensor.qint8, qtensor.qint32, qtensor.quint4x2, qtensor.qint4]


@pytest.mark.parametrize("output_dtype", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axes", [(None, None), (1, None), (None, 1), (1, 1)])
def test_every_kind_of_parameters(axes, dtype, output_dtype):
    def parameters(dtype, axis, scale):
        if axis is None:
            return qtensor.QParams(scale, 5, dtype)
        scales = scale * torch.tensor([0.5, 1.0, 2.0])
        return qtensor.QParams(scales, torch.tensor([0, 1, 2]), dtype, axis)

    given = parameters(dtype, axes[0], 0.02)
    wanted = parameters(output_dtype, axes[1], 0.05)
    integers = torch.arange(24).reshape(4, 3, 2).clamp(max=dtype.quant_max).to(dtype.storage)
    q = qtensor.QTensor(integers, given)
    result = qtensor.requantize(q, wanted)
    assert result.qparams == wanted
    scales, zeros = (torch.as_tensor(x).view(-1, 1) for x in (wanted.scale, wanted.zero_point))
    ends = wanted.quant_min - zeros, wanted.quant_max - zeros
    exact = torch.clamp(q.dequantize() / scales, *ends)
    assert ((result.int_repr() - zeros) - exact).abs().max() <= 0.5001


def test_bad_input_to_channels():
    q = qtensor.quantize_per_channel(
        torch.ones(2, 2), torch.ones(2), torch.zeros(2), 0, qtensor.quint8
    )
    with pytest.raises(TypeError, match="expected integer zero_points, got"):
        qtensor.requantize(q, qtensor.QParams(1.0, 0))
    q = qtensor.quantize_per_channel(
        torch.ones(2, 2), torch.ones(2), torch.zeros(2, dtype=torch.int64), 0, qtensor.quint8
    )
    other = qtensor.QParams(torch.ones(2), torch.zeros(2, dtype=torch.int64), qtensor.qint8, 1)
    with pytest.raises(ValueError, match="along axis 0, to be those of the output, along axis 1"):
        qtensor.requantize(q, other)
    three = qtensor.QParams(torch.ones(3), torch.zeros(3, dtype=torch.int64), qtensor.qint8, 0)
    with pytest.raises(ValueError, match=r"output_scales of shape \(1,\) or \(2,\)"):
        qtensor.requantize(q, three)
    with pytest.raises(TypeError, match="a quantized tensor as q, got a Tensor"):
        qtensor.requantize(torch.ones(2), qtensor.QParams(1.0, 0))
    args = Q, torch.zeros(1), torch.tensor([0]), torch.ones(1), torch.tensor([0]), 0, 0, 255
    with pytest.raises(ValueError, match="positive, finite scales"):
        requantize_per_channel(*args, torch.uint8)
