"""Operators with a weight: only their input is checked in every call, the rest once."""

from collections.abc import Callable

import torch
from torch import Tensor

from .._calls import Weighted
from .._packing import Run, shared_cache
from ._registry import operator

_VARYING = ("input", "residual", "hidden", "cell")


def weighted_operator(
    schema: str,
    *,
    prepare: Callable[..., Run],
    reference: Callable[..., Tensor],
    fake: Callable[..., Tensor],
) -> Callable[..., Tensor]:
    """Like :func:`operator`, for an operator with an argument ``weight``.

    Args:
        schema, reference, fake: as there.
        prepare: takes a :class:`PackedWeights` and all arguments, checks them, and returns what
            runs the kernel on a tuple of arguments in which those of ``_VARYING`` may have
            other values and shapes, but no other dtypes. It must not hold the weight.

    Returns:
        The operator; it takes ``cache``, the weight's :class:`PackedWeights`. Without one it
        uses the weight's shared cache.
    """
    arguments = torch._C.parse_schema(schema).arguments
    names = [argument.name for argument in arguments]
    defaults = tuple(argument.default_value for argument in arguments)
    weight = names.index("weight")
    varying = tuple(i for i, name in enumerate(names) if name in _VARYING)

    cpu = Weighted(prepare, shared_cache, defaults, weight, varying)
    return operator(schema, cpu=cpu, reference=reference, fake=fake)
