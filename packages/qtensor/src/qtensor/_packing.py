"""Weights in the form that the kernels read: made when first needed, kept while they hold.

Packing depends on the instruction set and on what the input's largest byte can be, so it is a
cache: nothing of it is ever saved. csrc/README.md tells what the packed form is.
"""

import math
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _kernels
from ._calls import Arguments, Seen
from ._kernels import Packed
from ._qparams import check_zero_point

AMAX = (127, 255)
"""The largest input byte that a schedule allows; the smaller one leaves more room for speed."""

ONE_ROW = 0
"""In place of one of these: a form for a single row of any bytes, which has no schedule."""

Taps = tuple[tuple[int, int], ...]
"""Some taps of a kernel: for each axis the first one, and the step to the next."""


class ScheduleStats(NamedTuple):
    """How many steps of a packed weight are summed in which way.

    A step is 4 weights of each of 16 channels; of a depthwise convolution, 2 weights of each of
    32 channels, always wide.

    Attributes:
        quads: steps that are summed four at a time in 16 bits ("T = 4").
        pairs: steps that are summed two at a time in 16 bits ("T = 2").
        single: steps that are summed in 16 bits alone ("T = 1").
        wide: steps that have to be summed in 32 bits from the start.
    """

    quads: int
    pairs: int
    single: int
    wide: int

    def __str__(self) -> str:
        total = max(sum(self), 1)
        shares = (count / total for count in self)
        return "T=4 {:.0%}, T=2 {:.0%}, T=1 {:.0%}, wide {:.0%}".format(*shares)


Run = Callable[[tuple[Any, ...]], Tensor]
"""An operator on its arguments, of which all but the varying ones were checked before."""


Call = tuple[Callable[..., Run], Arguments, Run]
"""What prepared an operator, for which arguments, and what runs it on others like them."""


class PackedWeights:
    """One weight's packed forms, and the last call that used them.

    Both are good for the tensors they were made from as long as these are the same objects, of
    the same versions and at the same addresses. Changes that torch does not see, through ``.data``
    or NumPy, are not noticed: call :meth:`clear` after one. (Inference tensors have no versions;
    their contents are compared in every call, which is slower.)

    Copies and pickles are empty, so a module can hold one as an ordinary attribute.
    """

    __slots__ = ("_forms", "last_call")

    def __init__(self) -> None:
        self._forms: PackedForms | None = None
        self.last_call: Call | None = None

    def prepare(
        self, prepare: Callable[..., Run], arguments: tuple[Any, ...], varying: tuple[int, ...]
    ) -> Call:
        """Prepares an operator for arguments like these, and remembers it as the last call.

        Args:
            prepare: takes this object and the arguments, checks them and returns what runs them,
                which has to check the varying ones only. It must not hold the weight.
            arguments: of the operator, all of them.
            varying: the indices of tensors that differ from call to call, such as the input's.
        """
        seen = Arguments(arguments, varying)  # first: a change in between makes it invalid
        call = self.last_call = prepare, seen, prepare(self, *arguments)
        return call

    def forms(
        self,
        weight: Tensor,
        weight_zero_points: Tensor | None,
        groups: int = 1,
        joined: bool = True,
    ) -> "PackedForms":
        """The packed forms of a weight.

        Args:
            weight: int8, ``(N, K)`` for linear, ``(O, C / groups, kernel)`` for convolution,
                ``(C, O / groups, kernel)`` for a transposed one.
            weight_zero_points: int64, one for each index of the weight's axis of output channels,
                or ``None`` if all are zero.
            groups: of a convolution.
            joined: whether a convolution's taps in one kernel row lie next to each other.
        """
        forms = self._forms
        if forms is None or not forms.hold(weight, weight_zero_points, groups, joined):
            forms = self._forms = PackedForms(weight, weight_zero_points, groups, joined)
        return forms

    def clear(self) -> None:
        """Forget everything; the next call checks and packs again."""
        self._forms = self.last_call = None

    def __copy__(self) -> "PackedWeights":
        return PackedWeights()

    def __deepcopy__(self, memo: object) -> "PackedWeights":
        return PackedWeights()

    def __reduce__(self) -> tuple[type["PackedWeights"], tuple[()]]:
        return PackedWeights, ()


class PackedForms:
    """One weight packed for the largest input bytes that occur. Not good for any other weight."""

    __slots__ = ("_layout", "_lock", "_one_row", "_packed", "_weight", "_zero_points")

    def __init__(
        self, weight: Tensor, zero_points: Tensor | None, groups: int, joined: bool
    ) -> None:
        # Told before packing: a change in between makes it invalid at once.
        self._weight = Seen(weight)
        if zero_points is not None:  # kernels take them for those of int8
            check_zero_point(zero_points, -128, 127, "weight_zero_points")
        self._zero_points = None if zero_points is None else Seen(zero_points)
        self._layout = (groups, joined)
        self._one_row = weight.dim() == 2 and weight.shape[1] <= _kernels.LONGEST_ROW
        self._packed: dict[tuple[int, Taps | None], Packed] = {}
        self._lock = threading.Lock()

    def hold(self, weight: Tensor, zero_points: Tensor | None, groups: int, joined: bool) -> bool:
        """Whether this is the weight that they are forms of."""
        if self._zero_points is None:
            same = zero_points is None
        else:
            same = zero_points is not None and self._zero_points.still(zero_points)
        return same and self._weight.still(weight) and self._layout == (groups, joined)

    def for_rows(self, rows: int, amax: int, weight: Tensor, zero_points: Tensor | None) -> Packed:
        """The form for a linear layer's input of so many rows, of bytes up to ``amax``."""
        one_row = rows == 1 and self._one_row
        return self.get(ONE_ROW if one_row else amax, weight, zero_points)

    def get(
        self, amax: int, weight: Tensor, zero_points: Tensor | None, taps: Taps | None = None
    ) -> Packed:
        """The form for input bytes up to ``amax``: 127, 255, or ``ONE_ROW``.

        ``weight`` and ``zero_points`` are those that were given at first; they are not kept.
        ``taps``: those of a transposed convolution's kernel to pack, in reverse order.
        """
        key = (amax, taps)
        packed = self._packed.get(key)
        if packed is None:
            with self._lock:
                packed = self._packed.get(key)
                if packed is None:
                    packed = _pack(weight, zero_points, amax, taps, *self._layout)
                    self._packed[key] = packed
        return packed


def _pack(
    weight: Tensor,
    zero_points: Tensor | None,
    amax: int,
    taps: Taps | None,
    groups: int,
    joined: bool,
) -> Packed:
    weight = weight.detach()
    if amax == ONE_ROW:
        weight = weight.contiguous()
        return _kernels.pack_one_row(weight.data_ptr(), *weight.shape)
    if taps is not None:
        weight = _phase(weight, groups, taps)
        zero_points = None if zero_points is None else zero_points.repeat(groups)
    channels, group_channels, *kernel = weight.shape
    runs, run_length = math.prod(kernel), group_channels
    if is_depthwise(group_channels, groups):
        wide = weight.reshape(channels, runs).contiguous().to(torch.int16)
        if zero_points is not None:
            wide = wide - zero_points.to(torch.int16).unsqueeze(1)
        multiplier = channels // groups
        return _kernels.pack_depthwise_weights(wide.data_ptr(), channels, multiplier, kernel)
    if joined and kernel:
        runs, run_length = math.prod(kernel[:-1]), kernel[-1] * group_channels
    weight = weight.movedim(1, -1).contiguous()
    return _kernels.pack_weights(
        weight.data_ptr(),
        groups,
        channels // groups,
        runs,
        run_length,
        group_channels,
        amax,
        zero_points is not None,
        not kernel,  # linear, whose rows lie alone and can be copied
    )


def _phase(weight: Tensor, groups: int, taps: Taps) -> Tensor:
    """The weight ``(O, C / groups, kernel)`` of a plain convolution that is a part of a
    transposed one, with the weight ``(C, O / groups, kernel)``."""
    every = (slice(start, None, step) for start, step in taps)
    weight = weight[:, :, *every].flip(*range(2, weight.dim()))
    channels, outputs, *kernel = weight.shape
    grouped = weight.reshape(groups, channels // groups, outputs, *kernel)
    return grouped.transpose(1, 2).flatten(0, 1)


def is_depthwise(group_channels: int, groups: int) -> bool:
    """Whether a convolution's groups have one input channel each, of which there are several."""
    return groups > 1 and group_channels == 1


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
        groups, joined: as in :meth:`PackedWeights.forms`.

    Example:
        >>> import torch
        >>> from qtensor._packing import schedule_stats
        >>> print(schedule_stats(torch.ones(16, 64, dtype=torch.int8), 255))
        T=4 100%, T=2 0%, T=1 0%, wide 0%
    """
    forms = shared_cache(weight).forms(weight, None, groups, joined)
    return ScheduleStats(*forms.get(amax, weight, None).counts)
