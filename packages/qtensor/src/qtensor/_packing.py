"""Weights in the form that the kernels read: made when first needed, kept while they hold.

Packing depends on the instruction set and on what the input's largest byte can be, so it is a
cache: nothing of it is ever saved. csrc/README.md tells what the packed form is.
"""

import threading
import weakref
from typing import NamedTuple

import torch
from torch import Tensor

from . import _kernels
from ._kernels import Packed

AMAX = (127, 255)
"""The largest input byte that a schedule allows; the smaller one leaves more room for speed."""


class ScheduleStats(NamedTuple):
    """How many steps of a packed weight are summed in which way.

    A step is 4 weights of each of 16 channels; of a depthwise convolution, 2 weights of each.

    Attributes:
        pairs: steps that are summed two at a time in 16 bits ("T = 2").
        single: steps that are summed in 16 bits alone ("T = 1").
        wide: steps that have to be summed in 32 bits from the start.
    """

    pairs: int
    single: int
    wide: int

    def __str__(self) -> str:
        total = max(sum(self), 1)
        return "T=2 {:.0%}, T=1 {:.0%}, wide {:.0%}".format(*(count / total for count in self))


class PackedWeights:
    """One weight's packed forms.

    A packed form is good for the tensor it was made from as long as that is the same object, of
    the same version and at the same address. Changes that torch does not see, through ``.data``
    or NumPy, are not noticed: call :meth:`clear` after one.

    Copies and pickles are empty, so a module can hold one as an ordinary attribute.
    """

    __slots__ = ("_entry", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entry: _Entry | None = None

    def get(
        self,
        weight: Tensor,
        weight_zero_points: Tensor | None,
        amax: int,
        groups: int = 1,
        joined: bool = True,
    ) -> Packed:
        """The packed form of a weight.

        Args:
            weight: int8, ``(N, K)`` for linear, ``(O, C / groups, kh, kw)`` for convolution.
            weight_zero_points: int64, one for each channel, or ``None`` if all are zero.
            amax: the largest input byte that the result must be exact for, 127 or 255.
            groups: of a convolution.
            joined: whether a convolution's taps in one kernel row lie next to each other.
        """
        entry = self._entry
        if entry is None or not entry.holds(weight, weight_zero_points, groups, joined):
            entry = self._entry = _Entry(weight, weight_zero_points, groups, joined)
        packed = entry.packed.get(amax)
        if packed is None:
            with self._lock:
                packed = entry.packed.get(amax)
                if packed is None:
                    packed = _pack(weight, weight_zero_points, amax, groups, joined)
                    entry.packed[amax] = packed
        return packed

    def clear(self) -> None:
        """Forget every packed form; the next call packs again."""
        self._entry = None

    def __copy__(self) -> "PackedWeights":
        return PackedWeights()

    def __deepcopy__(self, memo: object) -> "PackedWeights":
        return PackedWeights()

    def __reduce__(self) -> tuple[type["PackedWeights"], tuple[()]]:
        return PackedWeights, ()


class _Entry:
    """What was packed, told before packing: a change in between makes it invalid at once."""

    __slots__ = ("layout", "packed", "weight", "zero_points")

    def __init__(
        self, weight: Tensor, zero_points: Tensor | None, groups: int, joined: bool
    ) -> None:
        self.weight = _Seen(weight)
        self.zero_points = None if zero_points is None else _Seen(zero_points)
        self.layout = (groups, joined)
        self.packed: dict[int, Packed] = {}

    def holds(self, weight: Tensor, zero_points: Tensor | None, groups: int, joined: bool) -> bool:
        if zero_points is None:
            same = self.zero_points is None
        else:
            same = self.zero_points is not None and self.zero_points.still(zero_points)
        return same and self.weight.still(weight) and self.layout == (groups, joined)


class _Seen:
    """A tensor as it was, without keeping it alive."""

    __slots__ = ("pointer", "tensor", "version")

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = weakref.ref(tensor)
        self.version = _version(tensor)
        self.pointer = tensor.data_ptr()

    def still(self, tensor: Tensor) -> bool:
        return (
            self.tensor() is tensor
            and self.version == _version(tensor)
            and self.pointer == tensor.data_ptr()
        )


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _pack(
    weight: Tensor, zero_points: Tensor | None, amax: int, groups: int, joined: bool
) -> Packed:
    weight = weight.detach()
    asymmetric = zero_points is not None
    if weight.dim() == 2:
        weight = weight.contiguous()
        channels, k = weight.shape
        return _kernels.pack_weights(weight.data_ptr(), 1, channels, 1, k, 0, amax, asymmetric)
    channels, group_channels, height, width = weight.shape
    if is_depthwise(weight, groups):
        taps = weight.reshape(channels, height * width).to(torch.int16)
        if zero_points is not None:
            taps = taps - zero_points.to(torch.int16).unsqueeze(1)
        return _kernels.pack_depthwise_weights(taps.data_ptr(), channels, height * width, amax)
    weight = weight.permute(0, 2, 3, 1).contiguous()
    runs, run_length = height * width, group_channels
    if joined:
        runs, run_length = height, width * group_channels
    return _kernels.pack_weights(
        weight.data_ptr(),
        groups,
        channels // groups,
        runs,
        run_length,
        group_channels,
        amax,
        asymmetric,
    )


def is_depthwise(weight: Tensor, groups: int) -> bool:
    """Whether a convolution has one input and one output channel in each group."""
    return groups > 1 and weight.shape[0] == groups and weight.shape[1] == 1


_shared: dict[int, PackedWeights] = {}
_shared_lock = threading.Lock()


def shared_cache(weight: Tensor) -> PackedWeights:
    """The cache of a weight that no module keeps one for; it lives as long as the weight."""
    cache = _shared.get(id(weight))
    if cache is None:
        with _shared_lock:
            cache = _shared.get(id(weight))
            if cache is None:
                cache = _shared[id(weight)] = PackedWeights()
                weakref.finalize(weight, _shared.pop, id(weight), None).atexit = False
    return cache


def schedule_stats(
    weight: Tensor, amax: int, groups: int = 1, joined: bool = True
) -> ScheduleStats:
    """How the products of an int8 weight are summed, when no input byte exceeds ``amax``.

    Args:
        weight: int8, ``(N, K)`` or ``(O, C / groups, kh, kw)``.
        amax: 127 or 255.
        groups, joined: as in :meth:`PackedWeights.get`.

    Example:
        >>> import torch
        >>> from qtensor._packing import schedule_stats
        >>> print(schedule_stats(torch.ones(16, 64, dtype=torch.int8), 255))
        T=2 100%, T=1 0%, wide 0%
    """
    return ScheduleStats(*shared_cache(weight).get(weight, None, amax, groups, joined).counts)
