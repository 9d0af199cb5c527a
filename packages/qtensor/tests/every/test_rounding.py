"""Requantized results against float64: another step only next to a tie.

Bit for bit they are what float32 gives in a stated order (tests beside each operator); this says
how far that may be from the exact result.
"""

import pytest
import torch
import torch.nn.functional as F

from .operators import examples

NEAR = 2**-12


def _real(integers, scale, zero_point):
    return (integers.double() - zero_point) * scale


def _weight(weight, scales, zero_points, axis=0):
    shape = [1] * weight.dim()
    shape[axis] = -1
    centred = weight.double() - (0 if zero_points is None else zero_points.view(shape))
    return centred * scales.double().view(shape)


def _linear(x, scale, zero, weight, scales, zeros, bias, *output):
    return F.linear(_real(x, scale, zero), _weight(weight, scales, zeros), bias.double()), output


def _conv(function, axis=0, geometry=4):
    """``axis``: of the weight's channels; ``geometry``: how many of its arguments torch takes."""

    def exact(x, scale, zero, weight, scales, zeros, bias, *rest):
        real = _real(x, scale, zero), _weight(weight, scales, zeros, axis), bias.double()
        return function(*real, *rest[:geometry]), rest[5:]

    return exact


def _cat(tensors, scales, zeros, dim, *output):
    return torch.cat(
        [_real(*each) for each in zip(tensors, scales, zeros, strict=True)], dim
    ), output


def _mean(x, dims, keepdim, scale, zero, *output):
    return _real(x, scale, zero).mean(dims, keepdim), output


def _avg_pool(x, zero, kernel, stride, padding, ceil_mode, count_include_pad):
    options = kernel, stride, padding, ceil_mode, count_include_pad
    return F.avg_pool1d(_real(x, 1, zero), *options), (1, zero, 0, 255)


def _batch_norm(x, scale, zero, weight, bias, mean, var, eps, *output):
    statistics = (values.double() for values in (mean, var, weight, bias))
    return F.batch_norm(_real(x, scale, zero), *statistics, eps=eps).clamp(min=0), output


def _prelu(x, scale, zero, slopes, *output):
    return F.prelu(_real(x, scale, zero), slopes.double()), output


def _binary(function):
    def exact(a, a_scale, a_zero, b, b_scale, b_zero, *output):
        return function(_real(a, a_scale, a_zero), _real(b, b_scale, b_zero)), output

    return exact


EXACT = {
    "linear": _linear,
    **{f"conv{axes}d": _conv(getattr(F, f"conv{axes}d")) for axes in (1, 2, 3)},
    **{
        f"conv_transpose{axes}d": _conv(getattr(F, f"conv_transpose{axes}d"), 1, 5)
        for axes in (1, 2, 3)
    },
    "avg_pool": _avg_pool,
    "batch_norm2d": _batch_norm,
    "cat": _cat,
    "mean": _mean,
    "prelu": _prelu,
    "unary": lambda x, scale, zero, name, _, *output: (F.gelu(_real(x, scale, zero)), output),
    "matmul": _binary(torch.matmul),
    "add": _binary(torch.add),
    "mul": _binary(torch.mul),
    "requantize": lambda x, scale, zero, *output: (_real(x, scale, zero).clamp(min=0), output),
}


@pytest.mark.parametrize("name", EXACT)
def test_another_step_than_float64_only_next_to_a_tie(name):
    example = next(example for example in examples() if example.operator == name)
    exact, (scale, zero_point, low, high, *_) = EXACT[name](*example.arguments)
    result = example.op(*example.arguments).double()
    steps = (exact / scale + zero_point).clamp(low, high)
    difference = (result - steps.round()).abs()
    distance = ((steps - steps.floor()) - 0.5).abs()
    print(f"{name}: {int(difference.sum())} of {steps.numel()} values are another step")
    assert difference.max() <= 1
    assert not bool(((difference > 0) & (distance > NEAR)).any())
    assert steps.unique().numel() > 10  # the whole range is used, not only its ends
