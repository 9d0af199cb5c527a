"""Bounds, and shuffles of channels and pixels, on integers: what torch's functions give."""

import pytest
import torch
import torch.nn.functional as F

import qtensor

SHUFFLES = [
    *((F.channel_shuffle, "groups", groups) for groups in (1, 2, 3, 4, 6, 8, 12)),
    *((F.pixel_shuffle, "upscale_factor", factor) for factor in (1, 2, 4)),
    *((F.pixel_unshuffle, "downscale_factor", factor) for factor in (1, 2, 3, 6)),
]


def quantized(*shape, dtype=qtensor.quint8):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return qtensor.quantize_per_tensor(x, 0.02, 7, dtype)


@pytest.mark.parametrize(("function", "name", "factor"), SHUFFLES)
@pytest.mark.parametrize("dtype", [qtensor.quint8, qtensor.qint8, qtensor.qint32], ids=str)
def test_shuffles(function, name, factor, dtype):
    q = quantized(2, 48, 6, 12, dtype=dtype)
    expected = function(q.int_repr(), factor)
    last = q.contiguous(memory_format=torch.channels_last)
    strided = last[:, :, ::2, ::2]
    with qtensor.fallback("error"):
        for _ in range(2):  # the second time by the kernel
            for x in (q, last, q[:1], last[:1]):
                assert torch.equal(function(x, factor).int_repr(), expected[: len(x)])
                assert torch.equal(function(x, **{name: factor}).int_repr(), expected[: len(x)])
            result = function(last, factor)
            assert result.int_repr().is_contiguous(memory_format=torch.channels_last)
            assert result.qparams == q.qparams
            small = function(strided, factor) if 6 % (2 * factor) == 0 else None
            if small is not None:
                assert torch.equal(small.int_repr(), function(strided.int_repr(), factor))


def test_shuffles_of_other_images():
    q = quantized(48, 4, 6)
    assert torch.equal(F.pixel_shuffle(q, 2).int_repr(), F.pixel_shuffle(q.int_repr(), 2))
    empty = quantized(0, 8, 4, 4).contiguous(memory_format=torch.channels_last)
    assert F.channel_shuffle(empty, 2).shape == (0, 8, 4, 4)
    with pytest.raises(RuntimeError):
        F.pixel_shuffle(quantized(1, 3, 4, 4).contiguous(memory_format=torch.channels_last), 2)


@pytest.mark.parametrize("dtype", [qtensor.quint8, qtensor.qint8, qtensor.qint32], ids=str)
def test_bounds(dtype):
    q = quantized(3, 5, 7, dtype=dtype)
    kinds = ((F.relu, 7, None), (F.relu6, 7, 307), (F.hardtanh, -43, 57))
    for x in (q, q.transpose(0, 2), q[:, ::2]):
        for function, low, high in kinds * 2:  # the second time by the kernel
            result = function(x)
            assert torch.equal(result.int_repr().long(), x.int_repr().long().clamp(low, high))
            assert result.stride() == result.int_repr().stride()
            assert result.qparams == q.qparams
    for _ in range(2):
        assert torch.equal(q.clamp(max=0.1).int_repr(), q.int_repr().clamp(max=12))
        assert torch.equal(torch.clamp(q, 0.5, 0.1).int_repr(), q.int_repr().clamp(32, 12))


def test_compiled():
    def function(x):
        return F.relu(F.channel_shuffle(x, 2)).int_repr()

    q = quantized(1, 8, 4, 4).contiguous(memory_format=torch.channels_last)
    compiled = torch.compile(function, backend="eager", fullgraph=True)
    assert torch.equal(compiled(q), function(q))
