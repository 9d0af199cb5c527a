"""Fusing: which sequences become one module, and that the numbers stay."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule

from qgraph import BackendConfig, Rows, fuse
from qgraph.passes.fuse import fuse as fuse_pass
from qgraph.passes.trace import trace
from qobserve import QConfig, default_dynamic_qconfig
from qtensor.nn import intrinsic as nni
from qtensor.nn.quantized import FloatFunctional


def fused(model: nn.Module, backend: BackendConfig, *inputs: Tensor) -> GraphModule:
    """``model`` after fusing, which must not change what it computes."""
    expected = model(*inputs)
    result = fuse(model, None, backend, inputs)
    torch.testing.assert_close(result(*inputs), expected, rtol=1e-4, atol=1e-5)
    return result


def kinds(model: GraphModule) -> list[str]:
    return [
        type(model.get_submodule(str(n.target))).__name__
        if n.op == "call_module"
        else str(getattr(n.target, "__name__", n.target))
        for n in model.graph.nodes
        if n.op.startswith("call_")
    ]


class Calls(nn.Module):
    """A model of two convolutions whose forward is given."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.conv, self.other = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.relu = nn.ReLU()
        self.bn = nn.BatchNorm2d(3)
        self.bn.running_mean.normal_()
        self.function = forward

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


X = torch.randn(2, 3, 4, 4)


@pytest.mark.parametrize(
    ("forward", "expected"),
    [
        (lambda m, x: m.bn(m.conv(x)), ["Conv2d"]),
        (lambda m, x: F.relu(m.conv(x) + x), ["ConvAddReLU2d"]),
        (lambda m, x: m.relu(x + m.conv(x)), ["ConvAddReLU2d"]),
        (lambda m, x: torch.add(m.conv(x), x).relu(), ["ConvAddReLU2d"]),
        (lambda m, x: m.conv(x).add(x), ["ConvAdd2d"]),
        # The first convolution takes the addition, the other becomes its second input.
        (lambda m, x: m.conv(x) + m.other(x), ["Conv2d", "ConvAdd2d"]),
        (lambda m, x: torch.relu(x + x), ["float_add_relu"]),
        # Read twice, in one place or in two: the convolution's own value is needed.
        (lambda m, x: (lambda y: y + y)(m.conv(x)), ["Conv2d", "add"]),
        (lambda m, x: (lambda y: (y + x, y))(m.conv(x)), ["Conv2d", "add"]),
        # Not an addition of two tensors of one shape.
        (lambda m, x: m.conv(x) + 1, ["Conv2d", "add"]),
        (lambda m, x: m.conv(x) + x[:1], ["getitem", "Conv2d", "add"]),
        (lambda m, x: torch.add(m.conv(x), x, alpha=2), ["Conv2d", "add"]),
    ],
)
def test_which_sequences_fuse(backend: BackendConfig, forward: Any, expected: list[str]) -> None:
    assert sorted(kinds(fused(Calls(forward).eval(), backend, X))) == sorted(expected)


def test_in_place_forms_fuse_as_well(backend: BackendConfig) -> None:
    def forward(m: Calls, x: Tensor) -> Tensor:
        y = m.conv(x)
        y += x
        return F.relu(y, inplace=True)

    assert kinds(fused(Calls(forward).eval(), backend, X)) == ["ConvAddReLU2d"]


def test_identities_are_not_in_the_way(backend: BackendConfig) -> None:
    functional, path = FloatFunctional(), nn.Identity()

    def forward(m: Calls, x: Tensor) -> Tensor:
        return F.relu(functional.add(path(m.conv(x)), x))

    model = Calls(forward).eval()
    model.functional, model.path = functional, path
    assert kinds(fused(model, backend, X)) == ["ConvAddReLU2d"]


def test_an_identity_with_a_hook_stays(backend: BackendConfig) -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Identity(), nn.ReLU()).eval()
    model[1].register_forward_hook(lambda module, args, output: output * 2)
    assert kinds(fused(model, backend, X)) == ["Conv2d", "Identity", "ReLU"]


def test_a_module_called_twice_keeps_its_other_call(backend: BackendConfig) -> None:
    def forward(m: Calls, x: Tensor) -> Tensor:
        return m.bn(m.conv(x)) * m.conv(x)

    model = Calls(forward).eval()
    weight = model.conv.weight.detach().clone()
    assert kinds(fused(model, backend, X)) == ["Conv2d", "Conv2d", "mul"]
    assert torch.equal(model.conv.weight, weight)


def test_functions_with_parameters_become_modules(backend: BackendConfig) -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 4))
            self.bias = nn.Parameter(torch.randn(3))

        def forward(self, x: Tensor) -> Tensor:
            computed = F.linear(x, self.weight * 2, self.bias)
            return F.relu(F.linear(x, self.weight, bias=self.bias)) + computed

    model = fused(Functional(), backend, torch.randn(2, 4))
    assert kinds(model) == ["mul", "linear", "LinearReLU", "add"]
    (linear,) = (m for m in model.modules() if isinstance(m, nn.Linear))
    assert linear.weight is model.weight


def test_fusing_needs_eval_mode(backend: BackendConfig) -> None:
    with pytest.raises(ValueError, match=r"conv \(Conv2d\) in training mode.*model\.eval\(\)"):
        fuse(Calls(lambda m, x: m.bn(m.conv(x))), None, backend)


def test_a_part_that_is_to_stay_float_is_not_fused(
    backend: BackendConfig, qconfig: QConfig
) -> None:
    model = trace(Calls(lambda m, x: m.conv(x) + x).eval(), (X,)).model
    for node in model.graph.nodes:
        node.meta["qconfig"] = qconfig if node.op == "call_module" else None
    assert kinds(fuse_pass(model, Rows(backend))) == ["Conv2d", "add"]


def test_no_fusion_that_would_cost_the_dynamic_form(backend: BackendConfig) -> None:
    # The test backend has a dynamic linear, but no dynamic linear with ReLU.
    model = trace(nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval(), (torch.randn(1, 4),)).model
    for node in model.graph.nodes:
        node.meta["qconfig"] = default_dynamic_qconfig
    assert kinds(fuse_pass(model, Rows(backend))) == ["Linear", "ReLU"]


def test_fused_modules_keep_the_path_and_share_the_tensors(backend: BackendConfig) -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU())).eval()
    result = fused(model, backend, torch.randn(2, 4))
    container = result.get_submodule("0.0")
    assert isinstance(container, nni.LinearReLU)
    assert container[0] is model[0][0]
