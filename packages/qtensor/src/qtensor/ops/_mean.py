"""Means of quantized tensors."""

from collections.abc import Sequence

from .._arguments import quantized
from .._one_call import Call, one_call
from .._ops import mean as _mean
from .._ops._checks import RANGES
from .._qtensor import QTensor, parameters


def mean_call(
    qx: QTensor,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    scale: float | None = None,
    zero_point: int | None = None,
) -> Call:
    """The mean over some dimensions; sums are exact, and rounded once.

    Args:
        qx: quantized per tensor, quint8 or qint8, any shape.
        dim: the dimensions that the mean is taken over, all by default.
        keepdim: keep them, with size 1.
        scale, zero_point: the output's parameters, those of ``qx`` by default.

    Returns:
        A quantized tensor of the shape of ``qx`` without these dimensions.

    Raises:
        TypeError: ``qx`` is not quantized so.
        ValueError: a dimension does not exist, occurs twice or has size 0.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.tensor([1.0, 2.0, 6.0]), 0.5, 0, qtensor.quint8)
        >>> qtensor.ops.mean(q).dequantize()
        tensor(3.)
    """
    x = quantized(qx, "mean", "qx")
    given = parameters(x)
    output = given
    if scale is not None or zero_point is not None:
        output = given.replace(
            scale=given.scale if scale is None else scale,
            zero_point=given.zero_point if zero_point is None else zero_point,
        )
    # What keeps its parameters stays within the range that it came from.
    bounds = RANGES[x._data.dtype] if output is given else (output.quant_min, output.quant_max)
    dims = range(x.dim()) if dim is None else [dim] if isinstance(dim, int) else dim
    arguments = (
        x._data,
        list(dims) or list(range(x.dim())),
        keepdim,
        given.scale,
        given.zero_point,
        output.scale,
        output.zero_point,
        *bounds,
    )
    return Call(_mean.mean, arguments, output)


mean = one_call(mean_call)
