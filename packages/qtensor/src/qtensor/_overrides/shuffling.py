"""Shuffles of channels and pixels, which torch copies byte by byte where channels come last."""

from typing import Any

import torch
from torch import Tensor

from .. import _elementwise
from .._one_call import Call, Shortcut
from .._ops._checks import BYTES
from .._qtensor import QTensor, parameters, wrapped
from ._register import stands_for


def _register(name: str, argument: str) -> None:
    """The function ``name`` of torch, and what its argument besides the input is called."""
    function = getattr(torch, name)

    def channels_last(input: Tensor, factor: int) -> Tensor:
        shuffled: Tensor = function(input, factor)
        return shuffled.contiguous(memory_format=torch.channels_last)

    def kernel(output: Tensor, input: Tensor, factor: int) -> _elementwise.Shuffle:
        small, large = (output, input) if name == "pixel_unshuffle" else (input, output)
        batch, _, height, width = small.shape
        return _elementwise.Shuffle(name, batch * height, width, large.shape[1], factor)

    shortcut = Shortcut(channels_last, kernel)

    @stands_for(name, per_tensor=True)
    def shuffled(input: QTensor, *args: Any, **kwargs: Any) -> Any:
        data, factor = input._data, args[0] if args else kwargs[argument]
        if _has_channels_last(data):
            return Call(shortcut, (data, factor), parameters(input))
        return wrapped(function(data, factor), parameters(input))


def _has_channels_last(data: Tensor) -> bool:
    if data.dim() != 4 or data.dtype not in BYTES or data.numel() == 0:
        return False
    return data.is_contiguous(memory_format=torch.channels_last) and not data.is_contiguous()


_register("channel_shuffle", "groups")
_register("pixel_shuffle", "upscale_factor")
_register("pixel_unshuffle", "downscale_factor")
