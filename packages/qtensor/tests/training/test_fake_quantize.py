"""Fake quantize against NumPy computations in float64, and its gradients against autograd."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import qtensor
from qtensor import _fake_quantize, _isa
from qtensor._ops.fake_quantize import (
    fake_quantize,
    fake_quantize_backward,
    fake_quantize_backward_reference,
    fake_quantize_reference,
)
from qtensor._ops.fake_quantize_learnable import (
    fake_quantize_learnable_backward,
    fake_quantize_learnable_backward_reference,
)

from ..elementwise.common import LAYOUTS, check_operator, generators, layouts, shapes

RANGES = [(0, 255), (-128, 127), (-127, 127), (0, 127), (-8, 7), (0, 3), (-(2**31), 2**31 - 1)]

ZERO_POINTS = ("int64", "int32", "float32")


@contextmanager
def isa(name: str) -> Iterator[None]:
    _fake_quantize.use_isa(name)
    try:
        yield
    finally:
        _fake_quantize.use_isa(_isa.ISA)


def on_every_isa(call: Callable[..., Any], *args: object) -> Any:
    """The result of ``call(*args)``, which every instruction set must give bit for bit."""
    with isa("scalar"):
        expected = call(*args)
    for name in _isa.available():
        with isa(name):
            result = call(*args)
        for one, other in zip(_tensors(result), _tensors(expected), strict=True):
            assert one.stride() == other.stride()
            assert one.numpy().tobytes() == other.numpy().tobytes(), f"{name} differs from scalar"
    return expected


def _tensors(result: Any) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def values_around(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    """Steps within and beyond a range of bytes, many of them ties, some of them special."""
    steps = rng.uniform(-400, 400, shape)
    kind = rng.random(shape)
    steps = np.where(kind < 0.3, np.floor(steps) + 0.5, steps)
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 3.4e38, -3.4e38, 1e-45])
    return torch.tensor(np.where(kind > 0.95, rng.choice(special, shape), steps)).float()


def parameters(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    axis: int | None,
    low: int,
    high: int,
    kind: str,
) -> tuple[Tensor, Tensor]:
    size = 1 if axis is None else shape[axis]
    scale = torch.tensor(np.exp2(rng.uniform(-60, 60, size)), dtype=torch.float32)
    if kind == "float32":
        return scale, torch.tensor(rng.uniform(-300, 300, size), dtype=torch.float32)
    zero_point = rng.integers(low, high, size, endpoint=True)
    return scale, torch.tensor(zero_point, dtype=getattr(torch, kind))


def along(values: Tensor, axis: int | None, ndim: int) -> np.ndarray:
    shape = [1] * ndim
    if axis is not None:
        shape[axis] = -1
    return values.double().numpy().reshape(shape)


def float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return values.astype(np.float32).astype(np.float64)


def expected(x: Tensor, scale: Tensor, zero: Tensor, axis: int | None, low: int, high: int) -> Any:
    """Output, and where the gradient passes. Every float32 operation is exact in float64 before
    it is rounded."""
    s, z = along(scale, axis, x.ndim), along(zero, axis, x.ndim)
    with np.errstate(over="ignore", invalid="ignore"):
        t = float32(x.double().numpy() * float32(1.0 / s))
        real = zero.is_floating_point()
        t = np.rint(float32(t + z) if real else t)
        shift = 0 * z if real else z
        lowest, highest = float32(low - shift), float32(high - shift)
        inside = (t >= lowest) & (t <= highest)
        clamped = np.clip(np.where(np.isnan(t), -np.inf, t), lowest, highest)
        return float32(float32(clamped - (z - shift)) * s), inside


@st.composite
def cases(draw: st.DrawFn, kinds: tuple[str, ...] = ZERO_POINTS, bounds: Any = RANGES) -> Any:
    """Arguments of the operators; per tensor if the axis drawn does not exist."""
    rng, shape, layout = draw(generators), draw(shapes(4)), draw(layouts)
    integers, kind, axis = draw(st.sampled_from(bounds)), draw(st.sampled_from(kinds)), None
    drawn = draw(st.integers(-5, 3))
    if -len(shape) <= drawn < len(shape):
        axis = drawn
    scale, zero = parameters(rng, shape, axis, *integers, kind)
    x = values_around(rng, shape) * torch.tensor(along(scale, axis, len(shape)))
    return layout(x.float()), scale, zero, axis, *integers


@given(cases())
def test_forward(args):
    result = on_every_isa(fake_quantize, *args)
    np.testing.assert_array_equal(result.double().numpy(), expected(*args)[0])
    assert not torch.signbit(result[result == 0]).any()  # integers know no -0


@given(cases())
def test_backward(args):
    grad = torch.randn(args[0].shape)
    result = on_every_isa(fake_quantize_backward, grad, *args)
    np.testing.assert_array_equal(result.numpy(), np.where(expected(*args)[1], grad.numpy(), 0))


@given(cases())
@settings(max_examples=40)
def test_the_plain_torch_path_gives_the_same(args):
    result, reference = fake_quantize(*args), fake_quantize_reference(*args)
    assert torch.equal(result, reference)
    assert result.stride() == reference.stride()
    grad = torch.randn_like(args[0])
    assert torch.equal(
        fake_quantize_backward(grad, *args), fake_quantize_backward_reference(grad, *args)
    )


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("axis", [None, 1, -1])
def test_schemas_and_fake_kernels(layout, axis):
    x = layout(torch.randn(2, 3, 5, 7))
    size = 1 if axis is None else x.shape[axis]
    args = x, torch.rand(size) + 0.01, torch.zeros(size, dtype=torch.int64), axis, 0, 127
    check_operator(fake_quantize, args)
    check_operator(fake_quantize_backward, (torch.randn_like(x), *args))
    for enabled in (torch.tensor([0]), torch.tensor([1])):
        check_operator(fake_quantize, (*args, enabled))


def test_quantizing_and_dequantizing_gives_the_same():
    x = torch.randn(1000) * 3
    quantized = qtensor.quantize_per_tensor(x, 0.02, 100, qtensor.quint8)
    fake = qtensor.fake_quantize_per_tensor_affine(x, 0.02, 100, 0, 255)
    assert torch.equal(fake, quantized.dequantize())


def test_special_values():
    x = torch.tensor([math.nan, -math.inf, math.inf, -3e38, 3e38, -0.0]).requires_grad_()
    y = qtensor.fake_quantize_per_tensor_affine(x, 0.5, 3, 0, 7)
    assert y.tolist() == [-1.5, -1.5, 2.0, -1.5, 2.0, 0.0]
    y.backward(torch.full((6,), math.nan))  # a masked gradient is 0, whatever it was
    assert x.grad[:5].tolist() == [0] * 5


def test_numbers_and_tensors_are_the_same():
    x = torch.randn(100)
    expected = qtensor.fake_quantize_per_tensor_affine(x, 0.1, 3, 0, 15)
    for scale in (torch.tensor(0.1), torch.tensor([0.1])):
        for zero_point in (torch.tensor(3), torch.tensor([3], dtype=torch.int32)):
            result = qtensor.fake_quantize_per_tensor_affine(x, scale, zero_point, 0, 15)
            assert torch.equal(result, expected)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_float_dtypes(dtype):
    x = (torch.randn(3, 50) * 4).to(dtype).requires_grad_()
    scales, zeros = torch.tensor([0.5, 0.25, 0.125]), torch.tensor([0, 1, 2])
    y = qtensor.fake_quantize_per_channel_affine(x, scales, zeros, 0, -8, 7)
    exact = qtensor.fake_quantize_per_channel_affine(x.float(), scales, zeros, 0, -8, 7)
    assert y.dtype is dtype
    assert torch.equal(y.float(), exact)  # steps of powers of two are exact in all of them
    y.sum().backward()
    assert x.grad.dtype is dtype


def formula(x, scale, zero, low, high):
    """The plain formula with straight-through rounding, in float64, for autograd."""
    t = x / scale
    t = t + (t.round() - t).detach() + zero
    return (torch.clamp(t, low, high) - zero) * scale


@pytest.mark.parametrize("axis", [None, 0, 1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_learnable_gradients_are_those_of_the_formula(axis, layout):
    x = (torch.randn(4, 6, 5, 7) * 2).contiguous(memory_format=layout)
    size = 1 if axis is None else x.shape[axis]
    shape = [1] * 4
    if axis is not None:
        shape[axis] = -1
    leaves = [x, torch.rand(size) * 0.1 + 0.05, torch.randint(-5, 6, (size,)).float()]
    ours = [leaf.clone().requires_grad_() for leaf in leaves]
    plain = [leaf.double().requires_grad_() for leaf in leaves]
    grad = torch.randn_like(x)

    if axis is None:
        y = qtensor.fake_quantize_learnable_per_tensor_affine(*ours, -8, 7, 0.25)
    else:
        y = qtensor.fake_quantize_learnable_per_channel_affine(*ours, axis, -8, 7, 0.25)
    exact = formula(plain[0], *(p.reshape(shape) for p in plain[1:]), -8, 7)
    torch.testing.assert_close(y.double(), exact, rtol=1e-6, atol=1e-6)
    y.backward(grad)
    exact.backward(grad.double())
    for mine, other, factor in zip(ours, plain, (1, 0.25, 0.25), strict=True):
        torch.testing.assert_close(mine.grad.double(), factor * other.grad, rtol=1e-5, atol=1e-5)


@given(cases(("float32",), [(-128, 127)]))
def test_learnable_gradients_are_the_same_everywhere(arguments):
    args = torch.randn(arguments[0].shape), *arguments, 0.5
    kernel = on_every_isa(fake_quantize_learnable_backward, *args)
    reference = fake_quantize_learnable_backward_reference(*args)
    assert torch.equal(kernel[0], reference[0])
    assert kernel[0].stride() == reference[0].stride()
    torch.testing.assert_close(kernel[1], reference[1], rtol=1e-5, atol=1e-3)
    scale = arguments[1]
    torch.testing.assert_close(kernel[2] / scale, reference[2] / scale, rtol=1e-5, atol=1e-4)


def test_learnable_zero_points_are_rounded_and_clamped():
    x = torch.tensor([0.0, 100.0])
    learnable = qtensor.fake_quantize_learnable_per_tensor_affine
    for zero_point, rounded in ((-2.7, -3), (2.5, 2), (99.0, 7)):
        result = learnable(x, torch.tensor([1.0]), torch.tensor([zero_point]), -8, 7)
        expected = qtensor.fake_quantize_per_tensor_affine(x, 1.0, rounded, -8, 7)
        assert torch.equal(result, expected)


def test_gradients_of_gradients():
    x = torch.linspace(-2, 2, 9, requires_grad=True)
    y = qtensor.fake_quantize_per_tensor_affine(x, 0.25, 0, -4, 3)
    (first,) = torch.autograd.grad((y**2).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert torch.equal(second, torch.where((x > -1.1) & (x < 0.9), 2.0, 0.0))


def test_parameters_may_change_before_backward():
    scale, zero = torch.tensor([0.5]), torch.tensor([0])
    x = torch.tensor([1.0, 9.0], requires_grad=True)
    y = qtensor.fake_quantize_per_tensor_affine(x, scale, zero, 0, 7)
    scale.fill_(100.0)
    y.sum().backward()
    assert x.grad.tolist() == [1, 0]


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_threads_give_the_same_result(axis):
    x = torch.randn(64, 4000) * 3
    size = 1 if axis is None else x.shape[axis]
    leaves = x, torch.rand(size) * 0.1 + 0.01, torch.randint(0, 100, (size,)).float()

    def run():
        inputs = [leaf.clone().requires_grad_() for leaf in leaves]
        if axis is None:
            y = qtensor.fake_quantize_learnable_per_tensor_affine(*inputs, 0, 127)
        else:
            y = qtensor.fake_quantize_learnable_per_channel_affine(*inputs, axis, 0, 127)
        y.pow(2).sum().backward()
        return y.detach(), *(leaf.grad for leaf in inputs)

    single = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = run()
        for threads in (2, 5):
            torch.set_num_threads(threads)
            for one, other in zip(run(), expected, strict=True):
                assert torch.equal(one, other)
    finally:
        torch.set_num_threads(single)


class _Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.register_buffer("zero", torch.zeros(4, dtype=torch.int32))
        self.register_buffer("scale", torch.tensor([0.1]))
        self.step = torch.nn.Parameter(torch.tensor([0.1]))
        self.offset = torch.nn.Parameter(torch.tensor([1.0]))

    def forward(self, x):
        x = qtensor.fake_quantize_per_tensor_affine(self.linear(x), self.scale, self.zero[:1], 0, 9)
        x = qtensor.fake_quantize_per_tensor_affine(x, 0.2, 0, 0, 9)
        scales = self.scale.expand(4)
        w = qtensor.fake_quantize_per_channel_affine(
            self.linear.weight, scales, self.zero, 0, -128, 127
        )
        return qtensor.fake_quantize_learnable_per_tensor_affine(
            x @ w, self.step, self.offset, 0, 9, 0.5
        )


def test_compiled_training_is_the_same():
    torch.manual_seed(0)
    model, x = _Model(), torch.randn(3, 4)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    gradients = []
    for run in (model, compiled):
        model.zero_grad()
        y = run(x)
        y.sum().backward()
        gradients.append([y.detach(), *(p.grad.clone() for p in model.parameters())])
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("strict", [True, False])
def test_exported(strict):
    model, x = _Model().eval(), torch.randn(3, 4)
    program = torch.export.export(model, (x,), strict=strict)
    assert torch.equal(program.module()(x), model(x))
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert {"qtensor.fake_quantize.default", "qtensor.fake_quantize_learnable.default"} <= names


def test_on_other_devices():
    x = torch.empty(2, 3, device="meta")
    assert qtensor.fake_quantize_per_tensor_affine(x, 0.1, 0, 0, 7).device.type == "meta"


X = torch.zeros(2, 3)
ONES, ZEROS = torch.ones(3), torch.zeros(3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((X.int(), 0.1, 0, 0, 7), TypeError, "floating-point input, got torch.int32"),
        ((X, 0.0, 0, 0, 7), ValueError, "positive, finite scale.*got 0.0"),
        ((X, torch.tensor(math.nan), 0, 0, 7), ValueError, "positive, finite scales .* got"),
        ((X, 0.1, 8, 0, 7), ValueError, "zero_point within 0 … 7, got 8"),
        ((X, torch.tensor(0.1), torch.tensor(-1), 0, 7), ValueError, "zero_points within 0 … 7"),
        ((X, 0.1, torch.tensor(math.nan), 0, 7), ValueError, "finite zero_points, got"),
        ((X, 0.1, 7, 7, 7), ValueError, "quant_min < quant_max"),
        ((X, ONES, 0, 0, 7), ValueError, "scale to have 1 value.* got shape \\(3,\\)"),
    ],
)
def test_bad_input_per_tensor(args, error, message):
    with pytest.raises(error, match=message):
        qtensor.fake_quantize_per_tensor_affine(*args)


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((X, ONES, ZEROS, 2, 0, 7), ValueError, r"an axis of input.*\(2, 3\), got 2"),
        ((X, ONES, ZEROS, 0, 0, 7), ValueError, r"scale to have 2 value.*got shape \(3,\)"),
        ((X, ONES, ZEROS[:2], 1, 0, 7), ValueError, "zero_point to have 3 value"),
        ((X, -ONES, ZEROS, 1, 0, 7), ValueError, "positive, finite scales"),
        ((X, ONES, ZEROS + 9, 1, 0, 7), ValueError, "zero_points within 0 … 7"),
        ((X, ONES, ZEROS.bool(), 1, 0, 7), TypeError, "integer or float zero points"),
    ],
)
def test_bad_input_per_channel(args, error, message):
    with pytest.raises(error, match=message):
        qtensor.fake_quantize_per_channel_affine(*args)


@pytest.mark.parametrize("count", [0, 2])
def test_a_switch_is_one_value(count):
    parameters = torch.tensor(0.1), torch.tensor(0), None, 0, 7
    switch = torch.ones(count, dtype=torch.uint8)
    for device in ("cpu", "meta"):
        x = X.to(device)
        with pytest.raises(ValueError, match="enabled to be one value"):
            torch.ops.qtensor.fake_quantize(x, *parameters, switch.to(device))
        with pytest.raises(ValueError, match="enabled to be one value"):
            torch.ops.qtensor.fake_quantize_backward(x, x, *parameters, switch.to(device))
