"""Products of float tensors in any layout, larger than what is copied at a time."""

import pytest
import torch

from qtensor import _isa

from ..every.kernels import assert_same, isa

OPS = torch.ops.qtensor
ROWS, COLUMNS = 900, 640  # more than two blocks of 2^18 values


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
