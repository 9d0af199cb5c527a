"""Kernels are called directly only in plain eager execution: each other context, one by one."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import qtensor
from qtensor._direct import direct
from qtensor._ops.linear_dynamic import linear_dynamic

X = torch.linspace(-1, 1, 12).reshape(3, 4)


def quantized(x):
    """A float function of a float tensor with two of our operators in it."""
    return qtensor.quantize_per_tensor(x, 0.01, 128, qtensor.quint8).dequantize()


class Recording(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def test_plain_eager_is_direct():
    assert direct(X, None, torch.nn.Parameter(X, requires_grad=False))
    with torch.no_grad():
        assert direct(torch.nn.Parameter(X))
    with torch.inference_mode():
        assert direct(X.clone())


def test_what_may_not_be_read_directly():
    assert not direct(X.clone().requires_grad_())
    assert not direct(torch.nn.Parameter(X))
    assert not direct(X.to("meta"))
    assert not direct(X.to_sparse())
    assert not direct(X, torch._neg_view(X))
    assert not direct(qtensor.quantize_per_tensor(X, 0.1, 0, qtensor.quint8))
    assert not direct(X.as_subclass(type("Sub", (torch.Tensor,), {})))
    assert not direct(FakeTensorMode().from_tensor(X))


def test_dispatch_mode_sees_every_operator():
    with Recording() as mode:
        assert not direct(X)
        result = quantized(X)
    assert torch.equal(result, quantized(X))
    assert [name for name in mode.seen if name.startswith("qtensor")] == [
        "qtensor.quantize_per_tensor.default",
        "qtensor.dequantize_per_tensor.default",
    ]


@pytest.mark.parametrize("tracing", ["real", "fake", "symbolic", "pre_dispatch"])
def test_make_fx_records_operators(tracing):
    mode = {"pre_dispatch": True} if tracing == "pre_dispatch" else {"tracing_mode": tracing}
    traced = make_fx(quantized, **mode)(X)
    assert {str(node.target) for node in traced.graph.nodes if node.op == "call_function"} == {
        "qtensor.quantize_per_tensor.default",
        "qtensor.dequantize_per_tensor.default",
    }
    other = X.flip(0) * 1.1
    assert torch.equal(traced(other), quantized(other))


def test_fake_tensors_stay_fake():
    with FakeTensorMode() as mode:
        result = quantized(mode.from_tensor(X))
    assert type(result).__name__ == "FakeTensor" and result.shape == X.shape
    outside = quantized(FakeTensorMode().from_tensor(X))
    assert type(outside).__name__ == "FakeTensor"


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_vmap_is_a_loop_over_the_operator():
    assert torch.equal(torch.vmap(quantized)(X), quantized(X))


def test_functionalize_and_functorch_levels():
    assert torch.equal(torch.func.functionalize(quantized)(X), quantized(X))
    levels = []
    torch.func.vjp(lambda x: (levels.append(direct(X)), x)[1], X)
    assert levels == [False]


def test_negative_views_are_resolved():
    negative = torch._neg_view(X)
    assert torch.equal(quantized(negative), quantized(-X))


def test_function_modes_do_not_change_results():
    class Passing(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return func(*args, **(kwargs or {}))

    with Passing():
        assert torch.equal(quantized(X), quantized(X))


def test_gradients_stop_with_a_clear_error():
    x = X.clone().requires_grad_()
    weight = torch.ones(2, 4, dtype=torch.int8)
    result = linear_dynamic(x, weight, torch.ones(2), None, None)
    with pytest.raises(RuntimeError, match=r"linear_dynamic \(of torch.int8\) has no gradient"):
        result.sum().backward()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compile_takes_and_gives_quantized_tensors(backend):
    torch._dynamo.reset()
    q = qtensor.quantize_per_tensor(X, 0.01, 128, qtensor.quint8)

    @torch.compile(backend=backend, fullgraph=True)
    def compiled(q):
        return torch.relu(q).T, q.dequantize()

    relu, real = compiled(q)
    assert torch.equal(relu, torch.relu(q).T) and torch.equal(real, q.dequantize())


def test_other_devices_run_the_reference():
    q = qtensor.quantize_per_tensor(X.to("meta"), 0.01, 128, qtensor.quint8)
    assert q.device.type == "meta" and q.dequantize().device.type == "meta"
