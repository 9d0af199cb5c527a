"""Batch norms of quantized tensors, by running statistics."""

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor

from .._arguments import quantized, requantization
from .._ops import batch_norm as _ops
from .._qparams import per_tensor_qparams
from .._qtensor import QTensor, parameters, wrapped
from ._geometry import named

_OPERATORS = {3: _ops.batch_norm1d, 4: _ops.batch_norm2d, 5: _ops.batch_norm3d}


def batch_norm(
    qx: QTensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    var: Tensor,
    eps: float,
    output_scale: float,
    output_zero_point: int,
    activation_min: float | None = None,
) -> QTensor:
    """``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel.

    Args:
        qx: shape ``(N, C, S)`` of one to three spatial axes S, quint8 or qint8.
        weight, bias: float32, shape ``(C,)``; ones and zeros where ``None``.
        mean, var: float32, shape ``(C,)``.
        eps: added to ``var``.
        output_scale, output_zero_point: the output's parameters; its dtype is that of ``qx``.
        activation_min: a bound on the real output, such as 0 for ReLU.

    Returns:
        A quantized tensor of the shape of ``qx``, channels last in memory.

    Raises:
        TypeError: ``qx`` is not quantized so, or has another number of dimensions.
        ValueError: shapes do not fit.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.ones(1, 1, 2), 0.5, 0, qtensor.quint8)
        >>> one = torch.ones(1)
        >>> qtensor.ops.batch_norm(q, None, one, 0 * one, one, 0.0, 0.5, 0).dequantize()
        tensor([[[2., 2.]]])
    """
    x = quantized(qx, "batch_norm", "qx")
    operator = _OPERATORS.get(x.dim())
    if operator is None:
        raise TypeError(
            f"batch_norm expects (N, C, …) of one to three spatial axes, got {tuple(x.shape)}"
        )
    output = per_tensor_qparams(output_scale, output_zero_point, parameters(x).dtype)
    data = operator(
        x._data,
        x._scale,
        x._zero_point,
        torch.ones_like(mean) if weight is None else weight,
        torch.zeros_like(mean) if bias is None else bias,
        mean,
        var,
        eps,
        *requantization(output),
        activation_min,
    )
    return wrapped(data, output)


def batch_norm_relu(
    qx: QTensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    var: Tensor,
    eps: float,
    output_scale: float,
    output_zero_point: int,
) -> QTensor:
    """:func:`batch_norm` followed by ReLU."""
    statistics = weight, bias, mean, var, eps
    return batch_norm(qx, *statistics, output_scale, output_zero_point, 0.0)


def _of_axes(function: Callable[..., QTensor], axes: int) -> Callable[..., QTensor]:
    """``function`` under the old name for images of so many axes."""
    name = function.__name__.replace("norm", f"norm{axes}d")

    @wraps(function)
    def checked(qx: QTensor, *args: object, **kwargs: object) -> QTensor:
        if quantized(qx, name, "qx").dim() != axes + 2:
            raise TypeError(f"{name} expects {axes + 2} dimensions, got {tuple(qx.shape)}")
        return function(qx, *args, **kwargs)

    checked.__doc__ = f":func:`{function.__name__}` of inputs of {axes + 2} dimensions."
    return named(checked, name)


batch_norm1d, batch_norm2d, batch_norm3d = (_of_axes(batch_norm, axes) for axes in (1, 2, 3))
batch_norm1d_relu, batch_norm2d_relu, batch_norm3d_relu = (
    _of_axes(batch_norm_relu, axes) for axes in (1, 2, 3)
)
