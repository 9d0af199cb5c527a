"""Shuffles of channels and pixels, most of which torch copies byte by byte."""

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

    def in_format(input: Tensor, factor: int) -> Tensor:
        shuffled: Tensor = function(input, factor)
        last = _has_channels_last(input)
        return shuffled.contiguous(memory_format=torch.channels_last) if last else shuffled

    def kernel(output: Tensor, input: Tensor, factor: int) -> _elementwise.Shuffle:
        small, large = (output, input) if name == "pixel_unshuffle" else (input, output)
        batch, _, height, width = small.shape
        shape = batch, large.shape[1], height, width
        return _elementwise.Shuffle(name, shape, factor, _has_channels_last(input))

    shortcut = Shortcut(in_format, kernel)

    @stands_for(name, per_tensor=True)
    def shuffled(input: QTensor, *args: Any, **kwargs: Any) -> Any:
        data, factor = input._data, args[0] if args else kwargs[argument]
        # Groups of channels that come first are copied plane by plane, and need no kernel.
        if _has_channels_last(data) or (name != "channel_shuffle" and _has_planes(data)):
            return Call(shortcut, (data, factor), parameters(input))
        return wrapped(function(data, factor), parameters(input))


def _has_channels_last(data: Tensor) -> bool:
    if not _are_images(data) or data.is_contiguous():
        return False
    return data.is_contiguous(memory_format=torch.channels_last)


def _has_planes(data: Tensor) -> bool:
    return _are_images(data) and data.is_contiguous()


def _are_images(data: Tensor) -> bool:
    return data.dim() == 4 and data.dtype in BYTES and data.numel() > 0


_register("channel_shuffle", "groups")
_register("pixel_shuffle", "upscale_factor")
_register("pixel_unshuffle", "downscale_factor")
