"""Interpolation of quantized images, which keeps the parameters."""

import math
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F

from .._one_call import Call
from .._ops.interpolate import interpolate_linear, interpolate_nearest
from .._ops.pool import adaptive_avg_pool
from .._qtensor import QTensor, in_float, parameters
from .._sizes import each
from ._register import stands_for

_LINEAR = ("linear", "bilinear", "trilinear")


@stands_for("interpolate", per_tensor=True, of_bytes=True)
def _interpolate(
    input: QTensor,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    data, output = input._data, parameters(input)
    spatial = data.dim() - 2
    known = ("nearest", "nearest-exact", "area", *_LINEAR[spatial - 1 : spatial])
    if antialias or mode not in known or not 1 <= spatial <= 3:
        options = {"antialias": antialias, "recompute_scale_factor": recompute_scale_factor}
        given = input, size, scale_factor, mode, align_corners
        return in_float(F.interpolate, "interpolate", given, options)
    if align_corners is not None and mode not in _LINEAR:
        raise ValueError(f"align_corners has no meaning for mode {mode!r}; leave it out")
    if (size is None) == (scale_factor is None):
        raise ValueError(
            f"expected either size or scale_factor, got size={size}, scale_factor={scale_factor}"
        )
    factors: tuple[float, ...] | None = None
    if scale_factor is not None:
        factors = each(scale_factor, spatial)
        if len(factors) != spatial or not all(map(math.isfinite, factors)):
            raise ValueError(
                f"expected one finite scale_factor, or {spatial}, got {scale_factor} for a QTensor "
                f"of shape {tuple(data.shape)}"
            )
        sizes = tuple(int(n * by) for n, by in zip(data.shape[2:], factors, strict=True))
        if recompute_scale_factor:
            factors = None
    else:
        sizes = each(size, spatial)
    if mode == "area":
        return Call(adaptive_avg_pool, (data, sizes, input._zero_point), output)
    if mode in _LINEAR:
        rule = sizes, factors, bool(align_corners)
        return Call(interpolate_linear, (data, input._zero_point, *rule), output)
    return Call(interpolate_nearest, (data, sizes, factors, mode == "nearest-exact"), output)
