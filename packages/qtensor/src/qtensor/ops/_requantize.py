"""Change of a quantized tensor's parameters."""

import torch
from torch import Tensor

from .._arguments import filled, requantization
from .._one_call import Call, one_call
from .._ops.requantize import requantize as _per_tensor
from .._ops.requantize_per_channel import requantize_per_channel as _per_channel
from .._qparams import QParams
from .._qtensor import QTensor, parameters


@one_call
def requantize(q: QTensor, output: QParams) -> Call | QTensor:
    """The same values with other parameters, rounded to the nearest integer, ties to even.

    Args:
        q: a quantized tensor, per tensor or per channel.
        output: the new parameters, per tensor or per channel; if both are per channel, along the
            same axis.

    Returns:
        A quantized tensor of the shape of ``q``.

    Raises:
        TypeError: ``q`` is not quantized, or zero points are real numbers.
        ValueError: the channels of ``q`` and ``output`` do not fit each other.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.ones(2), 0.1, 128, qtensor.quint8)
        >>> qtensor.requantize(q, qtensor.QParams(0.5, 0, qtensor.qint8)).int_repr()
        tensor([2, 2], dtype=torch.int8)
    """
    if not isinstance(q, QTensor):
        raise TypeError(
            f"requantize expects a quantized tensor as q, got a {type(q).__name__}; quantize it "
            "with qtensor.quantize_per_tensor(...)"
        )
    given = parameters(q)
    if given.axis is None and output.axis is None and given.dtype.bits == output.dtype.bits == 8:
        integers = q._data, q._scale, q._zero_point
        return Call(_per_tensor, (*integers, *requantization(output)), output)
    axes = {qparams.axis for qparams in (given, output) if qparams.axis is not None}
    if len(axes) > 1:
        raise ValueError(
            f"requantize expects the channels of q, along axis {given.axis}, to be those of the "
            f"output, along axis {output.axis}; dequantize and quantize anew"
        )
    data = q.int_repr()
    tensors = [
        _channels(value, data.device)
        for value in (given.scale, given.zero_point, output.scale, output.zero_point)
    ]
    bounds = output.quant_min, output.quant_max, output.dtype.storage
    arguments = data, *tensors, axes.pop() if axes else 0, *bounds
    if output.axis is None and output.dtype.bits >= 8:
        return Call(_per_channel, arguments, output)
    return QTensor(_per_channel(*arguments), output)  # checks that channels fit, packs few bits


def _channels(value: float | Tensor, device: torch.device) -> Tensor:
    if isinstance(value, Tensor):
        return value.to(device)
    return filled(1, value, torch.int64 if isinstance(value, int) else torch.float64, device)
