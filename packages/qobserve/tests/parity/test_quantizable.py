"""The LSTM and attention taken apart, against those that torch is removing (engine fbgemm).

Where the old ones are wrong, or less exact, a test says how.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import qobserve
from qobserve.nn import quantizable
from qtensor import quantize_per_tensor, quint8
from qtensor.nn import quantized as nnq

legacy = pytest.importorskip("torch.ao.quantization")
legacy_quantizable = pytest.importorskip("torch.ao.nn.quantizable")
legacy_quantized = pytest.importorskip("torch.ao.nn.quantized")

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # the old stack warns about itself
]

SEVEN_BITS = {"reduce_range": True}  # beyond them fbgemm may saturate
OURS = qobserve.QConfig(
    qobserve.MinMaxObserver.with_args(**SEVEN_BITS), qobserve.default_per_channel_weight_observer
)
THEIRS = legacy.QConfig(
    legacy.MinMaxObserver.with_args(**SEVEN_BITS), legacy.default_per_channel_weight_observer
)
SCALE, ZERO_POINT = 8 / 127, 64


@pytest.fixture(autouse=True)
def _fbgemm() -> Iterator[None]:
    torch.manual_seed(0)
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    with torch.no_grad():
        yield
    torch.backends.quantized.engine = before


def old(x: Tensor) -> Tensor:
    return torch.quantize_per_tensor(x.clamp(-4, 4), SCALE, ZERO_POINT, torch.quint8)


def ours(x: Tensor) -> Any:
    return quantize_per_tensor(x.clamp(-4, 4), SCALE, ZERO_POINT, quint8)


def both(model: Any, kind: str, **arguments: Any) -> tuple[Any, Any]:
    """``model`` as their observed module and as ours."""
    model.qconfig = THEIRS
    theirs = getattr(legacy_quantizable, kind).from_float(model, **arguments)
    model.qconfig = OURS
    return theirs, getattr(quantizable, kind).from_float(model, **arguments)


def assert_same_qparams(theirs: nn.Module, observed: nn.Module) -> None:
    """Every observer of ours agrees with theirs of the same name."""
    names = [name for name, _ in observed.named_modules() if name.endswith("post_process")]
    assert len(names) > 4
    for name in names:
        expected = theirs.get_submodule(name).calculate_qparams()
        scale, zero_point = observed.get_submodule(name).calculate_qparams()
        # Products of several steps at once are summed in another order.
        torch.testing.assert_close(scale, expected[0], rtol=1e-5, atol=0)
        assert zero_point == expected[1], name


def steps_apart(result: Any, expected: Tensor) -> int:
    """The largest difference, in steps of the coarser scale."""
    scale = max(result.q_scale(), expected.q_scale())
    return round(float((result.dequantize() - expected.dequantize()).abs().max() / scale))


LSTMS = [
    {},
    {"num_layers": 2},
    {"bias": False},
    {"batch_first": True},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True},
]


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("options", LSTMS, ids=str)
def test_lstm(options: dict[str, Any], split: bool) -> None:
    model = nn.LSTM(16, 32, **options).eval()
    theirs, observed = both(model, "LSTM", split_gates=split)
    x = torch.randn(12, 4, 16)
    torch.testing.assert_close(observed(x)[0], theirs(x)[0])
    assert_same_qparams(theirs, observed)
    y, (h, c) = nnq.LSTM.from_observed(observed)(ours(x))
    expected, (expected_h, expected_c) = legacy_quantized.LSTM.from_observed(theirs)(old(x))
    # Theirs rounds a product before it adds it, and joins tensors with the parameters of the first.
    assert steps_apart(y, expected) <= 4
    scale = max(y.q_scale(), expected.q_scale())
    assert (y.dequantize() - expected.dequantize()).abs().mean() <= 0.6 * scale
    assert y.shape == expected.shape
    assert h.shape == expected_h.shape and c.shape == expected_c.shape
    if options.get("num_layers", 1) == 1 and "bidirectional" not in options:
        assert steps_apart(h, expected_h) <= 3 and steps_apart(c, expected_c) <= 3
        assert y.q_scale() == pytest.approx(expected.q_scale(), rel=1e-5)
        assert y.q_zero_point() == expected.q_zero_point()


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}], ids=str)
def test_both_are_as_close_to_float(options: dict[str, Any]) -> None:
    model = nn.LSTM(64, 128, **options).eval()
    theirs, observed = both(model, "LSTM")
    x = torch.randn(32, 4, 64)
    expected, _ = model(ours(x).dequantize())
    theirs(x)
    observed(x)
    y, _ = nnq.LSTM.from_observed(observed)(ours(x))
    y_old, _ = legacy_quantized.LSTM.from_observed(theirs)(old(x))
    assert (y.dequantize() - expected).norm() < 1.06 * (y_old.dequantize() - expected).norm()


def test_observed_lstms_load_what_theirs_saved() -> None:
    theirs, observed = both(nn.LSTM(4, 8, 2, bidirectional=True).eval(), "LSTM")
    x = torch.randn(5, 2, 4)
    theirs(x)
    assert observed.state_dict().keys() == theirs.state_dict().keys()
    observed.load_state_dict(theirs.state_dict())
    assert_same_qparams(theirs, observed)


def test_cell() -> None:
    model = nn.LSTMCell(8, 16)
    theirs, observed = both(model, "LSTMCell")
    x, state = torch.randn(4, 8), (torch.randn(4, 16), torch.randn(4, 16))
    for result, expected in zip(observed(x, state), theirs(x, state), strict=True):
        torch.testing.assert_close(result, expected)
    assert observed.state_dict().keys() == theirs.state_dict().keys()


ATTENTIONS = [
    {},
    {"bias": False},
    {"add_bias_kv": True},
    {"add_zero_attn": True},
    {"kdim": 12, "vdim": 20},
]


@pytest.mark.parametrize("options", ATTENTIONS, ids=str)
def test_attention(options: dict[str, Any]) -> None:
    model = nn.MultiheadAttention(32, 4, **options).eval()
    theirs, observed = both(model, "MultiheadAttention")
    q, k, v = torch.randn(6, 3, 32), torch.randn(9, 3, model.kdim), torch.randn(9, 3, model.vdim)
    masks = {"attn_mask": torch.ones(6, 9, dtype=torch.bool).triu(4)}
    for result, expected in zip(observed(q, k, v, **masks), theirs(q, k, v, **masks), strict=True):
        torch.testing.assert_close(result, expected)
    assert_same_qparams(theirs, observed)
    quantized = nnq.MultiheadAttention.from_observed(observed)
    results = quantized(*map(ours, (q, k, v)), **masks)
    expected = legacy_quantized.MultiheadAttention.from_observed(theirs)(
        *map(old, (q, k, v)), **masks
    )
    for result, wanted in zip(results, expected, strict=True):
        assert result.shape == wanted.shape
        assert steps_apart(result, wanted) <= 2


def test_their_attention_mixes_batches_up() -> None:
    """With ``batch_first`` it takes a tensor of heads for one of batches; ours is right."""
    model = nn.MultiheadAttention(16, 2, batch_first=True).eval()
    theirs, observed = both(model, "MultiheadAttention")
    x = torch.randn(3, 5, 16)
    expected, _ = model(x, x, x)
    torch.testing.assert_close(observed(x, x, x)[0], expected)
    assert theirs(x, x, x)[0].shape == expected.shape
    assert not torch.allclose(theirs(x, x, x)[0], expected, atol=0.01)


def test_attention_loads_what_theirs_saved() -> None:
    theirs, observed = both(nn.MultiheadAttention(8, 2).eval(), "MultiheadAttention")
    x = torch.randn(5, 2, 8)
    theirs(x, x, x)
    observed.load_state_dict(theirs.state_dict())
    assert_same_qparams(theirs, observed)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (quantizable.LSTM, legacy_quantizable.LSTM),
        (quantizable.LSTMCell, legacy_quantizable.LSTMCell),
        (quantizable.MultiheadAttention, legacy_quantizable.MultiheadAttention),
        (nnq.LSTM, legacy_quantized.LSTM),
        (nnq.MultiheadAttention, legacy_quantized.MultiheadAttention),
        (quantizable.MultiheadAttention.forward, legacy_quantizable.MultiheadAttention.forward),
        (quantizable.LSTM.from_float, legacy_quantizable.LSTM.from_float),
        (quantizable.LSTMCell.from_float, legacy_quantizable.LSTMCell.from_float),
        (quantizable.LSTMCell.from_params, legacy_quantizable.LSTMCell.from_params),
    ],
)
def test_arguments_keep_their_names_places_and_defaults(ours: Any, theirs: Any) -> None:
    expected = {
        name: (place, parameter.default, parameter.kind)
        for place, (name, parameter) in enumerate(inspect.signature(theirs).parameters.items())
    }
    given = {
        name: (place, parameter.default, parameter.kind)
        for place, (name, parameter) in enumerate(inspect.signature(ours).parameters.items())
    }
    assert expected.items() <= given.items()
