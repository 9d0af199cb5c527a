"""The structure of an LSTM made of modules, which the observed one and the quantized one share."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ... import ops
from ..._call_site import warn_user
from ..._qparams import QParams
from ..._qtensor import QTensor, parameters

State = tuple[Tensor, Tensor]
"""Hidden values and cell state of one direction of one layer, each ``(N, hidden_size)``."""

GATES = ("input", "forget", "cell", "output")
"""In the order in which :class:`torch.nn.LSTM` keeps their weights."""


class LSTMCellBase(nn.Module):
    """One step of an LSTM, every operator of it a module. Subclasses say which modules.

    Attributes:
        igates, hgates: linear layers, to the gates from the input and from the hidden values; with
            ``split_gates`` dictionaries of one for each of ``GATES``.
        gates: adds the two; likewise.
        input_gate, forget_gate, cell_gate, output_gate: their activations.
        fgate_cx, igate_cgate, fgate_cx_igate_cgate, ogate_cy: forget gate times cell state; input
            gate times cell gate; their sum, the new cell state; output gate times its tanh.
    """

    def __init__(
        self,
        input_dim: int,
        hidden_dim: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        split_gates: bool = False,
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_dim, hidden_dim
        self.bias, self.split_gates = bias, split_gates
        factory = {"device": device, "dtype": dtype}

        def linear(inputs: int) -> nn.Module:
            if not split_gates:
                return self._linear(inputs, 4 * hidden_dim, bias, **factory)
            each = {gate: self._linear(inputs, hidden_dim, bias, **factory) for gate in GATES}
            return nn.ModuleDict(each)

        self.igates: Any = linear(input_dim)
        self.hgates: Any = linear(hidden_dim)
        self.gates: Any = self._functional()
        if split_gates:
            self.gates = nn.ModuleDict({gate: self._functional() for gate in GATES})
        # Their ranges are known: on quantized tensors they have fixed parameters.
        self.input_gate, self.forget_gate = nn.Sigmoid(), nn.Sigmoid()
        self.cell_gate, self.output_gate = nn.Tanh(), nn.Sigmoid()
        self.fgate_cx, self.igate_cgate = self._functional(), self._functional()
        self.fgate_cx_igate_cgate, self.ogate_cy = self._functional(), self._functional()

    @abstractmethod
    def _linear(self, inputs: int, outputs: int, bias: bool, **factory: Any) -> nn.Module:
        """A layer of the gates; ``factory``: the device and dtype of its parameters."""

    @abstractmethod
    def _functional(self) -> Any:
        """What adds and multiplies, a :class:`FloatFunctional` or its like."""

    @abstractmethod
    def _zero_state(self, batch: int, like: Tensor) -> State:
        """The state before the first step, for inputs like ``like``."""

    def forward(self, x: Tensor, hidden: Any = None) -> State:
        """One step.

        Args:
            x: ``(N, input_size)``.
            hidden: hidden values and cell state, each ``(N, hidden_size)``; zeros by default.

        Returns:
            the same two after the step.
        """
        if hidden is None or hidden[0] is None or hidden[1] is None:
            hidden = self._zero_state(x.shape[0], x)
        return self._step(self._project(x), hidden)

    def sequence(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """All steps.

        Args:
            x: ``(T, N, input_size)``.
            state: what came before; ``None`` for zeros.

        Returns:
            the hidden values after each step, ``(T, N, hidden_size)``, and the last state.
        """
        if state is None:
            state = self._zero_state(x.shape[1], x)
        projected = self._project(x)  # of all steps at once: it depends on no step before
        outputs = []
        for t in range(len(x)):
            state = self._step([part[t] for part in projected], state)
            outputs.append(state[0])
        return torch.stack(outputs), state

    def _project(self, x: Tensor) -> list[Tensor]:
        """What the gates get from the input: all in one tensor, or one each."""
        layers = self.igates.values() if self.split_gates else [self.igates]
        return [layer(x) for layer in layers]

    def _step(self, projected: Sequence[Tensor], state: State) -> State:
        hidden, cell = state
        if self.split_gates:
            gates = [
                self.gates[gate].add(part, self.hgates[gate](hidden))
                for gate, part in zip(GATES, projected, strict=True)
            ]
        else:
            gates = self.gates.add(projected[0], self.hgates(hidden)).chunk(4, -1)
        input_gate, forget_gate = self.input_gate(gates[0]), self.forget_gate(gates[1])
        cell_gate, output_gate = self.cell_gate(gates[2]), self.output_gate(gates[3])
        kept = self.fgate_cx.mul(forget_gate, cell)
        cell = self.fgate_cx_igate_cgate.add(kept, self.igate_cgate.mul(input_gate, cell_gate))
        return self.ogate_cy.mul(output_gate, torch.tanh(cell)), cell


class LSTMDirection(nn.Module):
    """A cell that runs over a sequence.

    Args:
        cell: the cell.
    """

    def __init__(self, cell: LSTMCellBase) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, state: State | None = None) -> Any:
        """As :meth:`LSTMCellBase.sequence`."""
        return self.cell.sequence(x, state)


class LSTMLayer(nn.Module):
    """One layer: a direction forward in time, and perhaps one backward.

    Args:
        cells: of the directions, one or two.
    """

    def __init__(self, *cells: LSTMCellBase) -> None:
        super().__init__()
        self.bidirectional = len(cells) == 2
        self.layer_fw = LSTMDirection(cells[0])
        if self.bidirectional:
            self.layer_bw = LSTMDirection(cells[1])

    def forward(self, x: Tensor, states: Sequence[State | None]) -> tuple[Tensor, list[State]]:
        """``x``: ``(T, N, …)``; ``states``: of each direction. Outputs, and the last states."""
        outputs, last = self.layer_fw(x, states[0])
        if not self.bidirectional:
            return outputs, [last]
        backward, first = self.layer_bw(x.flip(0), states[1])
        return joined([outputs, backward.flip(0)], -1), [last, first]


class LSTMBase(nn.Module):
    """An LSTM of several layers, which takes and gives what :class:`torch.nn.LSTM` does.

    Attributes:
        layers: its layers; ``layers[i].layer_fw.cell`` holds the modules of layer ``i``, and
            ``layers[i].layer_bw.cell`` those of its backward direction.
    """

    _CELL: ClassVar[type[LSTMCellBase]]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        split_gates: bool = False,
    ) -> None:
        super().__init__()
        _check_dropout(dropout, num_layers)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.split_gates = bidirectional, split_gates
        self._directions = 2 if bidirectional else 1

        def cell(inputs: int) -> LSTMCellBase:
            return self._CELL(inputs, hidden_size, bias, device, dtype, split_gates=split_gates)

        inputs = [input_size, *[hidden_size * self._directions] * (num_layers - 1)]
        self.layers = nn.ModuleList(
            LSTMLayer(*(cell(size) for _ in range(self._directions))) for size in inputs
        )

    def forward(self, x: Tensor, hidden: Any = None) -> tuple[Tensor, State]:
        """Run over sequences.

        Args:
            x: ``(T, N, input_size)``; ``(N, T, input_size)`` with ``batch_first``;
                ``(T, input_size)`` for one sequence without a batch.
            hidden: hidden values and cell states before the first step, each
                ``(num_layers * directions, N, hidden_size)``, without N for one sequence; or such
                a pair for each layer. Zeros by default.

        Returns:
            the hidden values of the last layer after each step, ``(…, directions * hidden_size)``,
            and a pair of what ``hidden`` describes, after the last step.

        Raises:
            TypeError: ``x`` is no tensor, such as a packed sequence.
            ValueError: a shape is not as above, or there is no step.
        """
        batched = self._check_input(x)
        time_axis = 1 if batched and self.batch_first else 0
        x = (x.transpose(0, 1) if time_axis else x) if batched else x.unsqueeze(1)
        finals: list[State] = []
        for i, (layer, states) in enumerate(
            zip(self.layers, self._states(hidden, x.shape[1]), strict=True)
        ):
            x, last = layer(self._between(x) if i else x, states)
            finals.extend(last)
        h, c = (
            joined([part.unsqueeze(0) for part in parts], 0) for parts in zip(*finals, strict=True)
        )
        if not batched:
            return x.squeeze(1), (h.squeeze(1), c.squeeze(1))
        return (x.transpose(0, 1) if time_axis else x), (h, c)

    @abstractmethod
    def _get_name(self) -> str:
        """How the module prints, and what messages call it."""

    def _between(self, x: Tensor) -> Tensor:
        """What the next layer gets of the output of the one before."""
        return x

    def _check_input(self, x: Any) -> bool:
        """Whether ``x`` is a batch; raises unless it is that or one sequence."""
        name = self._get_name()
        if not isinstance(x, Tensor):
            raise TypeError(
                f"{name} expects a tensor, got a {type(x).__name__}; pad a packed sequence with "
                "torch.nn.utils.rnn.pad_packed_sequence"
            )
        time_axis = 1 if self.batch_first and x.dim() == 3 else 0
        fits = x.dim() in (2, 3) and x.shape[-1] == self.input_size
        if not fits or x.shape[time_axis] == 0:
            order = "(N, T, " if self.batch_first else "(T, N, "
            raise ValueError(
                f"{name} expects an input of shape {order}{self.input_size}) or "
                f"(T, {self.input_size}) with T of 1 or more, got {tuple(x.shape)}"
            )
        return x.dim() == 3

    def _states(self, hidden: Any, batch: int) -> Any:
        """For each layer the state of each direction."""
        if hidden is None:
            return [[None] * self._directions] * self.num_layers
        shape = (self.num_layers, self._directions, batch, self.hidden_size)
        if isinstance(hidden[0], Tensor):
            return self._per_layer(*(self._reshaped(part, shape) for part in hidden))
        return (
            next(self._per_layer(*(self._reshaped(part, (1, *shape[1:])) for part in pair)))
            for pair in hidden
        )

    def _per_layer(self, h: Tensor, c: Tensor) -> Any:
        for of_layer in range(len(h)):
            yield [(h[of_layer, i], c[of_layer, i]) for i in range(self._directions)]

    def _reshaped(self, state: Tensor, shape: tuple[int, ...]) -> Tensor:
        layers, directions, *rest = shape
        if state.numel() != layers * directions * rest[0] * rest[1]:
            raise ValueError(
                f"{self._get_name()} expects a hidden and a cell state of shape "
                f"{(layers * directions, *rest)}, got {tuple(state.shape)}"
            )
        return state.reshape(shape)


def _check_dropout(dropout: Any, num_layers: int) -> None:
    number = isinstance(dropout, int | float) and not isinstance(dropout, bool)
    if not number or not 0 <= dropout <= 1:
        raise ValueError(f"expected dropout to be a number within 0 … 1, got {dropout!r}")
    if dropout and num_layers == 1:
        warn_user(
            f"dropout={dropout} has no effect: it is applied between layers, and there is only one"
        )


def joined(tensors: Sequence[Tensor], dim: int) -> Tensor:
    """The tensors along ``dim``; quantized ones with parameters that cover the values of all."""
    if len(tensors) == 1:
        return tensors[0]
    if not isinstance(tensors[0], QTensor):
        return torch.cat(list(tensors), dim)
    parts: Any = tensors
    return ops.cat_to(parts, dim, covering([parameters(part) for part in parts]))


def covering(qparams: Sequence[QParams]) -> QParams:
    """Parameters for the values of all of these; theirs, if they are equal.

    Args:
        qparams: per tensor, of one dtype.
    """
    first = qparams[0]
    if all(other == first for other in qparams):
        return first
    ends: list[Any] = [
        ((q.quant_min - q.zero_point) * q.scale, (q.quant_max - q.zero_point) * q.scale)
        for q in qparams
    ]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    scale = (high - low) / (first.quant_max - first.quant_min)
    zero_point = round(first.quant_min - low / scale)
    return first.replace(
        scale=scale, zero_point=min(max(zero_point, first.quant_min), first.quant_max)
    )
