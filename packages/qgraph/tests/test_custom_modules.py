"""Custom modules, standalone modules, and models that cannot be traced as a whole."""

from typing import Any, Self

import pytest
import torch
from torch import Tensor, nn

from qgraph import (
    BackendConfig,
    ConvertCustomConfig,
    Decision,
    PrepareCustomConfig,
    QuantType,
    UntraceableError,
    convert,
    plan_of,
    prepare,
)
from qobserve import QConfig, QConfigMapping, default_dynamic_qconfig
from qtensor import QTensor
from qtensor.nn import quantized as nnq


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class ObservedCustom(nn.Module):
    qconfig: Any

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)

    @classmethod
    def from_float(cls, module: Any) -> Self:
        observed = cls(module.linear)
        observed.qconfig = module.qconfig
        return observed


class QuantizedCustom(nn.Module):
    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: QTensor) -> QTensor:
        assert isinstance(x, QTensor)
        result: QTensor = self.linear(x)
        return result

    @classmethod
    def from_observed(cls, observed: Any) -> Self:
        observed.linear.qconfig = observed.qconfig
        observed.linear.activation_post_process = observed.activation_post_process
        return cls(nnq.Linear.from_float(observed.linear))


class DynamicCustom(nn.Module):
    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.linear(x)
        return result

    @classmethod
    def from_observed(cls, module: Any) -> Self:
        module.linear.qconfig = module.qconfig
        return cls(nnq.dynamic.Linear.from_float(module.linear))


X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("to_reference", [False, True])
def test_static_custom_modules(
    backend: BackendConfig, qconfig: QConfig, to_reference: bool
) -> None:
    model = nn.Sequential(nn.Linear(4, 4), Custom(), nn.Linear(4, 4)).eval()
    custom = PrepareCustomConfig().set_float_to_observed_mapping(Custom, ObservedCustom)
    observed = prepare(model, QConfigMapping().set_global(qconfig), (X,), custom, backend)
    assert type(observed.get_submodule("1")) is ObservedCustom
    observed(X)
    mapping = ConvertCustomConfig().set_observed_to_quantized_mapping(
        ObservedCustom, QuantizedCustom
    )
    quantized = convert(observed, mapping, to_reference=to_reference)
    assert type(quantized.get_submodule("1")) is QuantizedCustom
    assert (quantized(X) - model(X)).norm() < 0.1 * model(X).norm()


class Pair(Custom):
    def forward(self, x: Tensor) -> Any:
        y = self.linear(x)
        return y, (y, y)


class ObservedPair(ObservedCustom):
    observes_itself = True
    activation_post_process: Any

    def forward(self, x: Tensor) -> Any:
        y = self.activation_post_process(self.linear(x))
        return y, (y, y)

    @classmethod
    def from_float(cls, module: Any) -> Self:
        observed = super().from_float(module)
        observed.activation_post_process = module.qconfig.activation()
        return observed


class QuantizedPair(QuantizedCustom):
    def forward(self, x: QTensor) -> Any:
        y = super().forward(x)
        return y, (y, y)


class ReadsPairs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pair, self.last = Pair(), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        y, rest = self.pair(x)
        return self.last(y), rest


def test_custom_modules_that_observe_themselves(backend: BackendConfig, qconfig: QConfig) -> None:
    """They may return structures, whose parts are read quantized where that is possible."""
    model = ReadsPairs().eval()
    custom = PrepareCustomConfig().set_float_to_observed_mapping(Pair, ObservedPair)
    observed = prepare(model, QConfigMapping().set_global(qconfig), (X,), custom, backend)
    observed(X)
    mapping = ConvertCustomConfig().set_observed_to_quantized_mapping(ObservedPair, QuantizedPair)
    quantized = convert(observed, mapping)
    (y, (first, second)), (expected, (part, _)) = quantized(X), model(X)
    assert torch.equal(first, second) and type(first) is Tensor
    assert (y - expected).norm() < 0.1 * expected.norm()
    assert (first - part).norm() < 0.1 * part.norm()
    quantizers = [m for m in quantized.modules() if isinstance(m, nnq.Quantize)]
    assert len(quantizers) == 1  # of the model's input


def test_custom_modules_without_a_qconfig_stay(backend: BackendConfig) -> None:
    custom = PrepareCustomConfig().set_float_to_observed_mapping(Custom, ObservedCustom)
    observed = prepare(nn.Sequential(Custom()).eval(), QConfigMapping(), (X,), custom, backend)
    assert type(observed.get_submodule("0")) is Custom


def test_dynamic_custom_modules(backend: BackendConfig) -> None:
    model = nn.Sequential(Custom()).eval()
    custom = PrepareCustomConfig().set_non_traceable_module_classes([Custom])
    mapping = QConfigMapping().set_global(default_dynamic_qconfig)
    observed = prepare(model, mapping, (X,), custom, backend)
    convert_config = ConvertCustomConfig().set_observed_to_quantized_mapping(
        Custom, DynamicCustom, QuantType.DYNAMIC
    )
    quantized = convert(observed, convert_config)
    assert type(quantized.get_submodule("0")) is DynamicCustom
    assert (quantized(X) - model(X)).norm() < 0.1 * model(X).norm()


@pytest.mark.parametrize("by_name", [True, False])
@pytest.mark.parametrize("interface", [[], [0]])
def test_standalone_modules(
    backend: BackendConfig, qconfig: QConfig, by_name: bool, interface: list[int]
) -> None:
    model = nn.Sequential(nn.Linear(4, 4), Custom(), nn.Linear(4, 4)).eval()
    child = PrepareCustomConfig()
    child.set_input_quantized_indexes(interface).set_output_quantized_indexes(interface)
    custom = PrepareCustomConfig()
    if by_name:
        custom.set_standalone_module_name("1", None, (X,), child, None)
    else:
        custom.set_standalone_module_class(Custom, None, (X,), child, None)
    observed = prepare(model, QConfigMapping().set_global(qconfig), (X,), custom, backend)
    observed(X)
    quantized = convert(observed)
    assert type(quantized.get_submodule("1.linear")) is nnq.Linear
    assert (quantized(X) - model(X)).norm() < 0.1 * model(X).norm()
    quantizers = [m for m in quantized.modules() if isinstance(m, nnq.Quantize)]
    assert len(quantizers) == (1 if interface else 3)
    assert plan_of(quantized).children["1"].counts()[Decision.STATIC] == 1


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.head = nn.Linear(4, 4)
        self.more = nn.ModuleList([nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        if x.sum() > 0:
            x = self.head(x)
        for layer in self.more:
            x = layer(x)
        return x


def test_parts_of_an_untraceable_model_are_prepared_separately(
    backend: BackendConfig, qconfig: QConfig
) -> None:
    model = Branches().eval()
    mapping = QConfigMapping().set_global(qconfig).set_module_name("more.0", None)
    observed = prepare(model, mapping, (X,), backend_config=backend)
    observed(X)
    plan = plan_of(observed)
    assert set(plan.children) == {"body", "head", "more.2"}
    assert plan.untraceable[0].module == ""
    assert "test_custom_modules.py" in plan.untraceable[0].location
    quantized = convert(observed)
    assert type(model.head) is nn.Linear
    assert type(quantized.get_submodule("head.head")) is nnq.Linear
    assert (quantized(X) - model(X)).norm() < 0.1 * model(X).norm()
    with pytest.raises(UntraceableError, match=r"test_custom_modules\.py"):
        prepare(model, mapping, (X,), backend_config=backend, strict=True)


def test_example_inputs_that_do_not_run_are_told(backend: BackendConfig, qconfig: QConfig) -> None:
    mapping = QConfigMapping().set_global(qconfig)
    observed = prepare(Branches().eval(), mapping, (X[:, :3],), backend_config=backend)
    assert "the example inputs do not run (RuntimeError" in plan_of(observed).notes[0]
    assert set(plan_of(observed).children) == {"body", "head", "more.0", "more.2"}


def test_strict_also_refuses_untraceable_parts(backend: BackendConfig, qconfig: QConfig) -> None:
    model = nn.Sequential(nn.Linear(4, 4), Branches()).eval()
    mapping = QConfigMapping().set_global(qconfig)
    observed = prepare(model, mapping, (X,), backend_config=backend)
    (record,) = plan_of(observed).untraceable
    assert record.module == "1"
    observed(X)
    assert (convert(observed)(X) - model(X)).norm() < 0.1 * model(X).norm()
    with pytest.raises(UntraceableError, match=r"1 \(Branches\)"):
        prepare(model, mapping, (X,), backend_config=backend, strict=True)
