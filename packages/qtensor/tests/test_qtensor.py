"""QTensor: its vocabulary, and torch's functions that work on its integers."""

import copy
import io
import pickle

import pytest
import torch
import torch.nn.functional as F

import qtensor
from qtensor import QParams, QTensor, quantize_per_channel, quantize_per_tensor

SHAPE = (2, 6, 4, 4)


@pytest.fixture(autouse=True)
def no_fallback():
    with qtensor.fallback("error"):
        yield


@pytest.fixture(params=[qtensor.quint8, qtensor.qint8], ids=repr)
def q(request):
    generator = torch.Generator().manual_seed(0)
    zero_point = 100 if request.param is qtensor.quint8 else -5
    return quantize_per_tensor(
        torch.randn(SHAPE, generator=generator), 0.03, zero_point, request.param
    )


@pytest.fixture
def per_channel():
    scales, zeros = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0, 1, 2])
    x = torch.arange(24.0).reshape(2, 3, 4) / 10
    return quantize_per_channel(x, scales, zeros, 1, qtensor.qint8)


def test_vocabulary_per_tensor(q):
    assert q.is_quantized and isinstance(q, torch.Tensor)
    assert q.dtype is torch.float32 and q.int_repr().dtype is q.qdtype.storage
    assert (q.q_scale(), q.q_zero_point()) == (q.qparams.scale, q.qparams.zero_point)
    assert q.qscheme() is qtensor.per_tensor_affine
    real = (q.int_repr().double() - q.q_zero_point()) * q.q_scale()
    torch.testing.assert_close(q.dequantize().double(), real, rtol=1e-6, atol=1e-6)
    with pytest.raises(RuntimeError, match=r"q_per_channel_scales.*per channel"):
        q.q_per_channel_scales()


def test_vocabulary_per_channel(per_channel):
    assert per_channel.q_per_channel_axis() == 1
    assert per_channel.q_per_channel_scales().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert per_channel.q_per_channel_zero_points().tolist() == [0, 1, 2]
    assert per_channel.qscheme() is qtensor.per_channel_affine
    with pytest.raises(RuntimeError, match=r"q_scale.*axis 1"):
        per_channel.q_scale()


def test_constructor_rejects_what_does_not_fit():
    with pytest.raises(TypeError, match=r"torch\.uint8 for qtensor\.quint8, got torch\.int8"):
        QTensor(torch.zeros(2, dtype=torch.int8), QParams(1.0))
    with pytest.raises(TypeError, match="got a list"):
        QTensor([1, 2], QParams(1.0))
    with pytest.raises(TypeError, match=r"tensor of layout torch\.sparse_coo"):
        QTensor(torch.zeros(2, dtype=torch.uint8).to_sparse(), QParams(1.0))
    with pytest.raises(TypeError, match="expected QParams, got float"):
        QTensor(torch.zeros(2, dtype=torch.uint8), 1.0)
    channels = QParams(torch.ones(3), torch.zeros(3, dtype=torch.int64), qtensor.qint8, axis=0)
    with pytest.raises(ValueError, match=r"2 channels along axis 0.*got 3"):
        QTensor(torch.zeros(2, 3, dtype=torch.int8), channels)
    with pytest.raises(ValueError, match=r"axis within 0 … 1, got 2"):
        QTensor(torch.zeros(2, 3, dtype=torch.int8), channels.replace(axis=2))


@pytest.mark.parametrize(
    ("scale", "zero_point", "problem"),
    [(0.0, 0, "scale"), (-1.0, 0, "scale"), (float("nan"), 0, "scale"), (1.0, 300, "zero_point")],
)
def test_quantize_rejects_bad_parameters(scale, zero_point, problem):
    with pytest.raises(ValueError, match=problem):
        quantize_per_tensor(torch.ones(2), scale, zero_point, qtensor.quint8)


def test_quantize_rejects_what_is_quantized(q):
    with pytest.raises(TypeError, match="quantized already"):
        quantize_per_tensor(q, 0.1, 0, qtensor.quint8)


MOVES = {
    "view": lambda x: x.view(12, 16),
    "reshape": lambda x: torch.reshape(x, (-1,)),
    "flatten": lambda x: torch.flatten(x, 1),
    "index": lambda x: x[:, 1:3, ..., None],
    "slice": lambda x: x[0],
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "transpose": lambda x: x.transpose(1, 2),
    "mT": lambda x: x.mT,
    "unsqueeze": lambda x: x.unsqueeze(0),
    "squeeze": lambda x: x[:1].squeeze(0),
    "expand": lambda x: x[:, :1].expand(SHAPE),
    "contiguous": lambda x: x.transpose(0, 1).contiguous(),
    "channels_last": lambda x: x.to(memory_format=torch.channels_last),
    "clone": lambda x: x.clone(),
    "detach": lambda x: x.detach(),
    "flip": lambda x: x.flip(0),
    "roll": lambda x: torch.roll(x, 1, 0),
    "repeat": lambda x: x.repeat(1, 2, 1, 1),
    "unflatten": lambda x: x.unflatten(1, (2, 3)),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x[:, :4], 2),
    "cat": lambda x: torch.cat([x, x], 1),
    "stack": lambda x: torch.stack([x, x]),
    "pad": lambda x: F.pad(x, (1, 2)),
    "reflect": lambda x: F.pad(x, (1, 1, 1, 1), "reflect"),
    "replicate": lambda x: F.pad(x, (1, 2, 0, 1), "replicate"),
    "circular": lambda x: F.pad(x, (1, 2, 0, 1), "circular"),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x, 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 3),
    "alpha_dropout": lambda x: F.alpha_dropout(x, 0.5, False),
    "max": lambda x: x.max(),
    "amax": lambda x: x.amax(1),
    "values": lambda x: torch.max(x, 1).values,
    "dropout": lambda x: F.dropout(x, 0.5, False),
    "device": lambda x: x.to("cpu"),
    "relu": lambda x: F.relu(x),
    "relu_method": lambda x: x.relu(),
    "max_pool": lambda x: F.max_pool2d(x, 2),
    "max_pool_3d_input": lambda x: F.max_pool2d(x[0], 3, 1, 1),
    "split": lambda x: x.split(2, 1)[1],
    "chunk": lambda x: x.chunk(2)[1],
    "unbind": lambda x: x.unbind(1)[2],
    "iterate": lambda x: list(x)[1],
    "expand_as": lambda x: x[:, :1].expand_as(x),
}


@pytest.mark.parametrize("name", MOVES)
def test_integers_follow_the_values(q, name):
    result, expected = MOVES[name](q), MOVES[name](q.dequantize())
    assert isinstance(result, QTensor) and result.qparams == q.qparams
    assert result.shape == expected.shape and result.stride() == result.int_repr().stride()
    assert torch.equal(result.dequantize(), expected)


@pytest.mark.parametrize(
    "clamp",
    [
        F.relu6,
        lambda x: F.hardtanh(x, -0.5, 0.75),
        lambda x: torch.clamp(x, min=-0.5),
        lambda x: x.clamp(-0.5, 0.75),
    ],
)
def test_clamps_stay_within_half_a_step(q, clamp):
    error = (clamp(q).dequantize() - clamp(q.dequantize())).abs().max()
    assert error <= q.q_scale() / 2 + 1e-6


@pytest.mark.parametrize(
    "average",
    [lambda x: F.avg_pool2d(x, 2), lambda x: F.adaptive_avg_pool2d(x, (1, None))],
)
def test_averages_stay_within_half_a_step(q, average):
    result = average(q)
    assert result.qparams == q.qparams
    error = (result.dequantize() - average(q.dequantize())).abs().max()
    assert error <= q.q_scale() / 2 + 1e-6


def test_positions_are_plain_integers(q):
    assert type(q.argmax(1)) is torch.Tensor
    assert torch.equal(q.argmax(1), q.int_repr().argmax(1))


def test_metadata_asks_the_wrapper(q):
    assert (q.dim(), q.numel(), len(q), q.size(1)) == (4, 192, 2, 6)
    assert q.is_contiguous() and q.device.type == "cpu" and q.requires_grad is False
    assert q.data_ptr() == q.int_repr().data_ptr()


@pytest.mark.parametrize(
    ("move", "axis"),
    [
        (lambda x: x.transpose(0, 1), 0),
        (lambda x: x.permute(2, 0, 1), 2),
        (lambda x: x.unsqueeze(0), 2),
        (lambda x: x.clone(), 1),
        (lambda x: x.contiguous(), 1),
        (lambda x: x.movedim(1, -1), 2),
    ],
)
def test_channel_axis_follows(per_channel, move, axis):
    moved = move(per_channel)
    assert moved.q_per_channel_axis() == axis
    assert torch.equal(moved.dequantize(), move(per_channel.dequantize()))


CHANNEL_MOVES = {  # with the channels along an axis, or those of one of them, per tensor
    "view": (lambda x: x.view(2, 3, 2, 2), 1),
    "flatten": (lambda x: x.transpose(0, 1).flatten(1), 0),
    "unsqueeze": (lambda x: x[None], 2),
    "squeeze": (lambda x: x[None].squeeze(0), 1),
    "batch": (lambda x: x[0], 0),
    "other slice": (lambda x: x[1:, :, ::2], 1),
    "some channels": (lambda x: x[:, 1:], 1),
    "one channel": (lambda x: x[:, 1:2], 1),
    "channel": (lambda x: x[:, 1], None),
    "element": (lambda x: x[1, 2, 3], None),
    "indices": (lambda x: x[:, torch.tensor([2, 0])], 1),
    "index_select": (lambda x: x.index_select(1, torch.tensor([2, 1])), 1),
    "flip": (lambda x: x.flip(1), 1),
    "roll": (lambda x: x.roll(1, 1), 1),
    "repeat": (lambda x: x.repeat(1, 2, 1), 1),
    "expand": (lambda x: x[:, :, :1].expand(2, 3, 5), 1),
    "unfold": (lambda x: x.unfold(2, 2, 1), 1),
    "split": (lambda x: x.split(2, 1)[0], 1),
    "chunk": (lambda x: x.chunk(2)[1], 1),
    "unbind": (lambda x: x.unbind(1)[2], None),
    "iterate": (lambda x: list(x)[1], 0),
    "cat": (lambda x: torch.cat([x, x]), 1),
    "cat channels": (lambda x: torch.cat([x, x], 1), 1),
    "stack": (lambda x: torch.stack([x, x]), 2),
    "strides": (lambda x: x.transpose(0, 2)[1:].flatten(0, 1)[:, :1], 0),
}


@pytest.mark.parametrize("name", CHANNEL_MOVES)
@pytest.mark.parametrize("dtype", [qtensor.qint8, qtensor.qint4])
def test_channels_follow_the_values(per_channel, name, dtype):
    move, axis = CHANNEL_MOVES[name]
    x = quantize_per_channel(
        per_channel.dequantize(),
        per_channel.q_per_channel_scales() * (1 if dtype is qtensor.qint8 else 4),
        per_channel.q_per_channel_zero_points(),
        1,
        dtype,
    )
    moved = move(x)
    assert isinstance(moved, QTensor) and moved.qparams.axis == axis
    assert torch.equal(moved.int_repr(), move(x.int_repr()))
    assert torch.equal(moved.dequantize(), move(x.dequantize()))
    if axis is not None and not name.startswith("ind"):  # those depend on values
        there = move(x.to("meta"))
        assert isinstance(there, QTensor) and there.qparams.axis == axis


def test_writing_into_a_part_of_the_channels(per_channel):
    per_channel[:, 1:].fill_(0.6)
    assert per_channel[:, 1:].dequantize().unique().tolist() == pytest.approx([0.6])
    assert per_channel[:, 0].dequantize().unique().numel() > 1


def test_per_channel_images_are_pooled_in_float(per_channel):
    with pytest.raises(NotImplementedError, match="max_pool1d has no quantized kernel"):
        F.max_pool1d(per_channel, 2)
    with qtensor.fallback("silent"):
        expected = F.avg_pool1d(per_channel.dequantize(), 2)
        assert torch.equal(F.avg_pool1d(per_channel, 2), expected)


def test_per_channel_reshape_would_lose_the_channels(per_channel):
    with pytest.raises(NotImplementedError, match="reshape"):
        per_channel.reshape(-1)
    with pytest.raises(NotImplementedError, match="reshape"):
        per_channel.reshape(2, 2, 6)  # channel 1 would lie in parts of two rows


@pytest.mark.parametrize(
    "leave",
    [
        lambda x: x.float(),
        lambda x: x.to(torch.float64),
        lambda x: x.half(),
        lambda x: x.to(torch.ones(1)),
        lambda x: x.int(),
        lambda x: torch.as_tensor(x.numpy()),
        lambda x: torch.tensor(x.tolist()),
        qtensor.dequantize,
    ],
)
def test_leaving_is_no_fallback(q, leave):
    expected = q.dequantize() if leave is qtensor.dequantize else leave(q.dequantize())
    result = leave(q)
    assert type(result) is torch.Tensor and torch.equal(result, expected)


def test_dequantize_of_a_list(q):
    first, second = qtensor.dequantize([q, q.flip(0)])
    assert torch.equal(first, second.flip(0))


# ---- writing


def test_in_place_activations_write_the_same_integers(q):
    expected = F.relu(q).int_repr()
    data = q.int_repr()
    assert F.relu(q, inplace=True) is q and torch.equal(data, expected)
    assert q.clamp_(max=0.2) is q and q.dequantize().max() <= 0.2 + q.q_scale()


def test_writes_use_the_parameters_of_the_target(q):
    other = quantize_per_tensor(torch.full(SHAPE[1:], 0.5), 0.5, 0, qtensor.quint8)
    q[0] = other
    q[1, 0] = 0.25
    q[1, 1] = torch.full((4, 4), -0.25)
    values = q.dequantize()
    for written, expected in ((values[0], 0.5), (values[1, 0], 0.25), (values[1, 1], -0.25)):
        assert (written - expected).abs().max() <= q.q_scale() / 2 + 1e-6
    q.copy_(other)
    assert (q.dequantize() - 0.5).abs().max() <= q.q_scale() / 2 + 1e-6
    assert q.zero_().dequantize().abs().max() == 0


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.tan_(),
        lambda x: x.__ipow__(2),
        lambda x: x.t_(),
        lambda x: torch.tan_(x),
        lambda x: F.rrelu(x, inplace=True),
        lambda x: torch.neg(x.dequantize(), out=x),
        lambda x: torch.cat([x.dequantize()], out=x),
        lambda x: torch.ops.aten.tan_.default(x),
        lambda x: setattr(x, "data", torch.ones(SHAPE)),
    ],
)
def test_other_writes_raise_even_when_fallback_is_allowed(q, write):
    before = q.int_repr().clone()
    with qtensor.fallback("silent"), pytest.raises(NotImplementedError, match="cannot write"):
        write(q)
    assert torch.equal(q.int_repr(), before)


def test_a_float_tensor_may_be_written_from_a_quantized_one(q):
    x = torch.zeros(SHAPE)
    x.copy_(q)
    assert torch.equal(x, q.dequantize())
    x[0] = q[1]
    assert torch.equal(x[0], q[1].dequantize())


# ---- copying, saving, printing


def assert_same(a, b):
    assert isinstance(a, QTensor) and torch.equal(a, b) and a.qparams == b.qparams


def test_copies_and_files_keep_everything(q, per_channel, tmp_path):
    for x in (q, per_channel):
        check_copies_and_files(x, tmp_path)


def check_copies_and_files(x, tmp_path):
    deep = copy.deepcopy(x)
    assert_same(deep, x)
    assert deep.data_ptr() != x.data_ptr()
    assert_same(pickle.loads(pickle.dumps(x)), x)
    torch.save({"x": x, "qparams": x.qparams, "dtype": x.qdtype}, tmp_path / "x.pt")
    loaded = torch.load(tmp_path / "x.pt", weights_only=True)
    assert_same(loaded["x"], x)
    assert loaded["qparams"] == x.qparams and loaded["dtype"] is x.qdtype


def test_shared_memory_survives_deepcopy_of_a_container(q):
    pair = copy.deepcopy([q, q])
    assert pair[0] is pair[1]


def test_as_a_parameter_and_a_buffer(q):
    module = torch.nn.Module()
    module.register_buffer("table", q)
    module.fixed = torch.nn.Parameter(q, requires_grad=False)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert_same(state["table"], q)
    copied = copy.deepcopy(module)
    copied.table.zero_()
    copied.load_state_dict(state)
    assert torch.equal(copied.table, q)


def test_printing():
    q = quantize_per_tensor(torch.tensor([0.0, 1.0]), 0.5, 3, qtensor.quint8)
    assert repr(q) == (
        "QTensor([0., 1.], size=(2,), dtype=qtensor.quint8, "
        "quantization_scheme=qtensor.per_tensor_affine, scale=0.5, zero_point=3)"
    )
    parameters = repr(q).partition("dtype=")[2]
    assert repr(q[:0]) == f"QTensor([], size=(0,), dtype={parameters}"
    assert repr(q.to("meta")) == f"QTensor(..., size=(2,), device='meta', dtype={parameters}"
    assert "axis=0" in repr(
        quantize_per_channel(
            torch.ones(2, 1), torch.ones(2), torch.zeros(2).long(), 0, qtensor.qint8
        )
    )


def test_integers_have_no_gradients(q):
    with pytest.raises(RuntimeError, match=r"qtensor\.q.*cannot require gradients"):
        q.requires_grad_()
    with pytest.raises(RuntimeError, match=r"backward\(\) through a QTensor of qtensor\.q"):
        q.backward()


def test_equality_needs_equal_parameters(q):
    assert torch.equal(q, q.clone())
    assert not torch.equal(q, QTensor(q.int_repr(), q.qparams.replace(scale=1.0)))
    assert not torch.equal(q, q.dequantize())


@pytest.mark.parametrize("workers", [0, 1])
def test_loaders_stack_integers(q, workers):
    context = "fork" if workers else None
    loader = torch.utils.data.DataLoader(
        [{"x": part} for part in q], 2, num_workers=workers, multiprocessing_context=context
    )
    batches = [batch["x"] for batch in loader]
    assert all(isinstance(batch, QTensor) for batch in batches)
    assert torch.equal(torch.cat(batches), q)


@pytest.mark.parametrize(
    "call",
    [
        lambda q, x: q.clamp(x, x),
        lambda q, x: F.hardtanh(q, x, 1.0),
        lambda q, x: F.pad(q, (1, 1), value=x),
        lambda q, x: q.masked_fill_(q > 0, x),
    ],
)
def test_no_integer_is_nan(q, call):
    with pytest.raises(ValueError, match="got NaN"):
        call(q, float("nan"))


def test_python_protocols(q):
    value = q.dequantize()[0, 0, 0, 0]
    element = q[0, 0, 0, 0]
    assert (float(element), int(element), bool(element)) == (float(value), int(value), bool(value))
    assert {"dequantize", "_data"} <= set(dir(q))
    assert q.is_same_size(q.clone()) and not q.is_same_size(element)
    assert not q.is_pinned()


def test_shared_memory(q, per_channel):
    for x in (q.clone(), per_channel):
        assert not x.is_shared() and x.share_memory_() is x and x.is_shared()
    assert per_channel.q_per_channel_scales().is_shared()


@pytest.mark.parametrize(
    "function",
    [
        *(F.elu, F.gelu, F.sigmoid, F.tanh, F.silu, torch.abs, torch.mean),
        lambda x: F.prelu(x, torch.tensor([0.1])),
        lambda x: F.softmax(x, 1),
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.adaptive_avg_pool2d(x, 2),
        lambda x: F.interpolate(x, scale_factor=2),
        lambda x: F.unfold(x, 2),
    ],
)
@pytest.mark.parametrize("dtype", [qtensor.qint32, qtensor.quint4x2, qtensor.qint4])
def test_what_kernels_do_not_know_is_computed_in_float(function, dtype):
    x = torch.linspace(-2, 2, 96).reshape(2, 3, 4, 4)
    zero_point = 7 if dtype is qtensor.quint4x2 else 0
    q = quantize_per_tensor(x, 1e-6 if dtype is qtensor.qint32 else 0.3, zero_point, dtype)
    with qtensor.fallback("silent"):
        result = function(q)
    tolerance = float(result.q_scale()) * 0.51 if isinstance(result, QTensor) else 1e-6
    expected = function(q.dequantize())
    if isinstance(result, QTensor):  # what its range cannot hold lies at its end
        p = result.qparams
        ends = (p.quant_min - p.zero_point) * p.scale, (p.quant_max - p.zero_point) * p.scale
        expected = expected.clamp(*ends)
    torch.testing.assert_close(result.dequantize(), expected, rtol=0, atol=tolerance)
    with qtensor.fallback("error"):
        if dtype is qtensor.qint32:
            with pytest.raises(NotImplementedError, match="has no quantized kernel"):
                function(q)


def test_columns_of_windows_are_computed_in_float(q):
    with pytest.raises(NotImplementedError, match="unfold has no quantized kernel"):
        F.unfold(q, 2)


def test_zero_size():
    q = quantize_per_tensor(torch.empty(0, 3), 0.1, 0, qtensor.quint8)
    assert F.relu(q).reshape(3, 0).dequantize().shape == (3, 0)
