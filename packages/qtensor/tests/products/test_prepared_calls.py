"""What is checked and packed once is checked and packed again after every change."""

import copy
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from qtensor import _packing, quantize_per_tensor, quint8
from qtensor._ops.conv import conv2d
from qtensor._ops.linear import linear, linear_reference
from qtensor._ops.linear_dynamic import linear_dynamic, linear_dynamic_reference
from qtensor._packing import PackedWeights
from qtensor.nn.quantized import Linear
from qtensor.nn.quantized import dynamic as nnqd

OUTPUT = (0.05, 60, 0, 255, torch.uint8)


def image(batch=2):
    return torch.randint(0, 256, (batch, 8, 5, 5)).to(torch.uint8)


def rows(batch=3):
    return torch.randint(0, 256, (batch, 24)).to(torch.uint8)


def parameters(*shape):
    """A weight, its scales and zero points, and a bias."""
    weight = torch.randint(-128, 128, shape).to(torch.int8)
    channels = shape[0]
    return [weight, torch.rand(channels) / 99, torch.arange(channels) - 9, torch.randn(channels)]


class Case:
    """An operator, its reference, and what its arguments are besides input and parameters."""

    def __init__(self, operator, reference, input, shape, before, after):
        self.operator, self.reference = operator, reference
        self.input, self.shape, self.before, self.after = input, shape, before, after

    def arguments(self, input, tensors):
        return (input, *self.before, *tensors, *self.after)

    def check(self, input, tensors, cache):
        arguments = self.arguments(input, tensors)
        result = self.operator(*arguments, cache=cache)
        assert torch.equal(result, self.reference(*arguments))


GEOMETRY = ([1, 1], [1, 1], [1, 1], 1, "zeros")
CASES = {
    "linear": Case(linear, linear_reference, rows, (20, 24), (0.02, 7), OUTPUT),
    "dynamic": Case(
        linear_dynamic, linear_dynamic_reference, lambda n=3: torch.randn(n, 24), (20, 24), (), ()
    ),
    "conv2d": Case(conv2d, conv2d.reference, image, (20, 8, 3, 3), (0.02, 7), (*GEOMETRY, *OUTPUT)),
}
caches = pytest.mark.parametrize("cache", [PackedWeights, lambda: None], ids=["own", "shared"])
each = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def prepared_once(monkeypatch):
    """Counts how often calls are prepared."""
    count = []
    original = _packing.Arguments
    monkeypatch.setattr(_packing, "Arguments", lambda *args: (count.append(1), original(*args))[1])
    return count


@each
@caches
def test_a_second_call_is_not_prepared_again(case, cache, monkeypatch):
    tensors, cache, count = parameters(*case.shape), cache(), prepared_once(monkeypatch)
    for batch in (1, 3, 1, 0):
        case.check(case.input(batch), tensors, cache)
    assert len(count) == 1


@each
@caches
@pytest.mark.parametrize("which", range(4), ids=["weight", "scales", "zero_points", "bias"])
@pytest.mark.parametrize("inference", [False, True])
def test_changed_tensors(case, cache, which, inference):
    with torch.inference_mode(inference):
        tensors, cache, input = parameters(*case.shape), cache(), case.input()
        case.check(input, tensors, cache)
        tensors[which].mul_(2)  # in place
        case.check(input, tensors, cache)
        tensors[which][1] = 3  # one element
        case.check(input, tensors, cache)
        tensors[which].data = tensors[which].clone() + 1  # another memory
        case.check(input, tensors, cache)
        tensors[which] = tensors[which].flip(0)  # another tensor
        case.check(input, tensors, cache)
        if which >= 2:
            tensors[which] = None
            case.check(input, tensors, cache)


@each
def test_tensors_that_no_longer_fit_are_refused(case):
    tensors, cache, input = parameters(*case.shape), PackedWeights(), case.input()
    case.check(input, tensors, cache)
    for which, bad in ((1, torch.rand(21)), (2, torch.zeros(19).long()), (3, torch.rand(20, 1))):
        changed = [*tensors]
        changed[which] = bad
        with pytest.raises(ValueError, match="of shape"):
            case.operator(*case.arguments(input, changed), cache=cache)
    case.check(input, tensors, cache)
    tensors[3].resize_(10)
    with pytest.raises(ValueError, match="bias of shape"):
        case.operator(*case.arguments(input, tensors), cache=cache)
    tensors[3] = torch.rand(20, device="meta")
    with pytest.raises(ValueError, match=r"one device.* bias of torch.float32 on meta"):
        case.operator(*case.arguments(input, tensors), cache=cache)


@each
def test_inputs_are_checked_in_every_call(case):
    tensors, cache, input = parameters(*case.shape), PackedWeights(), case.input()
    case.check(input, tensors, cache)
    for bad in (input.double(), input[:, :7], input.flatten()[0], input.to("meta")):
        with pytest.raises((TypeError, ValueError), match="expected"):
            case.operator(*case.arguments(bad, tensors), cache=cache)


@pytest.mark.parametrize("name", ["linear", "conv2d"])
def test_other_arguments_are_compared(name):
    case, cache = CASES[name], PackedWeights()
    tensors, input = parameters(*case.shape), case.input()
    first = case.arguments(input, tensors)
    case.operator(*first, cache=cache)
    signed = (0.05, -3, -128, 127, torch.int8)
    for before, after in (
        ((0.03, 7), OUTPUT),
        ((0.02, 8), OUTPUT),
        ((0.02, 7), (0.04, *OUTPUT[1:])),
        ((0.02, 7), (*OUTPUT[:3], 127, torch.uint8)),
        ((0.02, 7), signed),
        ((0.02, 7), (*OUTPUT, 0.0)),
        ((0.02, 7), (*OUTPUT, 0.0, 1.0)),
        ((0.02, 7), (*OUTPUT, None, None, None, 1.0, 0, "gelu")),
    ):
        geometry = case.after[: -len(OUTPUT)]
        changed = Case(case.operator, case.reference, None, None, before, (*geometry, *after))
        changed.check(input, tensors, cache)
        changed.check(input, tensors, cache)
    with pytest.raises(ValueError, match="input_zero_point"):
        case.operator(input, 0.02, 256, *tensors, *case.after, cache=cache)
    shifted = (input.int() - 128).to(torch.int8)  # needs a call of its own
    for x in (input, shifted, input):
        case.check(x, tensors, cache)


def test_a_list_that_was_written_to():
    case, cache, stride = CASES["conv2d"], PackedWeights(), [1, 1]
    tensors, input = parameters(*case.shape), case.input()
    for step in (1, 2):
        stride[:] = [step, step]
        after = (stride, *GEOMETRY[1:], *OUTPUT)
        Case(conv2d, conv2d.reference, None, None, case.before, after).check(input, tensors, cache)


def test_residuals_are_checked_in_every_call():
    tensors, cache, input = parameters(20, 24), PackedWeights(), rows()
    head = (input, 0.02, 7, *tensors, *OUTPUT, None, None)
    for _ in range(3):
        residual = torch.randint(0, 256, (3, 20)).to(torch.uint8)
        args = (*head, residual, 0.1, 5)
        assert torch.equal(linear(*args, cache=cache), linear_reference(*args))
    strided = torch.randint(0, 256, (20, 3)).to(torch.uint8).t()
    args = (*head, strided, 0.1, 5)
    assert torch.equal(linear(*args, cache=cache), linear_reference(*args))
    for bad in (residual[:2], residual.to(torch.int8), residual[0]):
        with pytest.raises(ValueError, match="residual like the output"):
            linear(*head, bad, 0.1, 5, cache=cache)


@each
def test_nothing_is_kept_alive(case):
    tensors, cache = parameters(*case.shape), PackedWeights()
    input = case.input()
    case.check(input, tensors, cache)
    gone = [weakref.ref(input), weakref.ref(tensors[0])]
    del input, tensors
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


@each
def test_threads_share_a_prepared_call(case):
    tensors, cache = parameters(*case.shape), PackedWeights()
    inputs = [case.input(i % 5 + 1) for i in range(64)]
    with ThreadPoolExecutor(8) as pool:
        results = list(
            pool.map(lambda x: case.operator(*case.arguments(x, tensors), cache=cache), inputs)
        )
    for input, result in zip(inputs, results, strict=True):
        assert torch.equal(result, case.reference(*case.arguments(input, tensors)))


# ---- modules


def layers():
    static, dynamic = Linear(24, 20), nnqd.Linear(24, 20)
    for layer in (static, dynamic):
        layer.qweight.copy_(torch.randint(-128, 128, (20, 24)))
        layer.weight_scales.fill_(0.01)
    return static, dynamic


def run(layer, seed=0):
    x = torch.randn(3, 24, generator=torch.Generator().manual_seed(seed))
    if type(layer) is nnqd.Linear:
        return layer(x)
    return layer(quantize_per_tensor(x, 0.02, 100, quint8)).int_repr()


def fresh(layer):
    """The result of a copy that has nothing prepared."""
    return run(copy.deepcopy(layer))


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("layer", [0, 1])
def test_load_state_dict(layer, inference):
    with torch.inference_mode(inference):
        layer, other = layers()[layer], layers()[layer]
        other.float_bias.normal_()
        other.weight_scales.uniform_(0.001, 0.01)
        before = run(layer)
        layer.load_state_dict(other.state_dict())
        assert torch.equal(run(layer), run(other))
        assert not torch.equal(run(layer), before)
        layer.load_state_dict(layers()[0 if type(layer) is Linear else 1].state_dict(), assign=True)
        assert torch.equal(run(layer), fresh(layer))


@pytest.mark.parametrize("layer", [0, 1])
def test_copies_are_independent(layer):
    layer = layers()[layer]
    before = run(layer)
    twin = copy.deepcopy(layer)
    assert torch.equal(run(twin), before)
    twin.qweight.zero_()
    twin.float_bias = torch.ones(20)
    assert torch.equal(run(layer), before)
    assert torch.equal(run(twin), fresh(twin))


@pytest.mark.parametrize("layer", [0, 1])
def test_functional_call(layer):
    layer = layers()[layer]
    before = run(layer)
    x = torch.randn(3, 24, generator=torch.Generator().manual_seed(0))
    if type(layer) is Linear:
        x = quantize_per_tensor(x, 0.02, 100, quint8)
    changes = {"qweight": -layer.qweight, "float_bias": torch.ones(20)}
    result = torch.func.functional_call(layer, changes, (x,))
    changed = copy.deepcopy(layer)
    changed.qweight, changed.float_bias = changes["qweight"], changes["float_bias"]
    expected = run(changed)
    assert torch.equal(result.int_repr() if type(layer) is Linear else result, expected)
    assert torch.equal(run(layer), before)


def test_replaced_parameters_of_a_module():
    layer = layers()[0]
    run(layer)
    for name, value in (
        ("float_bias", torch.randn(20)),
        ("weight_scales", torch.rand(1) / 50),
        ("weight_zero_points", torch.arange(20)),
        ("scale", 0.7),
        ("zero_point", 12),
        ("activation_min", 0.0),
        ("float_bias", None),
    ):
        setattr(layer, name, value)
        assert torch.equal(run(layer), fresh(layer)), name


def test_another_device():
    layer = layers()[1]
    before = run(layer)
    assert layer.to("meta")(torch.randn(3, 24, device="meta")).device.type == "meta"
    with pytest.raises((ValueError, RuntimeError), match=r"on cpu|device"):
        layer(torch.randn(3, 24))
    assert before.shape == (3, 20)


def test_modules_made_in_inference_mode_count_changes():
    with torch.inference_mode():
        for layer in layers():
            source = layers()[type(layer) is nnqd.Linear]
            layer.set_weight_bias(source.weight(), torch.randn(20))
            layer.load_state_dict(
                {k: v.clone() for k, v in layer.state_dict().items()}, assign=True
            )
            layer.to(torch.float64).float()
            assert not any(buffer.is_inference() for buffer in layer.buffers())
            run(layer)
            layer.qweight.mul_(2)
            layer.float_bias.add_(1)
            assert torch.equal(run(layer), fresh(layer))
