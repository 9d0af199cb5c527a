"""The geometry of convolutions: shapes of outputs, and what the kernel is told of each axis."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .. import _kernels
from .._calls import ByLayout, Layout
from .._packing import Taps
from ._checks import check_countable

_INT32_MAX = 2**31 - 1
_MOST_PHASES = 65_536  # of a transposed convolution; each is a call of the kernel
_SHAPES = {1: "(N, C, L)", 2: "(N, C, H, W)", 3: "(N, C, D, H, W)"}
_COUNTS = {1: "one value", 2: "two values", 3: "three values"}
_Ints = tuple[int, ...]
_ABSENT = (1, 0, 1, 0, 1, 1, 1, 1, 0, 1)  # the conv_axis of an axis that the image lacks


class Geometry(NamedTuple):
    """Which inputs meet in which output; a value of each for every spatial axis.

    Attributes:
        stride, padding, dilation, groups: as in :func:`torch.nn.functional.conv2d`.
        output_padding: as in :func:`torch.nn.functional.conv_transpose2d`, and of a transposed
            convolution only; ``None`` for all others.
        padding_mode: what padding consists of, one of ``_kernels.PADDING_MODES``.
    """

    stride: _Ints
    padding: _Ints
    dilation: _Ints
    groups: int = 1
    output_padding: _Ints | None = None
    padding_mode: str = "zeros"

    @property
    def channel_axis(self) -> int:
        """The weight's axis of output channels: all of them, or those of a group if transposed."""
        return 0 if self.output_padding is None else 1

    @property
    def shared_by(self) -> int:
        """How many output channels have one index along that axis."""
        return 1 if self.output_padding is None else self.groups

    @property
    def joined(self) -> bool:
        """Whether the taps of a line lie next to each other, those of a phase if transposed."""
        step = self.dilation[-1]
        if self.output_padding is not None:
            step //= math.gcd(step, self.stride[-1])
        return self.groups == 1 and step == 1

    def output_shape(self, input: Sequence[int], weight: Sequence[int]) -> _Ints:
        """The output's shape, given those of input and weight.

        Raises:
            TypeError: the input has another number of dimensions than the weight.
            ValueError: something else does not fit.
        """
        axes = len(weight) - 2
        if len(input) != axes + 2:
            raise TypeError(
                f"expected an input of shape {_SHAPES[axes]}, got {tuple(input)}; of a single "
                "image make a batch with unsqueeze(0)"
            )
        outputs = weight[self.channel_axis] * self.shared_by
        self._check_channels(input, weight, outputs)
        self._check_values(axes)
        self._check_padding(input[2:])
        sizes = self._sizes(input[2:], weight[2:])
        if min(input[2:]) < 1:
            raise ValueError(f"expected images of one pixel or more, got {tuple(input)}")
        if min(weight[2:]) < 1 or min(sizes) < 1:
            raise ValueError(
                f"expected a kernel of at most the padded image's size, got {tuple(weight[2:])} "
                f"with dilation {self.dilation} for {tuple(input[2:])} with padding {self.padding}"
            )
        shape = input[0], outputs, *sizes
        check_countable(shape)
        return shape

    def _sizes(self, image: Sequence[int], kernel: Sequence[int]) -> list[int]:
        axes = zip(image, kernel, self.stride, self.padding, self.dilation, strict=True)
        if self.output_padding is None:
            return [(n + 2 * pad - by * (k - 1) - 1) // step + 1 for n, k, step, pad, by in axes]
        return [
            (n - 1) * step - 2 * pad + by * (k - 1) + extra + 1
            for (n, k, step, pad, by), extra in zip(axes, self.output_padding, strict=True)
        ]

    def _check_channels(self, input: Sequence[int], weight: Sequence[int], outputs: int) -> None:
        groups, channels = self.groups, input[1]
        if channels % groups or outputs % groups:
            raise ValueError(
                f"expected {channels} input and {outputs} output channels to be divisible by "
                f"groups, got groups={groups}"
            )
        expected = weight[0] if self.channel_axis else weight[1] * groups
        if channels != expected:
            raise ValueError(
                f"expected an input of {expected} channels for a weight of shape {tuple(weight)} "
                f"and groups={groups}, got {tuple(input)}"
            )

    def check_phases(self, output: Sequence[int]) -> None:
        """Raise ``ValueError`` if a transposed convolution falls into too many plain ones."""
        strides = zip(self.stride, output[2:], strict=True)
        if self.output_padding is not None and math.prod(map(min, strides)) > _MOST_PHASES:
            raise ValueError(
                f"expected a stride of a transposed convolution of at most {_MOST_PHASES} in all "
                f"axes multiplied, got {self.stride}"
            )

    def _check_values(self, axes: int) -> None:
        least = {"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
        for name, bound in least.items():
            values = getattr(self, name)
            if values is None:
                continue
            if not all(hasattr(value, "__index__") for value in values):
                raise TypeError(f"expected whole numbers as {name}, got {values}")
            if len(values) != axes or min(values) < bound:
                raise ValueError(
                    f"expected {_COUNTS[axes]} of {name}, at least {bound}, got {values}"
                )
        for i, extra in enumerate(self.output_padding or ()):
            if extra >= max(self.stride[i], self.dilation[i]):
                raise ValueError(
                    f"expected output_padding to be smaller than stride or dilation, got "
                    f"{self.output_padding} with stride {self.stride}, dilation {self.dilation}"
                )

    def _check_padding(self, image: Sequence[int]) -> None:
        modes = ("zeros",) if self.output_padding is not None else _kernels.PADDING_MODES
        if self.padding_mode not in modes:
            expected = " or ".join(map(repr, modes))
            raise ValueError(f"expected padding_mode {expected}, got {self.padding_mode!r}")
        room = {"reflect": 1, "circular": 0}.get(self.padding_mode)
        if room is not None and any(
            pad > n - room for n, pad in zip(image, self.padding, strict=True)
        ):
            raise ValueError(
                f"expected padding that {self.padding_mode!r} can take from the image, got "
                f"{self.padding} for {tuple(image)}"
            )


class Phase(NamedTuple):
    """A plain convolution: all of one, or what one phase of a transposed one's outputs is.

    Attributes:
        shape: what the kernel is told.
        taps: of a transposed kernel, used in reverse order; ``None``: all, as they are.
    """

    shape: _kernels.ConvShape
    taps: Taps | None = None


class Plan(NamedTuple):
    """What follows from the shapes alone.

    Attributes:
        outputs: how they lie.
        phases: the plain convolutions that make it up.
    """

    outputs: Layout
    phases: tuple[Phase, ...]


def channels_last_strides(shape: Sequence[int]) -> _Ints:
    """Strides of a dense tensor whose pixels' channels lie together, of any number of axes."""
    channels = shape[1]
    strides = [math.prod(shape[axis + 1 :]) * channels for axis in range(2, len(shape))]
    return math.prod(shape[1:]), 1, *strides


def plans(weight: _Ints, geometry: Geometry, dtype: torch.dtype) -> "ByLayout[Plan]":
    """How to convolve inputs with a weight of this shape, made once for each of their layouts."""
    return ByLayout(lambda input: plan(input, weight, geometry, dtype))


def plan(tensor: Tensor, weight: _Ints, geometry: Geometry, dtype: torch.dtype) -> Plan:
    """How to convolve an input like this tensor with a weight of this shape to this dtype.

    Raises:
        TypeError, ValueError: as :meth:`Geometry.output_shape`, and if what lies under the kernel
            has 2 GiB.
    """
    input, strides = tensor.shape, tensor.stride()
    shape = geometry.output_shape(input, weight)
    geometry.check_phases(shape)
    kernel = weight[2:]
    reach = [by * (taps - 1) + 1 for taps, by in zip(kernel, geometry.dilation, strict=True)]
    if math.prod(reach) * input[1] > _INT32_MAX:
        raise ValueError(
            f"expected the input under a kernel to have less than 2 GiB, got {kernel} with "
            f"dilation {geometry.dilation} on {input}"
        )
    axes = zip(
        input[2:],
        strides[2:],
        kernel,
        geometry.stride,
        geometry.padding,
        geometry.dilation,
        shape[2:],
        strict=True,
    )
    image = (input[0], input[1], strides[0], strides[1])
    absent = [_ABSENT] * (3 - len(kernel))

    def conv_shape(present: Sequence[_Ints]) -> _kernels.ConvShape:
        return _kernels.ConvShape(image, [*absent, *present], geometry.padding_mode)

    if geometry.output_padding is None:
        phases = [Phase(conv_shape([_plain_axis(*axis) for axis in axes]))]
    else:
        combinations = itertools.product(*(_phases_of_axis(*axis) for axis in axes))
        phases = [
            Phase(conv_shape([axis for axis, _ in phase]), tuple(taps for _, taps in phase))
            for phase in combinations
        ]
    output = torch.empty_strided(shape, channels_last_strides(shape), dtype=dtype, device="cpu")
    return Plan(Layout(output), tuple(phases))


def _plain_axis(
    size: int, pitch: int, taps: int, stride: int, padding: int, dilation: int, outputs: int
) -> _Ints:
    by, apart = _taken(stride, outputs), _taken(dilation, taps)
    return size, pitch, taps, -padding, by, apart, outputs, outputs, 0, 1


def _taken(step: int, places: int) -> int:
    """The step from one of so many places to the next; of a lone one none is taken, and any
    number, which kernels could not multiply by others, may have been given."""
    return step if places > 1 else 1


def _phases_of_axis(
    size: int, pitch: int, taps: int, stride: int, padding: int, dilation: int, outputs: int
) -> Iterator[tuple[_Ints, tuple[int, int]]]:
    """The axes of plain convolutions that make up one axis of a transposed one.

    Output o is the sum of weight[t] * input[i] over all t and i with i * stride + t * dilation
    = o + padding. Outputs that are `stride` apart use the same taps t, every step-th from one on,
    and each tap reads `dilation / gcd` inputs before the one that the next smaller tap reads.
    """
    common = math.gcd(stride, dilation)
    for place in range(min(stride, outputs)):
        used = [t for t in range(taps) if (place + padding - t * dilation) % stride == 0]
        first = (place + padding - used[-1] * dilation) // stride if used else 0
        count = -(-(outputs - place) // stride)
        apart = _taken(dilation // common, len(used))
        spacing = min(stride, outputs)  # of as many phases: 1 says that there are no others
        axis = (size, pitch, len(used), first, 1, apart, outputs, count, place, spacing)
        yield axis, (used[0] if used else taps, stride // common)
