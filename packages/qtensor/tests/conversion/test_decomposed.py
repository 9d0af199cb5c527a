"""The operators of exported graphs against NumPy, and against each other."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import qtensor
from qtensor._ops import decomposed

from ..elementwise.common import generators

ops = torch.ops.qtensor
HALVES = [torch.float16, torch.bfloat16]


def check(operator, *args, **kwargs):
    """Runs it; its fake kernel and its plain torch path must agree with the result."""
    result = operator(*args, **kwargs)
    torch.library.opcheck(operator, args, kwargs, test_utils=("test_schema", "test_faketensor"))
    return result


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32])
def test_per_tensor_by_tensors(dtype):
    x = torch.randn(3, 50) * 4
    low, high = (0, 127) if dtype == torch.uint8 else (-100, 100)
    plain = ops.quantize_per_tensor(x, 0.1, 3, low, high, dtype)
    scale, zero = torch.tensor([0.1]), torch.tensor(3, dtype=torch.int32)
    bounds = torch.tensor(low), torch.tensor(high)
    assert torch.equal(
        check(ops.quantize_per_tensor.tensor, x, scale, zero, low, high, dtype), plain
    )
    assert torch.equal(
        check(ops.quantize_per_tensor.tensor2, x, scale, zero, *bounds, dtype), plain
    )
    reference = decomposed._quantize_tensor_reference
    for ends in ((low, high), bounds):
        assert torch.equal(reference(x, scale, zero, *ends, dtype), plain)

    back = ops.dequantize_per_tensor(plain, 0.1, 3)
    assert torch.equal(
        check(ops.dequantize_per_tensor.default, plain, 0.1, 3, low, high, dtype), back
    )
    assert torch.equal(
        check(ops.dequantize_per_tensor.tensor, plain, scale, zero, low, high, dtype), back
    )
    assert torch.equal(
        check(ops.dequantize_per_tensor.tensor2, plain, scale, zero, *bounds, dtype), back
    )
    assert torch.equal(
        decomposed._dequantize_tensor_reference(plain, scale, zero, low, high, dtype), back
    )


@pytest.mark.parametrize("half", HALVES)
def test_half_precision(half):
    x = (torch.randn(4, 6) * 4).to(half)
    q = ops.quantize_per_tensor(x, 0.1, 3, 0, 255, torch.uint8)
    assert torch.equal(q, ops.quantize_per_tensor(x.float(), 0.1, 3, 0, 255, torch.uint8))
    back = ops.dequantize_per_tensor(q, 0.1, 3, out_dtype=half)
    assert torch.equal(back, ops.dequantize_per_tensor(q, 0.1, 3).to(half))
    scales, zeros = torch.rand(4) + 0.1, torch.zeros(4, dtype=torch.int64)
    rows = ops.quantize_per_channel(x, scales, zeros, 0, -128, 127, torch.int8)
    back = ops.dequantize_per_channel(rows, scales, None, 0, out_dtype=half)
    assert torch.equal(back, ops.dequantize_per_channel(rows, scales, zeros, 0).to(half))


@given(generators, st.integers(0, 4), st.integers(1, 5), st.sampled_from([1, 3, 8, 40]))
def test_runs_are_channels(rng, rows, groups, size):
    """Per token and per group: what per channel gives for the runs as rows."""
    x = torch.tensor(rng.normal(0, 3, (rows, groups * size))).float()
    scales = torch.tensor(rng.uniform(0.05, 0.5, (rows, groups))).float()
    zeros = torch.tensor(rng.integers(-8, 7, (rows, groups), endpoint=True))
    bounds = -8, 7, torch.int8
    q = ops.quantize_per_channel_group(x, scales, zeros, *bounds, size)
    runs = x.numpy().reshape(-1, size).astype(np.float64)
    inverse = (1 / scales.double()).float().double().numpy().reshape(-1, 1)
    z = zeros.numpy().reshape(-1, 1)
    steps = np.rint((runs * inverse).astype(np.float32))
    expected = np.clip(steps + z, -8, 7).reshape(x.shape)
    np.testing.assert_array_equal(q.numpy(), expected)
    back = ops.dequantize_per_channel_group(q, scales, zeros, *bounds, size)
    shifted = (expected.reshape(-1, size) - z).astype(np.float32)
    exact = (shifted * scales.numpy().reshape(-1, 1)).reshape(x.shape)
    np.testing.assert_array_equal(back.numpy(), exact)
    if groups == 1:
        assert torch.equal(ops.quantize_per_token(x, scales, zeros, *bounds), q)
        assert torch.equal(ops.dequantize_per_token(q, scales, zeros, *bounds), back)


def test_groups_are_of_128_values_by_default():
    x, scales, zeros = torch.randn(2, 384), torch.rand(2, 3) + 0.1, torch.zeros(2, 3).long()
    bounds = -128, 127, torch.int8
    q = ops.quantize_per_channel_group(x, scales, zeros, *bounds)
    for group in (q, ops.quantize_per_channel_group(x, scales, zeros, *bounds, 128)):
        runs = ops.quantize_per_token(x.view(6, 128), scales.view(6, 1), zeros.view(6, 1), *bounds)
        assert torch.equal(group.view(6, 128), runs)
    back = ops.dequantize_per_channel_group(q, scales, zeros, *bounds)
    assert (back - x).abs().max() <= scales.max() / 2 + 1e-6
    meta = [tensor.to("meta") for tensor in (x, scales, zeros)]
    assert ops.quantize_per_channel_group(*meta, *bounds).shape == x.shape


def test_schemas_and_fake_kernels_of_runs():
    x, scales = torch.randn(2, 3, 8), torch.rand(2, 3, 1) + 0.1
    zeros = torch.zeros(2, 3, 1, dtype=torch.int64)
    bounds = -128, 127, torch.int8
    q = check(ops.quantize_per_token, x, scales, zeros, *bounds)
    check(ops.dequantize_per_token, q, scales, zeros, *bounds, output_dtype=torch.float16)
    check(ops.dequantize_per_token, q, scales, None, *bounds)
    rows, groups = x.flatten(0, 1), torch.rand(6, 2) + 0.1
    q = check(ops.quantize_per_channel_group, rows, groups, torch.zeros(6, 2), *bounds, 4)
    check(ops.dequantize_per_channel_group, q, groups, None, *bounds, 4)
    whole = ops.quantize_per_channel_group(rows, scales.reshape(6, 1), zeros.reshape(6, 1), *bounds)
    assert torch.equal(whole, ops.quantize_per_token(rows, scales, zeros, *bounds))
    reference = decomposed._quantize_runs(decomposed.quantize_runs_reference, None)
    assert torch.equal(reference(rows, scales, zeros, *bounds), whole)


@pytest.mark.parametrize("bounds", [(0, 255, torch.uint8), (-128, 127, torch.int8)])
@pytest.mark.parametrize("shift", [0, 9, -9])
def test_chosen_parameters(bounds, shift):
    x = torch.randn(4, 30) + shift
    low, high, dtype = bounds
    below, above = min(x.min().item(), 0.0), max(x.max().item(), 0.0)
    scale, zero = check(ops.choose_qparams.tensor, x, low, high, 1e-7, dtype)
    np.testing.assert_allclose(scale.item(), (above - below) / 255, rtol=1e-6)
    assert zero.item() == np.clip(low - np.rint(below / scale.item()), low, high)
    scale, zero = check(ops.choose_qparams_symmetric.tensor, x, low, high, 1e-7, dtype)
    np.testing.assert_allclose(scale.item(), max(-below, above) / 127.5, rtol=1e-6)
    assert zero.item() == (0 if low else 128)

    scales, zeros = check(ops.choose_qparams_per_token, x, torch.int8)
    assert scales.shape == zeros.shape == (4, 1)
    np.testing.assert_allclose(scales, x.abs().amax(1, keepdim=True) / 127, rtol=1e-6)
    assert not zeros.any()
    scales, zeros = check(ops.choose_qparams_per_token_asymmetric, x, torch.int8)
    for row, scale, zero in zip(x, scales, zeros, strict=True):
        each = ops.choose_qparams.tensor(row, -128, 127, 2.0**-23, torch.int8)
        assert (scale.item(), zero.item()) == tuple(p.item() for p in each)


def test_parameters_of_what_is_not_finite():
    for x in (torch.tensor([math.nan, 2.0, math.inf]), torch.tensor([0.0, 2.0])):
        scale, zero = ops.choose_qparams.tensor(x, 0, 255, 1e-7, torch.uint8)
        assert (scale.item(), zero.item()) == (np.float32(2) / np.float32(255), 0)
    for x in (torch.tensor([math.nan]), torch.zeros(0), torch.zeros(3)):
        scale, zero = ops.choose_qparams.tensor(x, 0, 255, 0.5, torch.uint8)
        assert (scale.item(), zero.item()) == (0.5, 0)


def test_reference_paths_choose_the_same():
    x = torch.randn(5, 17)
    rules = decomposed.affine_parameters, decomposed.symmetric_parameters
    for rule, operator in zip(rules, ("choose_qparams", "choose_qparams_symmetric"), strict=True):
        plain = decomposed._per_tensor(decomposed.aminmax_reference, rule)
        args = x, -128, 127, 1e-7, torch.int8
        assert plain(*args) == tuple(getattr(ops, operator).tensor(*args))
    for symmetric, suffix in ((True, ""), (False, "_asymmetric")):
        plain = decomposed._per_token(decomposed.aminmax_per_row_reference, symmetric)
        native = getattr(ops, f"choose_qparams_per_token{suffix}")(x, torch.int8)
        for one, other in zip(plain(x, torch.int8), native, strict=True):
            assert torch.equal(one, other)


def test_others():
    x = torch.randn(3, 4, requires_grad=True)
    assert check(ops.convert_element_type.no_fuse, x.detach(), torch.float16).dtype == torch.float16
    scales, zeros = torch.rand(3) + 0.1, torch.zeros(3, dtype=torch.int32)
    y = ops.fake_quant_per_channel(x, scales, zeros, 0, -2, 1)
    assert torch.equal(y, qtensor.fake_quantize_per_channel_affine(x, scales, zeros, 0, -2, 1))
    y.sum().backward()
    assert x.grad is not None


class _Model(torch.nn.Module):
    def forward(self, x):
        scale, zero = ops.choose_qparams.tensor(x, 0, 255, 1e-7, torch.uint8)
        q = ops.quantize_per_tensor.tensor(x, scale, zero, 0, 255, torch.uint8)
        x = ops.dequantize_per_tensor.tensor(q, scale, zero, 0, 255, torch.uint8)
        scales, zeros = ops.choose_qparams_per_token_asymmetric(x, torch.int8)
        q = ops.quantize_per_token(x, scales, zeros, -128, 127, torch.int8)
        return ops.dequantize_per_token(q, scales, zeros, -128, 127, torch.int8)


@pytest.mark.parametrize("strict", [True, False])
def test_exported_with_a_dynamic_batch(strict):
    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(
        _Model(), (torch.randn(3, 8),), dynamic_shapes=({0: batch},), strict=strict
    )
    x = torch.randn(5, 8)
    assert torch.equal(program.module()(x), _Model()(x))


def test_compiled():
    x = torch.randn(5, 8)
    compiled = torch.compile(_Model(), backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(x), _Model()(x))


def test_lists_and_tensors_of_parameters():
    tensors = [torch.randn(3), torch.randn(2, 2)]
    scales, zeros = torch.tensor([0.1, 0.2]), torch.tensor([3, 4])
    several = qtensor.quantize_per_tensor(tensors, scales, zeros, qtensor.quint8)
    for q, x, scale, zero in zip(several, tensors, scales, zeros, strict=True):
        assert torch.equal(
            q.int_repr(),
            qtensor.quantize_per_tensor(x, float(scale), int(zero), qtensor.quint8).int_repr(),
        )
    for back, q in zip(qtensor.dequantize(several), several, strict=True):
        assert torch.equal(back, q.dequantize())
    with pytest.raises(ValueError, match="each of 2 tensors, got 1 and 2"):
        qtensor.quantize_per_tensor(tensors, scales[:1], zeros, qtensor.quint8)


@pytest.mark.parametrize("dtype", [qtensor.quint8, qtensor.qint8])
@pytest.mark.parametrize("reduce_range", [False, True])
def test_dynamic(dtype, reduce_range):
    x = torch.randn(100)
    q = qtensor.quantize_per_tensor_dynamic(x, dtype, reduce_range)
    low, high = q.int_repr().min().item(), q.int_repr().max().item()
    half = 2 if reduce_range else 1
    assert (low, high) == (dtype.quant_min // half, dtype.quant_max // half)
    assert (q.dequantize() - x).abs().max() <= q.q_scale()
    with pytest.raises(TypeError, match=r"quint8 or qtensor\.qint8, got qtensor\.qint32"):
        qtensor.quantize_per_tensor_dynamic(x, qtensor.qint32)


X, INTEGERS = torch.zeros(2, 6), torch.zeros(2, 6, dtype=torch.int8)
ONES = torch.ones(2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: ops.quantize_per_tensor.tensor(X, ONES, ONES, 0, 1, torch.uint8),
            ValueError,
            "scale of one element",
        ),
        (
            lambda: ops.quantize_per_token(X, ONES[:1], ONES, 0, 1, torch.uint8),
            ValueError,
            "expected 2 scales and zero points, one for each 6 values",
        ),
        (
            lambda: ops.quantize_per_channel_group(X, ONES, ONES, 0, 1, torch.uint8, 4),
            ValueError,
            "whole groups of 4 values",
        ),
        (
            lambda: ops.dequantize_per_token(X, ONES, ONES, 0, 1, torch.int8),
            TypeError,
            r"dtype torch\.int8, got torch\.float32",
        ),
        (
            lambda: ops.dequantize_per_tensor(INTEGERS, 0.1, 0, 0, 1, torch.uint8),
            TypeError,
            r"dtype torch\.uint8, got torch\.int8",
        ),
        (lambda: ops.choose_qparams_per_token(X, torch.uint8), TypeError, r"expected torch\.int8"),
        (lambda: ops.choose_qparams.tensor(X, 1, 1, 0.1, torch.uint8), ValueError, "quant_min <"),
        (lambda: ops.choose_qparams.tensor(X.int(), 0, 1, 0.1, torch.uint8), TypeError, "float32"),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_zero_points_are_counted_on_every_device(device):
    q, scales = torch.zeros(4, 8, dtype=torch.uint8, device=device), torch.ones(4, device=device)
    zero_points = torch.zeros(3, dtype=torch.int64, device=device)
    with pytest.raises(ValueError, match="expected 4 scales and zero points"):
        torch.ops.qtensor.dequantize_per_token(q, scales, zero_points, 0, 255, torch.uint8)
