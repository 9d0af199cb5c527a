"""How images lie in memory: batches of them, of one to three spatial dimensions, with channels.

Channels that lie side by side are read that way, as in ``torch.channels_last``, whatever the
strides of the other dimensions, and what is made of them has channels last. Any others are read as
images of one channel each, and what is made of them is contiguous. Nothing is copied first.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ._conv_axes import channels_last_strides


class Images(NamedTuple):
    """The fields of ``image_layout`` in csrc/images.h; depth, height and width, of which the first
    may not be there."""

    batch: int
    channels: int
    batch_stride: int
    channel_stride: int
    size: Sequence[int]
    strides: Sequence[int]
    channels_last: bool


def check_images(dtype: torch.dtype, shape: Sequence[int]) -> None:
    """Raise unless these are of a batch of images of 8-bit integers."""
    if dtype not in (torch.uint8, torch.int8):
        raise TypeError(
            f"expected input of dtype torch.uint8 or torch.int8, got {dtype} of shape "
            f"{tuple(shape)}; quantize it first"
        )
    if not 3 <= len(shape) <= 5:
        raise ValueError(
            "expected input of shape (batch, channels, ...) with one to three spatial dimensions, "
            f"got {tuple(shape)}"
        )


def images_of(input: Tensor) -> Images:
    """Where kernels find the images in ``input``."""
    batch, channels, *size = input.shape
    batch_stride, channel_stride, *strides = input.stride()
    last = channel_stride == 1 and channels > 1
    if channels == 1:  # the images are worked on as the channels of one would be
        batch, channels, channel_stride = 1, batch, batch_stride
    elif batch_stride == channels * channel_stride and not last:
        batch, channels = 1, batch * channels
    absent = [1] * (3 - len(size))
    return Images(
        batch, channels, batch_stride, channel_stride, absent + size, absent + strides, last
    )


def images_like(input: Tensor, spatial: Sequence[int]) -> Tensor:
    """What is made of the images in ``input``, not yet written: of these spatial sizes."""
    shape = (*input.shape[:2], *spatial)
    if input.stride(1) == 1:
        return input.new_empty_strided(shape, channels_last_strides(shape))
    return input.new_empty(shape)
