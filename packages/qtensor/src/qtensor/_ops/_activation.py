"""Activations that linear and convolution apply to their result before they bound it.

For ReLU and its relatives the bounds are enough. These are not, and every implementation computes
them in float32 by the same operations in the same order, without fused multiply-add and without a
math library, so that all agree bit for bit::

    leaky_relu(x) = x if x > 0 else x * negative_slope
    tanh(x)       = m / (m + 2) with m = e**(-2|x|) - 1, and the sign of x
    gelu(x)       = x * (tail if x < 0 else 1 - tail), where tail is
        "gelu"       0.5 * erfc(|x| / sqrt(2))
        "gelu_tanh"  (m + 1) / (m + 2) with m = e**(-2 sqrt(2 / pi) |x + 0.044715 x**3|) - 1

- ``e**v - 1``: Cody and Waite's reduction to ``v = n ln 2 + r`` with ``ln 2`` in two parts, and the
  Taylor series of ``r`` up to its 7th power, which at ``|r| <= ln(2) / 2`` is good for float32.
- ``erfc``: formula 7.1.26 of Abramowitz and Stegun, whose error is at most 1.5e-7.

Against float64 the error of tanh is at most 2e-7 of the result, and that of both GELUs at most
3e-7 times the larger of 1 and ``|x|``.
"""

import math

import torch
from torch import Tensor

ACTIVATIONS = ("", "leaky_relu", "tanh", "gelu", "gelu_tanh")
"""What may follow a product; the index is the code in ``enum activation`` of csrc/gemm.h."""

_ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736)
_FLOAT32 = torch.finfo(torch.float32)


def check_activation(activation: str, negative_slope: float) -> None:
    """Raise ``ValueError`` unless the activation is known and its slope finite."""
    if activation not in ACTIVATIONS:
        expected = ", ".join(map(repr, ACTIVATIONS))
        raise ValueError(f"expected an activation out of {expected}, got {activation!r}")
    if not math.isfinite(negative_slope):
        raise ValueError(f"expected a finite negative_slope, got {negative_slope}")


def bounded(y: Tensor, activation_min: float | None, activation_max: float | None) -> Tensor:
    """Float results within their bounds, which are float32 as well; NaN stays NaN."""
    low = None if activation_min is None else y.new_tensor(activation_min)
    high = None if activation_max is None else y.new_tensor(activation_max)
    return y if low is None and high is None else y.clamp(low, high)


def activated(t: Tensor, activation: str, negative_slope: float, scale: float = 1.0) -> Tensor:
    """The activation of ``t * scale``, divided by ``scale`` again.

    Args:
        t: float32, any shape; a result in steps of ``scale``.
        activation: out of :data:`ACTIVATIONS`.
        negative_slope: of a leaky ReLU.
        scale: of the quantized output; 1 for float output.

    Returns:
        float32, like ``t``.
    """
    if not activation:
        return t
    t = torch.where(t < _FLOAT32.min, _FLOAT32.min, t)  # infinity times 0 is NaN
    if activation == "leaky_relu":
        return torch.where(t > 0, t, t * t.new_tensor(negative_slope))
    x = t * t.new_tensor(scale)
    if activation == "tanh":
        m = expm1_negative(-2 * x.abs())
        y = m / (m + 2)
        return torch.where(x > 0, -y, y) * t.new_tensor(1 / scale)
    tail = _normal_tail(x) if activation == "gelu" else _logistic_tail(x)
    return t * torch.where(x < 0, tail, 1 - tail)


def expm1_negative(v: Tensor) -> Tensor:
    """``e**v - 1`` for ``v <= 0``."""
    v = torch.where(v < -87, -87.0, v)
    n = (v * 1.44269504).round()
    r = v - n * 0.693359375
    r = r - n * -2.12194440e-4
    p = torch.full_like(r, 1 / 5040)
    for factorial in (720, 120, 24, 6, 2):
        p = p * r + 1 / factorial
    p = r * r * p + r
    power = ((n.nan_to_num().int() + 127) << 23).view(torch.float32)
    return power * p + (power - 1)


def _normal_tail(x: Tensor) -> Tensor:
    k = 1 / (1 + x.abs() * 0.231641888)
    p = torch.full_like(k, _ERF[0])
    for coefficient in (*_ERF[1:], 0.254829592):
        p = p * k + coefficient
    return 0.5 * (p * k) * (expm1_negative(x * x * -0.5) + 1)


def _logistic_tail(x: Tensor) -> Tensor:
    m = expm1_negative(-(x * (1.59576912 + 0.0713548163 * (x * x))).abs())
    return (m + 1) / (m + 2)
