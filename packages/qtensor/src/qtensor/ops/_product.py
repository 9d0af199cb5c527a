"""What linear layers and convolutions of quantized tensors have in common."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .._arguments import quantized, requantization, weight_arguments
from .._qparams import QParams
from .._qtensor import QTensor, wrapped


def product(
    operator: Callable[..., Tensor],
    input: QTensor,
    weight: QTensor,
    channel_axis: int,
    bias: Tensor | None,
    geometry: tuple[Any, ...],
    output: QParams,
    activation_min: float | None,
    activation_max: float | None,
    activation: str,
    negative_slope: float,
    residual: QTensor | None,
) -> QTensor:
    """``operator`` on these, with the output's parameters.

    Args:
        channel_axis: the weight's axis of output channels.
        geometry: what the operator takes between the bias and the output's parameters.

    Raises:
        TypeError: ``input``, ``weight`` or ``residual`` is not quantized as it must be.
    """
    name = operator.__name__
    x = quantized(input, name)
    added: tuple[Any, ...] = (None, 1.0, 0)
    if residual is not None:
        r = quantized(residual, name, "residual")
        added = r._data, r._scale, r._zero_point
    data = operator(
        x._data,
        x._scale,
        x._zero_point,
        *weight_arguments(weight, name, channel_axis),
        bias,
        *geometry,
        *requantization(output),
        activation_min,
        activation_max,
        *added,
        activation,
        negative_slope,
    )
    return wrapped(data, output)
