"""The recurrent part of a quantized LSTM layer: all steps in one call."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import _kernels
from .._packing import PackedForms, PackedWeights, Run
from .._threads import num_threads
from ._checks import BYTES, RANGES, check_integers, check_parameters, check_range
from ._product import Requantization, check_weight, proven_amax, sums_call
from ._requantize import integer_bounds
from ._weighted import weighted_operator
from .add import add_reference
from .linear import linear_reference
from .mul import mul_reference
from .unary import table_of, unary_reference

STAGES = (
    "gates",
    "input_gate",
    "forget_gate",
    "cell_gate",
    "output_gate",
    "forgotten",
    "added",
    "cell",
    "tanh",
    "hidden",
)
"""What is requantized in each step, in the order of the operator's lists of parameters."""

_GATES = {
    "input_gate": "sigmoid",
    "forget_gate": "sigmoid",
    "cell_gate": "tanh",
    "output_gate": "sigmoid",
}


_REFERENCES: Any = (linear_reference, unary_reference, mul_reference, add_reference)
"""Each line of the steps is one of these."""


class _Stage(NamedTuple):
    """How one of ``STAGES`` is quantized: the arguments ``output_…`` and ``quant_…``."""

    scale: float
    zero_point: int
    quant_min: int
    quant_max: int


class _Arguments(NamedTuple):
    input: Tensor
    input_scale: float
    input_zero_point: int
    hidden: Tensor
    hidden_scale: float
    hidden_zero_point: int
    cell: Tensor
    cell_scale: float
    cell_zero_point: int
    weight: Tensor
    weight_scales: Tensor
    weight_zero_points: Tensor | None
    bias: Tensor | None
    scales: list[float]
    zero_points: list[int]
    quant_mins: list[int]
    quant_maxs: list[int]

    def stages(self) -> dict[str, _Stage]:
        parameters = zip(
            self.scales, self.zero_points, self.quant_mins, self.quant_maxs, strict=True
        )
        return dict(zip(STAGES, map(_Stage._make, parameters), strict=True))

    def gates(self, hidden_scale: float) -> Requantization:
        """Of the product with hidden values of this scale, to which the input's gates are added."""
        return Requantization(
            hidden_scale,
            self.weight_scales,
            self.bias,
            *self.stages()["gates"],
            self.input.dtype,
            residual_scale=self.input_scale,
            residual_zero_point=self.input_zero_point,
        )


def lstm_reference(*arguments: Any) -> Any:
    """Run an LSTM layer in one direction, given what its gates get from the input.

    With W, b from ``weight`` and ``bias``, each line requantized with the parameters of the stage
    that it is named for, in every step::

        gates = input + W @ hidden + b                          # rounded once
        input_gate, forget_gate, output_gate = sigmoid(gates[0, 1, 3])
        cell_gate = tanh(gates[2])
        forgotten = forget_gate * cell
        added = input_gate * cell_gate
        cell = forgotten + added
        tanh = tanh(cell)
        hidden = output_gate * tanh

    Args:
        input: uint8 or int8, ``(T, N, 4 * H)``: for T steps of N sequences what the four gates
            (input, forget, cell, output) get from the input; quantized by ``input_scale``,
            ``input_zero_point``. All tensors of activations are of its dtype.
        hidden, cell: ``(N, H)``, the state before the first step, each with its scale and zero
            point.
        weight: int8, ``(4 * H, H)``.
        weight_scales: float32, ``(4 * H,)``, or ``(1,)`` for one scale.
        weight_zero_points: int64, ``(4 * H,)``; ``None`` if all are zero.
        bias: float32, ``(4 * H,)``, or ``None``.
        scales, zero_points, quant_mins, quant_maxs: how the stages are quantized, one number for
            each, in the order of ``qtensor._ops.lstm.STAGES``: gates, input_gate, forget_gate,
            cell_gate, output_gate, forgotten, added, cell, tanh, hidden.

    Returns:
        the hidden values after every step, ``(T, N, H)``, quantized as the stage ``hidden`` is, and
        the cell state after the last one, ``(N, H)``, quantized as ``cell`` is. Every line is
        bit for bit what the operators ``linear`` (with a residual), ``unary``, ``mul`` and ``add``
        give.

    Raises:
        TypeError: a dtype is not as above.
        ValueError: shapes or devices do not fit, there is no step, or a parameter does not fit
            the dtype.

    Example:
        >>> import torch
        >>> gates = torch.full((3, 1, 4), 128, dtype=torch.uint8)  # zeros
        >>> state = torch.full((1, 1), 128, dtype=torch.uint8)
        >>> weight, scale = torch.zeros(4, 1, dtype=torch.int8), torch.ones(1)
        >>> outputs, cell = torch.ops.qtensor.lstm(
        ...     gates, 0.1, 128, state, 0.01, 128, state, 0.01, 128, weight, scale, None, None,
        ...     [0.01] * 10, [128] * 10, [0] * 10, [255] * 10,
        ... )  # fmt: skip
        >>> outputs.shape, cell
        (torch.Size([3, 1, 1]), tensor([[128]], dtype=torch.uint8))
    """
    given = _Arguments(*arguments)
    stage, dtype = given.stages(), given.input.dtype
    linear, unary, mul, add = _REFERENCES
    hidden, of_hidden = given.hidden, (given.hidden_scale, given.hidden_zero_point)
    cell, of_cell = given.cell, (given.cell_scale, given.cell_zero_point)
    weight = given.weight, given.weight_scales, given.weight_zero_points, given.bias
    outputs = []
    for of_input in given.input:
        residual = of_input, given.input_scale, given.input_zero_point
        gates = linear(hidden, *of_hidden, *weight, *stage["gates"], dtype, None, None, *residual)
        gate = {
            name: unary(part, *stage["gates"][:2], function, [], *stage[name], dtype)
            for part, (name, function) in zip(gates.chunk(4, -1), _GATES.items(), strict=True)
        }

        def product(name: str, a: str, b: Tensor, of_b: Any, gate: Any = gate) -> Any:
            return mul(gate[a], *stage[a][:2], b, *of_b, *stage[name])

        forgotten = product("forgotten", "forget_gate", cell, of_cell)
        added = product("added", "input_gate", gate["cell_gate"], stage["cell_gate"][:2])
        cell = add(forgotten, *stage["forgotten"][:2], added, *stage["added"][:2], *stage["cell"])
        of_cell = stage["cell"][:2]
        tanh = unary(cell, *of_cell, "tanh", [], *stage["tanh"], dtype)
        hidden = product("hidden", "output_gate", tanh, stage["tanh"][:2])
        of_hidden = stage["hidden"][:2]
        outputs.append(hidden)
    return torch.stack(outputs), cell


def lstm_fake(*arguments: Any) -> Any:
    given = _Arguments(*arguments)
    shape = _check(given)
    return given.input.new_empty(shape), given.cell.new_empty(shape[1:])


def _check(given: _Arguments) -> tuple[int, int, int]:
    """Raise unless everything fits; returns the output's shape."""
    input, dtype = given.input, given.input.dtype
    check_integers(input, BYTES)
    check_weight(input, given.weight, given.weight_scales, given.weight_zero_points, given.bias, 2)
    _check_lists(given)
    for name, stage in given.stages().items():
        check_range(stage.quant_min, stage.quant_max, dtype)
        check_parameters(*stage, f"{name}_")
    given.gates(given.hidden_scale).check((1,))
    for name in ("input", "hidden", "cell"):
        scale, zero_point = getattr(given, f"{name}_scale"), getattr(given, f"{name}_zero_point")
        check_parameters(scale, zero_point, *RANGES[dtype], f"{name}_")
    return _check_shapes(given)


def _check_lists(given: _Arguments) -> None:
    for name in ("scales", "zero_points", "quant_mins", "quant_maxs"):
        numbers = getattr(given, name)
        if len(numbers) != len(STAGES):
            raise ValueError(
                f"expected {name} to hold one number for each of {', '.join(STAGES)}, "
                f"got {len(numbers)}"
            )


def _check_shapes(given: _Arguments) -> tuple[int, int, int]:
    input, hidden, cell = given.input, given.hidden, given.cell
    gates, size = given.weight.shape
    if gates != 4 * size:
        raise ValueError(f"expected a weight of shape (4 * H, H), got {tuple(given.weight.shape)}")
    if input.dim() != 3 or input.shape[2] != gates or input.shape[0] == 0:
        raise ValueError(
            f"expected an input of shape (T, N, {gates}) with T of 1 or more, got "
            f"{tuple(input.shape)}"
        )
    steps, batch, _ = input.shape
    for name, state in (("hidden", hidden), ("cell", cell)):
        if state.dtype != input.dtype:
            raise TypeError(f"expected {name} of {input.dtype}, as input, got {state.dtype}")
        if state.shape != (batch, size) or state.device != input.device:
            raise ValueError(
                f"expected {name} of shape {(batch, size)} on {input.device}, got "
                f"{tuple(state.shape)} on {state.device}"
            )
    return steps, batch, size


# ---- the kernel


class _Steps(NamedTuple):
    """Some steps, ready to run on any input of the same dtype."""

    call: _kernels.Product
    cell: _kernels.LSTMCell
    forms: PackedForms

    def run(
        self, amax: int, given: _Arguments, first: int, hidden: Tensor, cells: Tensor, out: Tensor
    ) -> None:
        """All that ``out`` holds, beginning with step ``first`` of the input."""
        weights = self.forms.for_rows(len(hidden), amax, given.weight, given.weight_zero_points)
        input = given.input[first:]
        pointers = (tensor.data_ptr() for tensor in (input, hidden, cells, out))
        self.call.lstm(weights, self.cell, num_threads(), tuple(out.shape), *pointers)


def _prepare(cache: PackedWeights, *arguments: Any) -> Run:
    given = _Arguments(*arguments)
    _check(given)
    stages, signed = given.stages(), given.input.dtype is torch.int8
    forms = cache.forms(given.weight, given.weight_zero_points)

    def steps(hidden: tuple[float, int], cell: tuple[float, int]) -> _Steps:
        call = sums_call(given.input, hidden[1], given.weight_zero_points)
        given.gates(hidden[0]).configure(call)
        return _Steps(call, _kernels.LSTMCell(tables, _binaries(stages, cell), signed), forms)

    tables = _tables(stages, given.input.dtype)
    of_stages = stages["hidden"][:2], stages["cell"][:2]
    of_state = (
        (given.hidden_scale, given.hidden_zero_point),
        (given.cell_scale, given.cell_zero_point),
    )
    later = steps(*of_stages)
    first = None if of_state == of_stages else steps(*of_state)
    bound = 127 if stages["hidden"].quant_max <= 127 and not signed else 255

    def run(arguments: tuple[Any, ...]) -> Any:
        given = _Arguments(*arguments)
        shape = _check_shapes(given)
        given = given._replace(input=given.input.contiguous())
        hidden, cells = given.hidden.contiguous(), _copied(given.cell)
        outputs = given.input.new_empty(shape)
        if outputs.numel() == 0:
            return outputs, cells
        amax = proven_amax(hidden)
        if first is None:
            later.run(max(amax, bound), given, 0, hidden, cells, outputs)
        else:
            first.run(amax, given, 0, hidden, cells, outputs[:1])
            if len(outputs) > 1:
                later.run(bound, given, 1, outputs[0], cells, outputs[1:])
        return outputs, cells

    return run  # holds no weight: ``given`` above is used before it is called


def _copied(cell: Tensor) -> Tensor:
    return cell.new_empty(cell.shape).copy_(cell)


def _tables(stages: dict[str, _Stage], dtype: torch.dtype) -> tuple[bytes, ...]:
    def table(source: str, function: str, result: str) -> bytes:
        return table_of(dtype, *stages[source][:2], function, (), *stages[result], dtype)

    gates = (table("gates", function, name) for name, function in _GATES.items())
    return (*gates, table("cell", "tanh", "tanh"))


def _binaries(stages: dict[str, _Stage], cell: tuple[float, int]) -> list[tuple[float, ...]]:
    """What the kernel takes for f * c, i * g, their sum and o * tanh(c)."""

    def operands(name: str, a: tuple[Any, ...], b: tuple[Any, ...], sums: bool) -> Any:
        output = stages[name]
        factors = (a[0], b[0]) if sums else (a[0] * b[0], 0.0)
        multipliers = (factor / output.scale for factor in factors)
        bounds = integer_bounds(*output, None, None)
        return (*multipliers, a[1], b[1], *bounds, output.zero_point)

    return [
        operands("forgotten", stages["forget_gate"], cell, False),
        operands("added", stages["input_gate"], stages["cell_gate"], False),
        operands("cell", stages["forgotten"], stages["added"], True),
        operands("hidden", stages["output_gate"], stages["tanh"], False),
    ]


lstm: Any = weighted_operator(
    "lstm(Tensor input, float input_scale, int input_zero_point, "
    "Tensor hidden, float hidden_scale, int hidden_zero_point, "
    "Tensor cell, float cell_scale, int cell_zero_point, "
    "Tensor weight, Tensor weight_scales, Tensor? weight_zero_points, Tensor? bias, "
    "float[] scales, int[] zero_points, int[] quant_mins, int[] quant_maxs) -> (Tensor, Tensor)",
    prepare=_prepare,
    reference=lstm_reference,
    fake=lstm_fake,
)
