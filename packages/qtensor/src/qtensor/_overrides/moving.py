"""Functions that move values, or drop them in training: padding and dropout."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .._qtensor import QTensor, functions, in_float, wrapped
from .._quantize import quantize_value


def _pad(
    input: QTensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Any:
    if input.qparams.axis is not None:
        return in_float(F.pad, "pad", (input, pad, mode, value), {})
    fill = quantize_value(value or 0.0, input.qparams) if mode == "constant" else None
    return wrapped(F.pad(input.int_repr(), list(pad), mode, fill), input.qparams)


functions[F.pad] = functions[torch._C._nn.pad] = _pad


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    if training:
        return in_float(F.dropout, "dropout", (input, p, training, inplace), {"inplace": inplace})
    return input


functions.update(dict.fromkeys((F.dropout, F.dropout1d, F.dropout2d, F.dropout3d), _dropout))


def _alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Any:
    return _dropout(input, p, training, inplace)


functions.update(dict.fromkeys((F.alpha_dropout, F.feature_alpha_dropout), _alpha_dropout))
