"""The rows of a layer with a weight: alone, with a batch norm, and with what is fused to it."""

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from qgraph import BackendPatternConfig
from qobserve.nn import qat as nnqat
from qobserve.nn.intrinsic import qat as nniqat
from qtensor.nn import intrinsic as nni
from qtensor.nn import quantized as nnq

from ._rows import DYNAMIC, STATIC, folding

# What may follow a layer within one kernel, and what fused classes call it.
_AFTER: tuple[tuple[tuple[Any, ...], str], ...] = (
    ((nn.ReLU,), "ReLU"),
    ((nn.Hardtanh,), "Hardtanh"),
    ((nn.LeakyReLU,), "LeakyReLU"),
    ((nn.Tanh,), "Tanh"),
    ((nn.GELU,), "GELU"),
    ((operator.add,), "Add"),
    ((operator.add, nn.ReLU), "AddReLU"),
)


@dataclass(frozen=True)
class Weighted:
    """A layer, of which :meth:`alone` and :meth:`fused` give the rows.

    Attributes:
        name: of its classes, float and quantized, with ``{}`` for what is fused to it.
        batch_norm: what may be folded into it.
        unfolded: in training the batch norm stays, in one of these containers; by what follows it.
        ranks: how many dimensions its input may have; any number by default.
        normalized_ranks: the same where a batch norm is folded.
        weight_axis: the axis of its weight that holds output channels.
        refuse: knows the layers that cannot be quantized.
    """

    name: str
    batch_norm: type[nn.Module]
    unfolded: dict[str, type[nn.Module]]
    ranks: tuple[int, ...] = ()
    normalized_ranks: tuple[int, ...] = ()
    weight_axis: int = 0
    refuse: Any = None

    def alone(self) -> BackendPatternConfig:
        """The row of the layer itself."""
        return _trained(self._row(getattr(nn, self.name.format(""))), nnqat)

    def fused(self) -> Iterator[BackendPatternConfig]:
        """The rows of all sequences that begin with it."""
        layer = getattr(nn, self.name.format(""))
        container = self.unfolded.get("")
        yield self._normalized(folding(self._row((layer, self.batch_norm)), container=container))
        for after, called in _AFTER:
            fused, container = getattr(nni, self.name.format(called)), self.unfolded.get(called)
            yield _trained(self._row((layer, *after), called).set_fused_module(fused), nniqat)
            row = self._row((layer, self.batch_norm, *after), called)
            yield self._normalized(folding(row, fused, container))

    def _row(self, pattern: Any, after: str = "") -> BackendPatternConfig:
        """A row whose quantized classes have ``after`` fused to them."""
        quantized = nni.quantized if after else nnq
        name = self.name.format(after)
        row = (
            BackendPatternConfig(pattern)
            .set_dtype_configs(STATIC)
            .set_input_ranks(*self.ranks)
            .set_weight_axis(self.weight_axis)
            .set_reference_quantized_module(getattr(nnq.reference, self.name.format("")))
            .set_quantized_module(getattr(quantized, name))
        )
        if self.refuse is not None:
            row.set_refusal(self.refuse)
        dynamic = getattr(quantized.dynamic, name, None)
        if dynamic is not None:
            row.set_dtype_configs([*STATIC, DYNAMIC]).set_dynamic_module(dynamic)
        return row

    def _normalized(self, row: BackendPatternConfig) -> BackendPatternConfig:
        row.set_input_ranks(*(self.normalized_ranks or self.ranks))
        return _trained(row, nniqat)


def _trained(row: BackendPatternConfig, modules: Any) -> BackendPatternConfig:
    """``row`` with what stands in for its module in quantization-aware training.

    That is the class of ``modules`` that has the module's name. A sequence without one is not
    fused then; its parts are trained, and computed, one by one.
    """
    module: Any = row.fused_module or row.pattern
    stand_in = getattr(modules, getattr(module, "__name__", ""), None)
    return row if stand_in is None else row.set_qat_module(stand_in)
