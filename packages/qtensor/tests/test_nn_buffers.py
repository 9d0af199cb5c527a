"""Modules whose buffers and parameters are quantized tensors: copying, saving, loading, moving."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

import qtensor
from qtensor import QTensor


def per_tensor(dtype, scale=0.2, zero_point=5):
    return qtensor.quantize_per_tensor(torch.randn(3, 4), scale, zero_point, dtype)


def per_channel(dtype):
    scales, zeros = torch.linspace(0.1, 0.2, 3), torch.arange(3)
    return qtensor.quantize_per_channel(torch.randn(3, 4), scales, zeros, 0, dtype)


TENSORS = {
    "quint8": lambda: per_tensor(qtensor.quint8),
    "quint4x2": lambda: per_tensor(qtensor.quint4x2),
    "qint8 per channel": lambda: per_channel(qtensor.qint8),
    "quint4x2 per channel": lambda: per_channel(qtensor.quint4x2),
}


class Holder(nn.Module):
    def __init__(self, held, parameter):
        super().__init__()
        if parameter:
            self.q = nn.Parameter(held, requires_grad=False)
        else:
            self.register_buffer("q", held)

    def forward(self, x):
        return self.q.dequantize() + x


@pytest.fixture(params=TENSORS)
def make(request):
    return TENSORS[request.param]


@pytest.fixture(params=[False, True], ids=["buffer", "parameter"])
def parameter(request):
    return request.param


@pytest.fixture
def model(make, parameter):
    return Holder(make(), parameter)


def assert_alike(a, b):
    assert type(a) is type(b)
    assert isinstance(a, nn.Parameter) == isinstance(b, nn.Parameter)
    assert a.qparams == b.qparams
    assert torch.equal(a.int_repr(), b.int_repr())


def through_file(value, **options):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, **options)


@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        lambda model: pickle.loads(pickle.dumps(model)),
        lambda model: through_file(model, weights_only=False),
    ],
)
def test_copies(model, copied):
    other = copied(model)
    assert_alike(other.q, model.q)
    assert list(dict(other.named_parameters())) == list(dict(model.named_parameters()))
    assert other.q._stored().data_ptr() != model.q._stored().data_ptr()


def test_a_parameter_is_saved_as_one(make):
    held = nn.Parameter(make(), requires_grad=False)
    assert_alike(through_file(held, weights_only=True), held)


def test_assigning_a_state(model, make, parameter):
    other = Holder(per_tensor(qtensor.quint8, 0.3, 1), parameter)
    other.load_state_dict(through_file(model.state_dict(), weights_only=True), assign=True)
    assert_alike(other.q, model.q)


def test_a_state_is_written_with_the_module_s_own_parameters(parameter):
    model = Holder(per_tensor(qtensor.quint8), parameter)
    other = Holder(per_tensor(qtensor.quint8, 0.3, 1), parameter)
    other.load_state_dict(model.state_dict())
    expected = qtensor.ops.requantize(model.q, other.q.qparams)
    assert torch.equal(other.q.int_repr(), expected.int_repr())


def test_packed_integers_are_assigned_only(parameter):
    model = Holder(per_tensor(qtensor.quint4x2), parameter)
    with pytest.raises(RuntimeError, match="assign=True"):
        model.load_state_dict(model.state_dict())


def test_calling_with_other_tensors(model, make):
    other, x = make(), torch.randn(3, 4)
    result = torch.func.functional_call(model, {"q": other}, (x,))
    assert torch.equal(result, other.dequantize() + x)


@pytest.mark.parametrize(
    "convert",
    [
        lambda model: model.float(),
        lambda model: model.half(),
        lambda model: model.double(),
        lambda model: model.to(torch.bfloat16),
        lambda model: model.to("cpu", torch.float64),
    ],
)
def test_integers_stay_when_a_module_becomes_of_another_float_type(model, convert):
    """As those of legacy quantized tensors do; ``model.float()`` changes nothing."""
    before = copy.deepcopy(model)
    assert not model.q.is_floating_point()
    assert not torch.is_floating_point(model.q)
    assert_alike(convert(model).q, before.q)


def test_moving(model, make):
    moved = copy.deepcopy(model).to("meta")
    assert moved.q.is_meta
    assert moved(torch.randn(3, 4, device="meta")).shape == (3, 4)
    moved.load_state_dict(model.state_dict(), assign=True)
    assert_alike(moved.q, model.q)


def test_memory_for_a_module_of_the_meta_device(model, parameter):
    moved = copy.deepcopy(model).to("meta")
    if model.q.qparams.axis is not None:
        with pytest.raises(ValueError, match=r"has no scales.*assign=True"):
            moved.to_empty(device="cpu")
        return
    empty = moved.to_empty(device="cpu").q
    assert isinstance(empty, QTensor)
    assert isinstance(empty, nn.Parameter) == parameter
    assert (empty.shape, empty.qparams) == (model.q.shape, model.q.qparams)


def test_a_tensor_like_another(make):
    q = make()
    like = torch.empty_like(q)
    assert (like.shape, like.stride(), like.qparams) == (q.shape, q.stride(), q.qparams)
    assert torch.empty_like(q, dtype=torch.float64).dtype == torch.float64
    assert torch.empty_like(q, device="meta").is_meta


def test_a_float_cannot_become_the_data(parameter):
    model = Holder(per_tensor(qtensor.quint8), parameter)
    with pytest.raises(NotImplementedError, match=r"setting \.data cannot write into a QTensor"):
        model.q.data = torch.ones(3, 4)


def test_gradients_are_refused(make):
    with pytest.raises(RuntimeError, match="cannot require gradients"):
        nn.Parameter(make())
