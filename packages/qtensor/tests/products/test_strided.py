"""Products of tensors in any layout, larger than what is copied at a time."""

from itertools import product

import pytest
import torch

from qtensor import _isa

from ..every.kernels import assert_same, isa
from .common import threads

OPS = torch.ops.qtensor
ROWS, COLUMNS = 900, 640  # more than two blocks of 2^18 values
GENERATOR = torch.Generator().manual_seed(0)


def _parts(wide):
    return {
        "columns": wide[:, :, :COLUMNS],
        "every second": wide[:, :, ::2],
        "every second row": wide[:, ::2, :COLUMNS],
        "transposed": wide[0, :COLUMNS].t()[:ROWS].contiguous().t()[:, :COLUMNS],
        "expanded": wide[:1, :1, :COLUMNS].expand(ROWS, 1, COLUMNS),
        "one row": wide[0, 0, ::2],
    }


@pytest.mark.parametrize("name", _parts(torch.empty(2, ROWS, 2 * COLUMNS)))
@pytest.mark.parametrize("per_row", [True, False])
def test_linear_reads_rows_in_any_layout(name, per_row):
    generator = torch.Generator().manual_seed(0)
    x = _parts(torch.randn(2, ROWS, 2 * COLUMNS, generator=generator))[name]
    weight = torch.randint(-128, 128, (20, x.shape[-1]), generator=generator).to(torch.int8)
    arguments = weight, torch.rand(20, generator=generator) / 50, None, torch.randn(20)
    for isa_name in _isa.available():
        with isa(isa_name):
            result = OPS.linear_dynamic(x, *arguments, 255, per_row)
            assert_same(result, OPS.linear_dynamic(x.contiguous(), *arguments, 255, per_row))
            result = OPS.linear_weight_only(x, *arguments)
            assert_same(result, OPS.linear_weight_only(x.contiguous(), *arguments))


def _bytes(*shape, dtype=torch.uint8):
    info = torch.iinfo(dtype)
    return torch.randint(info.min, info.max + 1, shape, generator=GENERATOR).to(dtype)


@pytest.mark.parametrize("name", _parts(torch.empty(2, ROWS, 2 * COLUMNS)))
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8])
@pytest.mark.parametrize("most", [127, 255])
def test_linear_reads_bytes_in_any_layout(name, dtype, most):
    wide = _bytes(2, ROWS, 2 * COLUMNS, dtype=dtype)
    wide = wide.clamp(max=most) if dtype is torch.uint8 else wide
    x = _parts(wide)[name]
    weight = _bytes(20, x.shape[-1], dtype=torch.int8)
    scales = torch.full((20,), 1 / 4000)
    exact = (x.double() - 3) @ weight.double().t()
    expected = ((exact.float() * scales).round() + 100).clamp(0, 255).to(torch.uint8)
    for isa_name in _isa.available():
        with isa(isa_name):
            output = 1.0, 100, 0, 255, torch.uint8
            result = OPS.linear(x, 1.0, 3, weight, scales, None, None, *output)
            assert torch.equal(result, expected)


def _layouts(*shape):
    """Tensors of this shape, of two dimensions or more, that lie in memory in several ways."""
    *batch, rows, columns = shape
    yield "rows apart", _bytes(*batch, rows, columns + 5)[..., :columns]
    yield "every second row", _bytes(*batch, 2 * rows, columns)[..., ::2, :]
    yield "every second column", _bytes(*batch, rows, 2 * columns)[..., ::2]
    yield "transposed", _bytes(*batch, columns, rows).mT
    if batch:
        yield "heads", _bytes(*batch[:-1], rows, batch[-1], columns).transpose(-2, -3)
    yield "reversed", _bytes(*reversed(shape)).permute(*reversed(range(len(shape))))
    yield "expanded", _bytes(*batch, 1, columns).expand(shape)
    yield "expanded batch", _bytes(rows, columns).expand(shape)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_matmul_reads_both_in_any_layout(batch):
    for a_name, a in _layouts(*batch, 7, 10):
        for b_name, b in _layouts(*batch, 10, 18):
            exact = (a.long() - 5) @ (b.long() - 9)
            for name in _isa.available():
                with isa(name):
                    result = OPS.matmul_int32(a, 5, b, 9)
                    assert torch.equal(result.long(), exact), (a_name, b_name)


def test_matmul_broadcasts_what_lies_in_any_layout():
    for (_, a), (_, b) in product(_layouts(2, 1, 7, 10), _layouts(3, 10, 18)):
        assert torch.equal(OPS.matmul_int32(a, 5, b, 9).long(), (a.long() - 5) @ (b.long() - 9))
        single = b[0]
        exact = (a.long() - 5) @ (single.long() - 9)
        assert torch.equal(OPS.matmul_int32(a, 5, single, 9).long(), exact)


@pytest.mark.parametrize("rows", [1, 2, 33])
@pytest.mark.parametrize("channels", [5, 16, 37, 64])
def test_linear_adds_a_residual_in_any_layout(rows, channels):
    x, weight = _bytes(rows, 40), _bytes(channels, 40, dtype=torch.int8)
    arguments = x, 0.1, 100, weight, torch.full((channels,), 0.01), None, torch.randn(channels)
    output = 0.5, 90, 0, 255, torch.uint8, None, None
    for layout, residual in _layouts(rows, channels):
        expected = OPS.linear(*arguments, *output, residual.contiguous(), 0.3, 7)
        before = residual.clone()
        for name in _isa.available():
            with isa(name):
                assert_same(OPS.linear(*arguments, *output, residual, 0.3, 7), expected)
        assert torch.equal(residual, before), layout


@pytest.mark.parametrize("groups", [1, 2, 24])
@pytest.mark.parametrize("count", [1, 2])
def test_convolution_adds_a_residual_in_any_layout(groups, count):
    x = _bytes(2, 24, 9, 11)
    weight = _bytes(48, 24 // groups, 3, 3, dtype=torch.int8)
    arguments = x, 0.1, 100, weight, torch.full((48,), 0.01), None, torch.randn(48)
    geometry = [1, 1], [1, 1], [1, 1], groups, "zeros"
    output = 0.5, 90, 0, 255, torch.uint8, None, None
    last = torch.channels_last
    for layout, residual in _layouts(2, 48, 9, 11):
        dense = residual.contiguous(memory_format=last)
        expected = OPS.conv2d(*arguments, *geometry, *output, dense, 0.3, 7)
        for name in _isa.available():
            with isa(name), threads(count):
                result = OPS.conv2d(*arguments, *geometry, *output, residual, 0.3, 7)
                assert torch.equal(result, expected), layout
        assert torch.equal(residual, dense), layout


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("per_image", [True, False])
def test_convolution_finds_the_range_of_a_part(memory_format, per_image):
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(3, 40, 60, 50, generator=generator).contiguous(memory_format=memory_format)
    wide[:, :, :, 1::2] *= 100  # of no concern
    x = wide[:, 3:35, 5:-5, ::2]
    weight = torch.randint(-128, 128, (8, 32, 3, 3), generator=generator).to(torch.int8)
    arguments = weight, torch.rand(8, generator=generator) / 50, None, torch.randn(8)
    geometry = [1, 1], [1, 1], [1, 1], 1, "zeros", 255, per_image
    for name in _isa.available():
        with isa(name):
            result = OPS.conv2d_dynamic(x, *arguments, *geometry)
            assert_same(result, OPS.conv2d_dynamic(x.contiguous(), *arguments, *geometry))
