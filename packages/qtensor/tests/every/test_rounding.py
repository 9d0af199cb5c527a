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


def _conv(x, scale, zero, weight, scales, zeros, bias, *rest):
    real = _real(x, scale, zero), _weight(weight, scales, zeros), bias.double()
    geometry, output = rest[:4], rest[5:]
    return F.conv2d(*real, *geometry), output


def _binary(function):
    def exact(a, a_scale, a_zero, b, b_scale, b_zero, *output):
        return function(_real(a, a_scale, a_zero), _real(b, b_scale, b_zero)), output

    return exact


EXACT = {
    "linear": _linear,
    "conv2d": _conv,
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
