"""Joining quantized tensors: each is requantized straight into its place in the output."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .. import _elementwise
from .._calls import Prepared
from ._checks import BYTES, RANGES, check_integers
from ._layout import layout_under, outer_channels_inner
from ._registry import operator
from .requantize import check_requantize, requantize_params, requantize_reference


def cat_reference(
    tensors: Sequence[Tensor],
    scales: Sequence[float],
    zero_points: Sequence[int],
    dim: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
    activation_min: float | None = None,
    activation_max: float | None = None,
) -> Tensor:
    """Join quantized tensors along one dimension.

    Args:
        tensors: uint8 or int8, of shapes that differ in ``dim`` only; one or more.
        scales, zero_points: how each of them is quantized.
        dim: where to join; a negative one counts from the end.
        output_scale, output_zero_point: how the result is.
        quant_min, quant_max: the integers the result may use, both included.
        dtype: of the result, ``torch.uint8`` or ``torch.int8``.
        activation_min, activation_max: bounds of the real result, as in ``add``.

    Returns:
        Each tensor as ``requantize`` gives it, joined; in ``channels_last`` memory format if all
        of them are.

    Raises:
        TypeError: the dtypes are not as above.
        ValueError: there are no tensors, shapes or the numbers of parameters do not fit together,
            ``dim`` is none of theirs, or parameters are not valid (see ``requantize``).

    Example:
        >>> import torch, qtensor
        >>> a, b = torch.tensor([1], dtype=torch.uint8), torch.tensor([12], dtype=torch.uint8)
        >>> torch.ops.qtensor.cat([a, b], [1.0, 0.5], [0, 10], 0, 1.0, 0, 0, 255, torch.uint8)
        tensor([1, 1], dtype=torch.uint8)
    """
    bounds = quant_min, quant_max, dtype, activation_min, activation_max
    parts = [
        requantize_reference(x, scale, zero_point, output_scale, output_zero_point, *bounds)
        for x, scale, zero_point in zip(tensors, scales, zero_points, strict=True)
    ]
    return torch.cat(parts, dim)


def _empty_joined(
    tensors: Sequence[Tensor],
    scales: Sequence[float],
    zero_points: Sequence[int],
    dim: int,
    dtype: torch.dtype,
) -> Tensor:
    if not tensors or not len(tensors) == len(scales) == len(zero_points):
        raise ValueError(
            "expected one tensor or more, and a scale and a zero point for each, got "
            f"{len(tensors)} tensors, {len(scales)} scales and {len(zero_points)} zero_points"
        )
    shape = list(tensors[0].shape)
    if not -len(shape) <= dim < len(shape):
        raise ValueError(
            f"expected dim to be one of tensors[0], which has shape {tuple(shape)}, got {dim}"
        )
    dim %= len(shape)
    shape[dim] = 0
    for i, x in enumerate(tensors):
        check_integers(x, BYTES, f"tensors[{i}]")
        if x.ndim != len(shape) or any(
            x.shape[d] != tensors[0].shape[d] for d in range(len(shape)) if d != dim
        ):
            raise ValueError(
                f"expected shapes that differ in dimension {dim} only, got "
                f"{tuple(tensors[0].shape)} and, for tensors[{i}], {tuple(x.shape)}"
            )
        shape[dim] += x.shape[dim]
    first = tensors[0]
    return torch.empty(shape, dtype=dtype, device=first.device, memory_format=_format(tensors))


def _format(tensors: Sequence[Tensor]) -> torch.memory_format:
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(tensors[0].ndim)
    if last and all(x.is_contiguous(memory_format=last) and not x.is_contiguous() for x in tensors):
        return last
    return torch.contiguous_format


def cat_fake(
    tensors: Sequence[Tensor],
    scales: Sequence[float],
    zero_points: Sequence[int],
    dim: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
    activation_min: float | None = None,
    activation_max: float | None = None,
) -> Tensor:
    output = _empty_joined(tensors, scales, zero_points, dim, dtype)
    for part in zip(tensors, scales, zero_points, strict=True):
        check_requantize(*part, output_scale, output_zero_point, quant_min, quant_max, dtype)
    return output


def _kernel(
    output: Tensor,
    tensors: Sequence[Tensor],
    scales: Sequence[float],
    zero_points: Sequence[int],
    dim: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
    activation_min: float | None = None,
    activation_max: float | None = None,
) -> _elementwise.Join:
    parameters = output_scale, output_zero_point, quant_min, quant_max, dtype
    bounds = activation_min, activation_max
    unbounded = bounds == (None, None) and (quant_min, quant_max) == RANGES[dtype]
    outer, size, inner = outer_channels_inner(output, dim) if output.numel() else (0, 0, 0)
    parts, place, memory_format = [], 0, _format(tensors)
    for x, scale, zero_point in zip(tensors, scales, zero_points, strict=True):
        params = requantize_params(x.dtype, scale, zero_point, *parameters, *bounds)
        same = (x.dtype, scale, zero_point) == (dtype, output_scale, output_zero_point)
        length = x.shape[dim] * inner if size > 1 else x.numel()
        rows = place, outer, length, size * inner
        dense = torch.empty(x.shape, device="meta", memory_format=memory_format)
        parts.append((None if same and unbounded else params, *rows, layout_under(dense, x)))
        place += length
    return _elementwise.Join(parts)


cat = operator(
    "cat(Tensor[] tensors, float[] scales, int[] zero_points, int dim, float output_scale, "
    "int output_zero_point, int quant_min, int quant_max, ScalarType dtype, "
    "float? activation_min=None, float? activation_max=None) -> Tensor",
    cpu=Prepared(cat_fake, _kernel),
    reference=cat_reference,
    fake=cat_fake,
)
