"""Modules taken apart: equal to torch's in float, close to them in int8."""

import copy
import io
import pickle
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils._python_dispatch import TorchDispatchMode

import qtensor
from qobserve import (
    FakeQuantize,
    MinMaxObserver,
    QConfig,
    QuantStub,
    convert,
    default_dynamic_qconfig,
    default_per_channel_weight_observer,
    default_qat_qconfig,
    prepare,
)
from qobserve.nn import qat, quantizable
from qtensor import QTensor, qint8, quantize_per_tensor, quint8
from qtensor.nn import quantized as nnq

QCONFIG = QConfig(MinMaxObserver, default_per_channel_weight_observer)
SIGNED = QConfig(MinMaxObserver.with_args(dtype=qint8), default_per_channel_weight_observer)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def snr(expected: Tensor, actual: Any) -> float:
    """In dB."""
    actual = actual.dequantize() if isinstance(actual, QTensor) else actual
    return float(20 * torch.log10(expected.norm() / (expected - actual).norm()))


def integers(x: Tensor, dtype: Any = quint8) -> QTensor:
    return quantize_per_tensor(x, 8 / 255, dtype.quant_min + 128, dtype)


class Operators(TorchDispatchMode):
    """Counts the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func.overloadpacket)
        self.counts[name] = self.counts.get(name, 0) + 1
        return func(*args, **(kwargs or {}))


# ---- LSTM

OPTIONS = list(product((1, 2), (True, False), (False, True), (False, True), (False, True)))
"""num_layers, bias, batch_first, bidirectional, split_gates."""


def lstms(
    layers: int, bias: bool, batch_first: bool, both: bool, split: bool, qconfig: Any = QCONFIG
) -> tuple[nn.LSTM, quantizable.LSTM]:
    """A float one, and the observed one made of it."""
    model = nn.LSTM(6, 8, layers, bias, batch_first, 0.0, both).eval()
    model.qconfig = qconfig
    return model, quantizable.LSTM.from_float(model, split_gates=split)


@pytest.mark.parametrize(("layers", "bias", "batch_first", "both", "split"), OPTIONS)
def test_lstm(layers: int, bias: bool, batch_first: bool, both: bool, split: bool) -> None:
    model, observed = lstms(layers, bias, batch_first, both, split)
    states = layers * (2 if both else 1)
    for shape, batch in (((5, 3, 6), 5 if batch_first else 3), ((4, 6), None)):
        of_state = (states, 8) if batch is None else (states, batch, 8)
        x, given = torch.randn(shape), (torch.randn(of_state) / 2, torch.randn(of_state))
        for hidden in (None, given):
            y, last = model(x, hidden)
            for result, expected in zip(_flat(observed(x, hidden)), (y, *last), strict=True):
                torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    quantized = nnq.LSTM.from_observed(observed)
    given_integers = tuple(map(integers, given))
    with qtensor.fallback("error"):
        for q_hidden, hidden in ((None, None), (given_integers, given)):
            y, last = model(x, hidden)
            for result, expected in zip(
                _flat(quantized(integers(x), q_hidden)), (y, *last), strict=True
            ):
                assert result.shape == expected.shape and isinstance(result, QTensor)
                error = (expected - result.dequantize()).abs().max()
                assert error <= 6 * result.q_scale()


def _flat(result: Any) -> tuple[Tensor, ...]:
    y, (h, c) = result
    return y, h, c


@pytest.mark.parametrize("qconfig", [QCONFIG, SIGNED])
def test_an_lstm_of_usual_size_is_precise(qconfig: QConfig) -> None:
    model = nn.LSTM(32, 64, 2, bidirectional=True).eval()
    model.qconfig = qconfig
    observed = quantizable.LSTM.from_float(model)
    x = torch.randn(20, 4, 32)
    observed(x)
    quantized = nnq.LSTM.from_observed(observed)
    for result, expected in zip(
        _flat(quantized(integers(x, qconfig.activation().dtype))), _flat(model(x)), strict=True
    ):
        assert snr(expected, result) > 30


def test_the_products_of_an_lstm_run_on_integers() -> None:
    _, observed = lstms(2, True, False, True, False)
    x = torch.randn(7, 3, 6)
    observed(x)
    quantized = nnq.LSTM.from_observed(observed)
    with Operators() as seen:
        quantized(integers(x))
    assert seen.counts["qtensor.linear"] == seen.counts["qtensor.lstm"] == 4
    assert not {"aten.mm", "aten.addmm", "aten.bmm", "aten.lstm"} & seen.counts.keys()


def test_the_fused_steps_are_those_of_the_parts() -> None:
    """Up to the rounding of the product, which the parts do before they add, and the steps after.

    With an identity for hgates' output, whose scale is then what counts, there is no difference.
    """
    _, observed = lstms(1, True, False, False, False)
    x = torch.randn(6, 3, 6)
    observed(x)
    quantized: Any = nnq.LSTM.from_observed(observed)
    cell = quantized.layers[0].layer_fw.cell
    fused, _ = quantized(integers(x))
    state = cell._zero_state(3, x)
    for t in range(len(x)):
        state = cell(integers(x[t]), state)
        steps = (fused[t].int_repr().int() - state[0].int_repr().int()).abs()
        assert steps.max() <= 4


def test_an_lstm_runs_on_in_parts() -> None:
    """Its final state, of its own parameters, is a state to begin with, without any loss."""
    _, observed = lstms(1, True, False, False, False)
    x = torch.randn(9, 3, 6)
    observed(x)
    quantized = nnq.LSTM.from_observed(observed)
    whole, (h, c) = quantized(integers(x))
    first, state = quantized(integers(x[:4]))
    second, (h2, c2) = quantized(integers(x[4:]), state)
    assert torch.equal(torch.cat([first.int_repr(), second.int_repr()]), whole.int_repr())
    assert torch.equal(h2.int_repr(), h.int_repr()) and torch.equal(c2.int_repr(), c.int_repr())


def test_states_per_layer() -> None:
    _, observed = lstms(2, True, False, True, False)
    x, h, c = torch.randn(5, 3, 6), torch.randn(4, 3, 8), torch.randn(4, 3, 8)
    expected = observed(x, (h, c))
    result = observed(x, [(h[:2], c[:2]), (h[2:], c[2:])])
    assert all(map(torch.equal, _flat(result), _flat(expected)))


def test_state_dicts_of_an_lstm() -> None:
    _, observed = lstms(2, True, False, True, False)
    x = integers(torch.randn(5, 3, 6))
    observed(torch.randn(5, 3, 6))
    assert "layers.1.layer_bw.cell.igates.weight" in observed.state_dict()
    quantized = nnq.LSTM.from_observed(observed)
    file = io.BytesIO()
    torch.save(quantized.state_dict(), file)
    file.seek(0)
    fresh = nnq.LSTM(6, 8, 2, bidirectional=True)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    expected, _ = quantized(x)
    for other in (fresh, copy.deepcopy(quantized), pickle.loads(pickle.dumps(quantized))):
        assert torch.equal(other(x)[0].int_repr(), expected.int_repr())


@pytest.mark.parametrize("split", [False, True])
def test_an_lstm_trains(split: bool) -> None:
    model = nn.LSTM(6, 8, 2, dropout=0.5).train()
    model.qconfig = default_qat_qconfig
    trained = quantizable.LSTM.from_float(model, split_gates=split)
    assert trained.training and trained.dropout == 0.5
    kinds = {type(module) for module in trained.modules()}
    assert qat.Linear in kinds and nn.Linear not in kinds
    gates: Any = trained.layers[0].layer_fw.cell.hgates
    gates = gates["forget"] if split else gates
    assert isinstance(gates.activation_post_process, FakeQuantize)
    x = torch.randn(5, 3, 6)
    with torch.enable_grad():
        trained(x)[0].sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in trained.parameters())
    quantized = nnq.LSTM.from_observed(trained.eval())
    assert snr(trained(x)[0], quantized(integers(x))[0]) > 20


def test_lstms_that_cannot_be_taken_apart() -> None:
    with pytest.raises(TypeError, match="expected a LSTM"):
        quantizable.LSTM.from_float(nn.GRU(2, 2))
    with pytest.raises(ValueError, match="qconfig"):
        quantizable.LSTM.from_float(nn.LSTM(2, 2))
    projecting = nn.LSTM(4, 4, proj_size=2)
    with pytest.raises(ValueError, match="proj_size=2"):
        quantizable.LSTM.from_float(projecting, QCONFIG)
    with pytest.raises(NotImplementedError, match=r"quantized\.LSTM"):
        quantizable.LSTM.from_observed(nn.LSTM(2, 2))
    with pytest.raises(TypeError, match="observed LSTM"):
        nnq.LSTM.from_observed(nn.LSTM(2, 2))
    with pytest.raises(ValueError, match="expected a Linear with a qconfig"):
        nnq.LSTM.from_observed(quantizable.LSTM(2, 2))
    with pytest.raises(ValueError, match="0 … 1"):
        quantizable.LSTM(2, 2, dropout=1.5)
    with pytest.warns(UserWarning, match="only one"):
        quantizable.LSTM(2, 2, dropout=0.5)


@pytest.mark.parametrize("kind", [quantizable.LSTM, nnq.LSTM])
def test_bad_input_of_an_lstm(kind: Any) -> None:
    model = kind(6, 8, batch_first=True)

    def given(*shape: int) -> Tensor:
        return torch.zeros(shape) if kind is quantizable.LSTM else integers(torch.zeros(shape))

    with pytest.raises(ValueError, match=r"\(N, T, 6\)"):
        model(given(2, 3, 5))
    with pytest.raises(ValueError, match="T of 1 or more"):
        model(given(2, 0, 6))
    with pytest.raises(ValueError, match=r"\(1, 2, 8\)"):
        model(given(2, 3, 6), (given(1, 2, 7), given(1, 2, 7)))
    with pytest.raises(TypeError, match="pad_packed_sequence"):
        model(pack_sequence([torch.zeros(3, 6)]))
    if kind is nnq.LSTM:
        with pytest.raises(TypeError, match="quantized tensor"):
            model(torch.zeros(2, 3, 6))
        with pytest.raises(TypeError, match=r"hidden\[0\]"):
            model(given(2, 3, 6), (torch.zeros(1, 2, 8), torch.zeros(1, 2, 8)))


def test_quantized_lstm_is_exported_for_any_length() -> None:
    _, observed = lstms(1, True, False, True, False)
    observed(torch.randn(5, 3, 6))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nnq.LSTM.from_observed(observed)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.lstm(integers(x))[0].dequantize()
            return y

    model, x = Model(), torch.randn(5, 3, 6)
    lengths = {0: torch.export.Dim("steps", min=2), 1: torch.export.Dim("batch", min=2)}
    for strict in (False, True):
        program = torch.export.export(model, (x,), dynamic_shapes=(lengths,), strict=strict)
        for shape in ((5, 3, 6), (11, 2, 6)):
            x = torch.randn(shape)
            assert torch.equal(program.module()(x), model(x))
    assert torch.equal(torch.compile(model, backend="eager", fullgraph=True)(x), model(x))


# ---- the cell


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_cell(bias: bool, split: bool) -> None:
    model = nn.LSTMCell(6, 8, bias)
    model.qconfig = QCONFIG
    cell = quantizable.LSTMCell.from_float(model, split_gates=split)
    x, state = torch.randn(3, 6), (torch.randn(3, 8), torch.randn(3, 8))
    for hidden in (None, state):
        for result, expected in zip(cell(x, hidden), model(x, hidden), strict=True):
            torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    prepared = prepare(cell.eval(), {nn.Linear})
    prepared(x)
    mapping = {nn.Linear: nnq.Linear, nnq.FloatFunctional: nnq.QFunctional}
    quantized = convert(prepared, mapping)
    assert type(quantized) is quantizable.LSTMCell
    with qtensor.fallback("error"):
        h, c = quantized(integers(x))
    expected_h, expected_c = model(x)
    assert snr(expected_h, h) > 25 and snr(expected_c, c) > 25


def test_cell_from_params() -> None:
    wi, wh, b = torch.randn(32, 6), torch.randn(32, 8), torch.randn(32)
    with pytest.raises(ValueError, match="both biases"):
        quantizable.LSTMCell.from_params(wi, wh, b)
    cell = quantizable.LSTMCell.from_params(wi, wh, b, b)
    assert cell.bias and cell.input_size == 6 and cell.hidden_size == 8
    assert torch.equal(cell.igates.weight, wi)
    h, c = cell.initialize_hidden(4)
    assert h.shape == c.shape == (4, 8)
    quantized, _ = cell.initialize_hidden(4, is_quantized=True)
    assert isinstance(quantized, QTensor) and quantized.q_scale() == 1.0


# ---- attention

ATTENTION = [
    {},
    {"bias": False},
    {"add_bias_kv": True},
    {"add_zero_attn": True},
    {"add_bias_kv": True, "add_zero_attn": True, "batch_first": True},
    {"kdim": 12, "vdim": 10},
    {"kdim": 12, "vdim": 10, "bias": False, "batch_first": True},
    {"batch_first": True, "dropout": 0.3},
]
L, S, N = 5, 7, 3
CAUSAL = torch.ones(L, S, dtype=torch.bool).triu(1)
PADDED = torch.arange(S).expand(N, S) >= torch.tensor([[S], [S - 1], [S - 3]])
CALLS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no weights": {"need_weights": False},
    "weights of each head": {"average_attn_weights": False},
    "padding": {"key_padding_mask": PADDED},
    "boolean mask": {"attn_mask": CAUSAL},
    "float mask": {"attn_mask": torch.linspace(-2, 2, L * S).view(L, S)},
    "masks of heads": {"attn_mask": torch.arange(N * 4 * L * S).view(N * 4, L, S) % 3 == 1},
    "both": {"attn_mask": CAUSAL, "key_padding_mask": PADDED},
    "float padding": {"key_padding_mask": torch.zeros(N, S).masked_fill(PADDED, -5.0)},
}


def attention(qconfig: Any = QCONFIG, **options: Any) -> tuple[Any, quantizable.MultiheadAttention]:
    """A float one, and the observed one made of it."""
    model: Any = nn.MultiheadAttention(16, 4, **options).eval()
    if model.in_proj_bias is not None:
        nn.init.normal_(model.in_proj_bias)
        nn.init.normal_(model.out_proj.bias)
    model.qconfig = qconfig
    return model, quantizable.MultiheadAttention.from_float(model)


def inputs(model: Any, *, batched: bool = True) -> list[Tensor]:
    """Query, key and value."""
    sizes = ((L, model.embed_dim), (S, model.kdim), (S, model.vdim))
    if not batched:
        return [torch.randn(size) for size in sizes]
    return [
        torch.randn((N, *size) if model.batch_first else (size[0], N, size[1])) for size in sizes
    ]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("options", ATTENTION, ids=str)
def test_attention(options: dict[str, Any], call: str) -> None:
    model, observed = attention(**options)
    tensors, arguments = inputs(model), CALLS[call]
    expected, expected_weights = model(*tensors, **arguments)
    result, weights = observed(*tensors, **arguments)
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-4)
    quantized = nnq.MultiheadAttention.from_observed(observed)
    with qtensor.fallback("error"):
        integer, integer_weights = quantized(*map(integers, tensors), **arguments)
    assert integer.shape == expected.shape and snr(expected, integer) > 25
    assert (weights is None) == (integer_weights is None) == (expected_weights is None)
    if weights is not None:
        torch.testing.assert_close(weights, expected_weights, atol=1e-6, rtol=1e-4)
        assert integer_weights.shape == weights.shape and snr(weights, integer_weights) > 25


@pytest.mark.parametrize("qconfig", [QCONFIG, SIGNED])
def test_attention_without_a_batch(qconfig: QConfig) -> None:
    model, observed = attention(qconfig)
    tensors = inputs(model, batched=False)
    for mask in (None, torch.arange(S) >= 5):
        expected = model(*tensors, key_padding_mask=mask)
        for result, wanted in zip(observed(*tensors, key_padding_mask=mask), expected, strict=True):
            torch.testing.assert_close(result, wanted, atol=1e-5, rtol=1e-4)
    quantized = nnq.MultiheadAttention.from_observed(observed)
    dtype = qconfig.activation().dtype
    results = quantized(*(integers(x, dtype) for x in tensors), key_padding_mask=mask)
    for result, wanted in zip(results, expected, strict=True):
        assert result.shape == wanted.shape and snr(wanted, result) > 25


def test_causal_attention() -> None:
    """As a hint beside a mask, and by itself."""
    model, observed = attention()
    x = torch.randn(L, N, 16)
    mask = nn.Transformer.generate_square_subsequent_mask(L)
    expected, _ = model(x, x, x, attn_mask=mask)
    for arguments in ({"attn_mask": mask, "is_causal": True}, {"is_causal": True}):
        torch.testing.assert_close(observed(x, x, x, **arguments)[0], expected)
        with_hint, _ = model(x, x, x, attn_mask=mask, is_causal=True, need_weights=False)
        torch.testing.assert_close(observed(x, x, x, **arguments)[0], with_hint)


def test_what_attends_to_nothing_gets_zeros() -> None:
    model, observed = attention()
    tensors = inputs(model)
    observed(*tensors)
    quantized = nnq.MultiheadAttention.from_observed(observed)
    nothing = torch.ones(L, S, dtype=torch.bool)
    result, weights = quantized(*map(integers, tensors), attn_mask=nothing)
    assert not weights.dequantize().any()
    bias: Any = quantized.out_proj.bias()  # which is all that a layer gives for zeros
    expected = quantize_per_tensor(bias, result.q_scale(), result.q_zero_point(), quint8)
    assert torch.equal(result.int_repr(), expected.int_repr().expand_as(result))


def test_the_products_of_attention_run_on_integers() -> None:
    model, observed = attention()
    tensors = inputs(model)
    observed(*tensors)
    quantized = nnq.MultiheadAttention.from_observed(observed)
    with Operators() as seen:
        quantized(*map(integers, tensors))
    assert seen.counts["qtensor.linear"] == 4 and seen.counts["qtensor.matmul_int32"] == 2
    assert not {"aten.mm", "aten.addmm", "aten.bmm"} & seen.counts.keys()


@pytest.mark.parametrize("options", ATTENTION, ids=str)
def test_dequantize(options: dict[str, Any]) -> None:
    model, observed = attention(**options)
    tensors = inputs(model)
    expected, _ = observed(*tensors)
    same = observed.dequantize()
    assert type(same) is nn.MultiheadAttention
    torch.testing.assert_close(same(*tensors)[0], expected, atol=1e-5, rtol=1e-4)
    rounded = nnq.MultiheadAttention.from_observed(observed).dequantize()
    assert snr(expected, rounded(*tensors)[0]) > 35


def test_state_dicts_of_attention() -> None:
    model, observed = attention(add_bias_kv=True)
    tensors = inputs(model)
    observed(*tensors)
    quantized = nnq.MultiheadAttention.from_observed(observed)
    fresh = nnq.MultiheadAttention(16, 4, add_bias_kv=True)
    fresh.load_state_dict(quantized.state_dict())
    given = list(map(integers, tensors))
    expected, _ = quantized(*given)
    for other in (fresh, copy.deepcopy(quantized), pickle.loads(pickle.dumps(quantized))):
        assert torch.equal(other(*given)[0].int_repr(), expected.int_repr())


def test_attention_trains() -> None:
    model: Any = nn.MultiheadAttention(16, 4).train()
    model.qconfig = default_qat_qconfig
    trained = quantizable.MultiheadAttention.from_float(model)
    tensors = inputs(model)
    with torch.enable_grad():
        trained(*tensors)[0].sum().backward()
    linear: Any = trained.linear_V
    assert type(linear) is qat.Linear and linear.weight.grad.abs().sum() > 0
    quantized = nnq.MultiheadAttention.from_observed(trained.eval())
    assert snr(trained(*tensors)[0], quantized(*map(integers, tensors))[0]) > 20


def test_quantized_attention_is_exported_for_any_length() -> None:
    model, observed = attention(batch_first=True)
    observed(*inputs(model))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nnq.MultiheadAttention.from_observed(observed)

        def forward(self, x: Tensor) -> Tensor:
            q = integers(x)
            y: Tensor = self.attention(q, q, q)[0].dequantize()
            return y

    quantized, x = Model(), torch.randn(3, 7, 16)
    lengths = {1: torch.export.Dim("length", min=2, max=64)}
    for strict in (False, True):
        program = torch.export.export(quantized, (x,), dynamic_shapes=(lengths,), strict=strict)
        for length in (7, 12):
            x = torch.randn(3, length, 16)
            assert torch.equal(program.module()(x), quantized(x))
    assert torch.equal(torch.compile(quantized, backend="eager", fullgraph=True)(x), quantized(x))


@pytest.mark.parametrize("kind", [quantizable.MultiheadAttention, nnq.MultiheadAttention])
def test_bad_input_of_attention(kind: Any) -> None:
    model = kind(16, 4)

    def given(*shape: int) -> Tensor:
        x = torch.zeros(shape)
        return x if kind is quantizable.MultiheadAttention else integers(x)

    x = given(5, 3, 16)
    with pytest.raises(ValueError, match="a key of 2 or 3 dimensions, the last of 16"):
        model(x, given(5, 3, 8), x)
    with pytest.raises(ValueError, match="one batch"):
        model(x, given(5, 2, 16), given(5, 2, 16))
    with pytest.raises(ValueError, match="one length"):
        model(x, given(5, 3, 16), given(4, 3, 16))
    with pytest.raises(ValueError, match=r"attn_mask of shape \(5, 5\) or \(12, 5, 5\)"):
        model(x, x, x, attn_mask=torch.zeros(4, 5))
    with pytest.raises(TypeError, match="boolean or float"):
        model(x, x, x, key_padding_mask=torch.zeros(3, 5, dtype=torch.uint8))
    with pytest.raises(ValueError, match="multiple of num_heads"):
        kind(16, 3)


def test_attention_that_cannot_be_taken_apart() -> None:
    with pytest.raises(TypeError, match="MultiheadAttention"):
        quantizable.MultiheadAttention.from_float(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="qconfig"):
        quantizable.MultiheadAttention.from_float(nn.MultiheadAttention(4, 2))
    with pytest.raises(NotImplementedError, match="quantized"):
        quantizable.MultiheadAttention.from_observed(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="observed"):
        nnq.MultiheadAttention.from_observed(nn.MultiheadAttention(4, 2))


# ---- as part of a model


def test_prepare_leaves_alone_what_observes_itself() -> None:
    model = nn.Sequential(QuantStub(), nn.LSTM(6, 8)).eval()
    model[1].qconfig = QCONFIG
    model[1] = quantizable.LSTM.from_float(model[1])
    observers = {name for name, _ in model.named_modules() if name.endswith("post_process")}
    prepared = prepare(model, {QuantStub, nn.Linear, quantizable.LSTM})
    found = {name for name, _ in prepared.named_modules() if name.endswith("post_process")}
    assert found == observers
    dynamic: Any = nn.LSTM(2, 2)
    dynamic.qconfig = default_dynamic_qconfig._replace(activation=None)
    with pytest.raises(ValueError, match="observes activations"):
        quantizable.LSTM.from_float(dynamic)
