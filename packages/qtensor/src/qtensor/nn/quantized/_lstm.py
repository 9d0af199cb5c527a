"""The quantized LSTM."""

from typing import Any, Self

import torch
from torch import Tensor, nn

from ..._arguments import quantized
from ..._ops.lstm import lstm
from ..._qparams import QParams
from ..._qtensor import QTensor, wrapped
from ._from_float import take_parts
from ._functional import QFunctional
from ._linear import Linear
from ._lstm_structure import LSTMBase, LSTMCellBase, State


class _Cell(LSTMCellBase):
    """The parts of one direction. Its steps are one call of ``torch.ops.qtensor.lstm``."""

    def _linear(self, inputs: int, outputs: int, bias: bool, **factory: Any) -> nn.Module:
        return Linear(inputs, outputs, bias)

    def _functional(self) -> QFunctional:
        return QFunctional()

    def _zero_state(self, batch: int, like: Tensor) -> State:
        return self._zeros(batch, self._hidden, like), self._zeros(batch, self._cell, like)

    def _zeros(self, batch: int, qparams: QParams, like: Tensor) -> QTensor:
        shape, dtype = (batch, self.hidden_size), qparams.dtype.storage
        zero: Any = qparams.zero_point
        return QTensor(torch.full(shape, zero, dtype=dtype, device=like.device), qparams)

    @property
    def _hidden(self) -> QParams:
        hidden: QParams = self.ogate_cy.output_qparams
        return hidden

    @property
    def _cell(self) -> QParams:
        cell: QParams = self.fgate_cx_igate_cgate.output_qparams
        return cell

    def _get_name(self) -> str:
        return "QuantizedLSTMCell"

    def sequence(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """All steps, see :meth:`LSTMCellBase.sequence`."""
        if self.split_gates:  # four products a step, each requantized in its own way
            return super().sequence(x, state)
        projected = self.igates(x)
        h, c = (
            quantized(part, "QuantizedLSTM", f"hidden[{i}]")
            for i, part in enumerate(state or self._zero_state(x.shape[1], x))
        )
        outputs, cell = lstm(
            *(field for q in (projected, h, c) for field in (q._data, q._scale, q._zero_point)),
            *self.hgates._weight_arguments(),
            *self._stages(),
            cache=self.hgates._packed,
        )
        last = wrapped(outputs[-1], self._hidden), wrapped(cell, self._cell)
        return wrapped(outputs, self._hidden), last

    def _stages(self) -> tuple[list[Any], ...]:
        """How the operator quantizes its stages: in its order, and as its four lists."""
        dtype = self._cell.dtype
        sigmoid = QParams(1 / 256, dtype.quant_min, dtype)  # 0 … 1, as of torch.sigmoid
        tanh = QParams(2 / 256, dtype.quant_min + 128, dtype)  # -1 … 1
        stages = (
            self.gates.output_qparams,
            sigmoid,
            sigmoid,
            tanh,
            sigmoid,
            self.fgate_cx.output_qparams,
            self.igate_cgate.output_qparams,
            self._cell,
            tanh,
            self._hidden,
        )
        fields = [(q.scale, q.zero_point, q.quant_min, q.quant_max) for q in stages]
        return tuple(map(list, zip(*fields, strict=True)))


class LSTM(LSTMBase):
    """An LSTM on quantized tensors: int8 products, gates by tables.

    Made from a calibrated ``qobserve.nn.quantizable.LSTM``. The product with the input is one for
    all steps; what depends on the step before is one operator, ``torch.ops.qtensor.lstm``. It adds
    both products before they are rounded, so the scale that was observed behind ``hgates`` is not
    used. (With ``split_gates`` every operator runs by itself, and it is.)

    Where tensors of different parameters are joined, the outputs of both directions and the final
    states of several layers, the result has parameters that cover them all.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, bidirectional: as in
            :class:`torch.nn.LSTM`.
        dropout: kept as an attribute; quantized modules drop nothing.
        device, dtype: ignored.
        split_gates: each gate has a product and parameters of its own: more accurate, and slower.

    Shape:
        As :class:`torch.nn.LSTM`, tensors quantized per tensor. Lengths and batches may differ from
        call to call.

    Raises:
        TypeError: (forward) an input or state is not quantized.
        ValueError: (forward) a shape does not fit.

    Example:
        >>> import torch, qtensor
        >>> model = qtensor.nn.quantized.LSTM(4, 8)  # all weights zero, until they are loaded
        >>> x = qtensor.quantize_per_tensor(torch.randn(5, 2, 4), 0.05, 128, qtensor.quint8)
        >>> y, (h, c) = model(x)
        >>> y.shape, h.shape, y.qdtype
        (torch.Size([5, 2, 8]), torch.Size([1, 2, 8]), qtensor.quint8)
    """

    _CELL = _Cell

    def forward(self, x: Tensor, hidden: Any = None) -> tuple[Tensor, State]:
        """As :meth:`torch.nn.LSTM.forward`, on quantized tensors."""
        if isinstance(x, Tensor):
            quantized(x, "QuantizedLSTM")
        return super().forward(x, hidden)

    @classmethod
    def from_observed(cls, other: nn.Module) -> Self:
        """From a calibrated observed LSTM, or a trained one.

        Raises:
            TypeError: ``other`` is none, such as a :class:`torch.nn.LSTM`.
            ValueError: it was not prepared.
        """
        if not isinstance(other, LSTMBase):
            raise TypeError(
                f"{cls.__name__} is made from an observed LSTM, got a {type(other).__name__}; "
                "make one with qobserve.nn.quantizable.LSTM.from_float, and calibrate it"
            )
        made = cls(
            other.input_size,
            other.hidden_size,
            other.num_layers,
            other.bias,
            other.batch_first,
            0.0,
            other.bidirectional,
            split_gates=other.split_gates,
        )
        made.dropout = other.dropout
        take_parts(made, other)
        return made.train(other.training)

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """As :meth:`from_observed`: what is quantized is the observed LSTM."""
        return cls.from_observed(mod)

    def _get_name(self) -> str:
        return "QuantizedLSTM"
