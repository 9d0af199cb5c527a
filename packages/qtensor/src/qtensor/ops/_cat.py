"""Joining quantized tensors."""

from collections.abc import Sequence

import torch

from .._arguments import quantized
from .._one_call import Call, one_call
from .._ops.cat import cat as _cat
from .._qparams import QParams
from .._qtensor import QTensor, parameters


def cat(
    tensors: Sequence[QTensor],
    dim: int = 0,
    scale: float | None = None,
    zero_point: int | None = None,
) -> QTensor:
    """Joins quantized tensors along ``dim``.

    Args:
        tensors: quantized per tensor, quint8 or qint8; shapes equal but for ``dim``.
        dim: where to join.
        scale, zero_point: the output's parameters, those of the first tensor by default; its
            dtype is that of the first tensor. Inputs with other parameters are requantized.

    Returns:
        A quantized tensor, in ``channels_last`` memory format if all inputs are.

    Raises:
        TypeError: an input is not quantized so.
        ValueError: there are no tensors, or shapes do not fit.

    Example:
        >>> import torch, qtensor
        >>> a = qtensor.quantize_per_tensor(torch.ones(2), 0.1, 0, qtensor.quint8)
        >>> b = qtensor.quantize_per_tensor(torch.ones(1), 0.5, 10, qtensor.quint8)
        >>> qtensor.ops.cat([a, b], 0, 0.5, 0).int_repr()
        tensor([2, 2, 2], dtype=torch.uint8)
    """
    return cat_to(tensors, dim, _output(tensors, scale, zero_point))


def cat_relu(
    tensors: Sequence[QTensor],
    dim: int = 0,
    scale: float | None = None,
    zero_point: int | None = None,
) -> QTensor:
    """:func:`cat` followed by ReLU, in one pass."""
    return cat_to(tensors, dim, _output(tensors, scale, zero_point), 0.0)


@one_call
def cat_to(
    tensors: Sequence[QTensor],
    dim: int,
    output: QParams,
    activation_min: float | None = None,
    activation_max: float | None = None,
) -> Call:
    """:func:`cat` with all of the output's parameters, and bounds on its real values."""
    parts = [quantized(x, "cat", f"tensors[{i}]") for i, x in enumerate(tensors)]
    arguments = (
        [x._data for x in parts],
        [x._scale for x in parts],
        [x._zero_point for x in parts],
        dim,
        output.scale,
        output.zero_point,
        output.quant_min,
        output.quant_max,
        output.dtype.storage,
        activation_min,
        activation_max,
    )
    return Call(_cat, arguments, output)


def stack(
    tensors: Sequence[QTensor],
    dim: int = 0,
    scale: float | None = None,
    zero_point: int | None = None,
) -> QTensor:
    """Joins quantized tensors of one shape along a new dimension ``dim``.

    Args:
        tensors, scale, zero_point: as in :func:`cat`.
        dim: where the new dimension goes.
    """
    apart = [torch.unsqueeze(quantized(x, "stack", "tensors"), dim) for x in tensors]
    return cat(apart, dim, scale, zero_point)  # type: ignore[arg-type]  # of QTensors, QTensors


def _output(tensors: Sequence[QTensor], scale: float | None, zero_point: int | None) -> QParams:
    if not tensors:
        raise ValueError("expected one tensor or more to join, got none")
    first = parameters(quantized(tensors[0], "cat", "tensors[0]"))
    return first.replace(
        scale=first.scale if scale is None else scale,
        zero_point=first.zero_point if zero_point is None else zero_point,
    )
