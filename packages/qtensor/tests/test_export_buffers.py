"""Export of modules whose buffers and parameters are quantized tensors."""

import io

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import qtensor
from qtensor import ops
from qtensor.nn.quantized import functional

# By torch, about its own parts.
pytestmark = pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.:FutureWarning")

SHAPE = (2, 4, 6, 6)


@pytest.fixture(autouse=True)
def no_fallback():
    torch._dynamo.reset()
    with qtensor.fallback("error"):
        yield


def per_tensor(dtype, scale, zero_point, shape=SHAPE):
    return qtensor.quantize_per_tensor(torch.randn(shape), scale, zero_point, dtype)


def per_channel(dtype, scale, zero_point, shape=SHAPE):
    channels = torch.arange(shape[0])
    scales, zeros = scale * (1 + channels / 10), (zero_point + channels).long()
    return qtensor.quantize_per_channel(torch.randn(shape), scales, zeros, 0, dtype)


def pixels(x):
    return qtensor.quantize_per_tensor(x, 0.03, 100, qtensor.quint8)


def moved(q, x):
    """What any quantized tensor can do."""
    return (
        q.reshape(q.shape[0], -1),
        q.permute(0, 2, 3, 1).contiguous(),
        q[:, 1:3],
        q.split(2, 1)[1].clone(),
        torch.cat([q, q], 1),
        ops.requantize(q, qtensor.QParams(0.05, 9, qtensor.quint8)),
        q.dequantize() + x,
    )


def computed(q, x):
    """What a tensor of bytes, quantized per tensor, can do."""
    return (
        torch.relu(q),
        F.hardswish(q),
        ops.add(qtensor.quantize_per_tensor(x, 0.02, 100, q.qdtype), q, 0.05, 90),
        ops.mul(q, qtensor.quantize_per_tensor(x, 0.02, 100, q.qdtype), 0.05, 90),
        ops.cat([qtensor.quantize_per_tensor(x, 0.02, 100, q.qdtype), q], 1, 0.05, 90),
        F.max_pool2d(q, 2),
        F.adaptive_avg_pool2d(q, 1),
        q.mean((2, 3)),
        F.interpolate(q, scale_factor=2),
        F.pad(q, (1, 1)),
        q == 1,
        q.flatten().topk(3)[0],
    )


class Holder(nn.Module):
    """Uses a quantized tensor that is its buffer or parameter."""

    def __init__(self, use, held, parameter=False):
        super().__init__()
        self.use = use
        if parameter:
            self.held = nn.Parameter(held, requires_grad=False)
        else:
            self.register_buffer("held", held)

    def forward(self, x):
        results = self.use(self.held, x)
        return [q.dequantize() if isinstance(q, qtensor.QTensor) else q for q in results]


def check_export(model, x, strict, **options):
    """The program, saved or not, decomposed or not, gives what the module gives."""
    expected = model(x)
    program = torch.export.export(model, (x,), strict=strict, **options)
    for made in (program, program.run_decompositions()):
        file = io.BytesIO()
        torch.export.save(made, file)
        file.seek(0)
        for runs in (made, torch.export.load(file)):
            results = runs.module()(x)
            assert len(results) == len(expected)
            assert all(map(torch.equal, results, expected))
    return program


KINDS = {
    "quint8": lambda: per_tensor(qtensor.quint8, 0.02, 100),
    "qint8": lambda: per_tensor(qtensor.qint8, 0.02, 3),
    "qint32": lambda: per_tensor(qtensor.qint32, 0.001, 0),
    "quint4x2": lambda: per_tensor(qtensor.quint4x2, 0.2, 7),
    "qint8 per channel": lambda: per_channel(qtensor.qint8, 0.02, 3),
    "quint4x2 per channel": lambda: per_channel(qtensor.quint4x2, 0.2, 7),
}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kind", KINDS.keys() - {"quint4x2", "quint8"})
def test_values_that_move(kind, strict):
    check_export(Holder(moved, KINDS[kind]()), torch.randn(SHAPE), strict)


def channels_left(q, x):
    """Other channels, or in another order: each keeps its scale."""
    parts = [q[:1], q[1:2], *q.chunk(2), q.flip(0), q[[1, 0]], q.roll(1, 0), torch.cat([q, q])]
    return [part.clone().int_repr() for part in parts] + [part.dequantize() + x for part in parts]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kind", ["qint8 per channel", "quint4x2 per channel"])
def test_channels_that_are_left(kind, strict):
    check_export(Holder(channels_left, KINDS[kind]()), torch.randn(1), strict)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kind", ["quint8", "qint8 per channel", "quint4x2"])
def test_parameters(kind, strict):
    model = Holder(lambda q, x: moved(q, x)[:2], KINDS[kind](), parameter=True)
    check_export(model, torch.randn(SHAPE), strict)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("kind", ["quint8", "qint8"])
def test_computing(kind, strict):
    check_export(Holder(computed, KINDS[kind]()), torch.randn(SHAPE), strict)


@pytest.mark.parametrize("parameter", [False, True])
@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("make", [per_tensor, per_channel])
def test_weights(make, strict, parameter):
    bias = torch.randn(5)

    def use(q, x):
        weight = q[:, :4, :3, :3]
        return (
            functional.conv2d(pixels(x), weight, bias, padding=1, scale=0.05, zero_point=90),
            functional.linear(pixels(x), weight[:, 0].reshape(5, -1)[:, :6], bias, 0.05, 90),
        )

    weights = make(qtensor.qint8, 0.02, 0, (5, *SHAPE[1:]))
    if make is per_channel:  # weights are symmetric
        weights = weights.dequantize()
        scales, zeros = torch.linspace(0.01, 0.02, 5), torch.zeros(5, dtype=torch.int64)
        weights = qtensor.quantize_per_channel(weights, scales, zeros, 0, qtensor.qint8)
    check_export(Holder(use, weights, parameter), torch.randn(SHAPE), strict)


class Adds(nn.Module):
    """Adds tensors that it holds in several ways."""

    def __init__(self):
        super().__init__()
        self.register_buffer("q", KINDS["quint8"]())
        self.register_buffer("same", self.q)
        self.register_buffer("unsaved", KINDS["quint8"](), persistent=False)
        self.attribute = KINDS["quint8"]()

    def forward(self, x):
        q = ops.add(self.q, self.same, 0.05, 90)
        q = ops.add(q, self.unsaved, 0.05, 90)
        return (ops.add(q, self.attribute, 0.05, 90).dequantize() + x,)


@pytest.mark.parametrize("strict", [False, True])
def test_tensors_held_in_several_ways(strict):
    check_export(Adds(), torch.randn(SHAPE), strict)


class Joins(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("q", KINDS["quint8"]())

    def forward(self, x):
        return (ops.cat([pixels(x), self.q], 0, 0.05, 90).dequantize(),)


@pytest.mark.parametrize("strict", [False, True])
def test_other_batches(strict):
    batch = torch.export.Dim("batch", min=2, max=64)
    model = Joins()
    program = check_export(model, torch.randn(SHAPE), strict, dynamic_shapes=({0: batch},))
    other = torch.randn(5, *SHAPE[1:])
    assert torch.equal(program.module()(other)[0], model(other)[0])


class Counts(nn.Module):
    """Writes into its buffer each time."""

    def __init__(self):
        super().__init__()
        self.register_buffer(
            "q", qtensor.quantize_per_tensor(torch.zeros(3), 0.1, 0, qtensor.quint8)
        )

    def forward(self, x):
        self.q.add_(0.3)
        self.q[0] = x[0]
        return self.q.dequantize()


@pytest.mark.parametrize("decomposed", [False, True])
@pytest.mark.parametrize("strict", [False, True])
def test_writing(strict, decomposed):
    model, x = Counts(), torch.tensor([2.0])
    program = torch.export.export(Counts(), (x,), strict=strict)
    runs = (program.run_decompositions() if decomposed else program).module()
    for _ in range(3):
        assert torch.equal(runs(x), model(x))


class Takes(nn.Module):
    def forward(self, a, b):
        return ops.add(a, b, 0.05, 90).dequantize(), torch.relu(b).reshape(-1).dequantize()


def test_quantized_arguments():
    """Not with ``strict``, nor decomposed: of a tensor subclass whose inner tensors are read, as of
    torch's own ``TwoTensor``, torch 2.13 then loses an argument."""
    batch = {0: torch.export.Dim.AUTO}
    given = KINDS["quint8"](), KINDS["quint8"]()
    program = torch.export.export(Takes(), given, strict=False, dynamic_shapes=(batch, batch))
    for rows in (2, 5):
        others = [per_tensor(qtensor.quint8, 0.02, 100, (rows, *SHAPE[1:])) for _ in given]
        assert all(map(torch.equal, program.module()(*others), Takes()(*others)))
