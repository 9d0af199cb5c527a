"""Observing, the reference model and the quantized one: structure, numbers and state."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qtensor
from qgraph import (
    BackendConfig,
    Decision,
    PrepareCustomConfig,
    convert,
    plan_of,
    prepare,
)
from qobserve import (
    MinMaxObserver,
    PlaceholderObserver,
    QConfig,
    QConfigMapping,
    default_dynamic_qconfig,
    float_qparams_weight_only_qconfig,
)
from qtensor import QTensor
from qtensor.nn import quantized as nnq


class Calls(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.conv, self.other = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
        self.relu = nn.ReLU(inplace=True)
        self.linear = nn.Linear(3 * 36, 5)
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


X = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def prepared(model: nn.Module, backend: BackendConfig, qconfig: Any, x: Any = X) -> nn.Module:
    mapping = QConfigMapping().set_global(qconfig)
    result = prepare(model.eval(), mapping, (x,), backend_config=backend)
    result(x)
    return result


def tensors(result: Any) -> list[Tensor]:
    values = result.values() if isinstance(result, dict) else result
    return [result] if isinstance(result, Tensor) else list(values)


MODELS = {
    "conv": lambda m, x: m.conv(x),
    "residual": lambda m, x: F.relu(m.conv(m.other(x)) + x),
    "two convolutions added": lambda m, x: m.relu(m.conv(x) + m.other(x)),
    "in place": lambda m, x: m.relu(m.conv(x)).add_(m.other(x)),
    "added to itself": lambda m, x: (lambda y: y + y)(m.conv(x)),
    "number added": lambda m, x: m.other(m.conv(x) + 0.5),
    "one convolution, two readers": lambda m, x: (lambda y: m.other(y) + torch.relu(y))(m.conv(x)),
    "called twice": lambda m, x: m.conv(F.relu(m.conv(x))) + m.conv(x * 2),
    "shared relu": lambda m, x: m.relu(m.other(m.relu(m.conv(x) + x))),
    "float island": lambda m, x: m.other(torch.sigmoid(m.conv(x))),
    "float reader of a quantized tensor": lambda m, x: (m.other(m.conv(x)), torch.exp(m.conv(x))),
    "float and quantized readers of an input": lambda m, x: m.conv(x) * x,
    "cat": lambda m, x: torch.cat([m.conv(x), m.other(x), x], 1),
    "cat of float first": lambda m, x: torch.cat([torch.sin(x), m.conv(x)], 1),
    "chunk": lambda m, x: (lambda a, b: a + b)(*m.conv(x).chunk(2)[:2]) if False else m.conv(x),
    "dict": lambda m, x: {"a": m.conv(x), "b": [m.other(x), x]}["a"],
    "dictionary of outputs": lambda m, x: {"a": m.conv(x), "b": m.other(x)},
    "tuple of outputs": lambda m, x: (m.conv(x), x, torch.relu(m.conv(x))),
    "no reader": lambda m, x: (m.conv(x), m.other(x))[1],
    "view of channels last": lambda m, x: m.linear(m.conv(x).view(x.size(0), -1)),
    "flatten": lambda m, x: m.linear(torch.flatten(m.conv(x), 1)),
}


@pytest.mark.parametrize("name", MODELS)
def test_numbers(name: str, backend: BackendConfig, qconfig: QConfig) -> None:
    model = Calls(MODELS[name])
    observed = prepared(model, backend, qconfig)
    expected = tensors(model(X.clone()))
    for one, other in zip(tensors(observed(X.clone())), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    with qtensor.fallback("error"):
        reference = tensors(convert(observed, to_reference=True)(X))
        quantized = tensors(convert(observed)(X))
    plan = plan_of(observed)
    step = max(observer_step(observed, n.output) for n in plan.nodes.values())
    for q, r, e in zip(quantized, reference, expected, strict=True):
        assert not isinstance(q, QTensor)
        # One step for each operator on the way that rounds.
        assert (q - r).abs().max() <= 3 * step
        assert (q - e).norm() <= 0.1 * e.norm() + 1e-6


def observer_step(observed: nn.Module, place: int | None) -> float:
    if place is None:
        return 0.0
    observer: Any = observed.get_submodule(f"activation_post_process_{place}")
    return float(observer.calculate_qparams()[0])


def test_one_observer_per_tensor(backend: BackendConfig, qconfig: QConfig) -> None:
    observed = prepared(Calls(lambda m, x: m.conv(x) + m.other(x) + x), backend, qconfig)
    observers = [n for n in observed.graph.nodes if "activation_post_process" in str(n.target)]
    assert len({n.args[0] for n in observers}) == len(observers)
    assert len([n for n in observers if n.args[0].op == "placeholder"]) == 1


def test_observers_are_named_for_messages(backend: BackendConfig, qconfig: QConfig) -> None:
    model = Calls(lambda m, x: m.other(m.conv(x)))
    observed = prepare(
        model.eval(), QConfigMapping().set_global(qconfig), (X,), backend_config=backend
    )
    names = [m.name for m in observed.modules() if isinstance(m, MinMaxObserver)]
    assert names == ["x", "conv", "other"]
    with pytest.warns(UserWarning, match="conv: 1 of .* NaN"):
        model.conv.bias.data.fill_(float("nan"))
        x = X.clone()
        model.conv.bias.data.zero_()
        x[0, 0, 0, 0] = 0
        observed.get_submodule("activation_post_process_1")(torch.tensor([float("nan"), 1.0]))


def test_unseen_observers_warn_once_naming_each(backend: BackendConfig, qconfig: QConfig) -> None:
    mapping = QConfigMapping().set_global(qconfig)
    observed = prepare(
        Calls(lambda m, x: m.other(m.conv(x))).eval(), mapping, (X,), backend_config=backend
    )
    with pytest.warns(UserWarning, match=r"3 observer.*x, conv, other") as caught:
        convert(observed)
    assert len(caught) == 1
    with pytest.raises(ValueError, match="conv"):
        convert(observed, strict=True)


def test_a_state_dict_goes_into_an_uncalibrated_skeleton(
    backend: BackendConfig, qconfig: QConfig
) -> None:
    def function(m: Any, x: Tensor) -> Tensor:
        return m.linear(torch.flatten(torch.relu(m.conv(x) + x) + m.other(x), 1)) * 2

    model = Calls(function)
    calibrated = convert(prepared(model, backend, qconfig))
    mapping = QConfigMapping().set_global(qconfig)
    with pytest.warns(UserWarning, match="seen no data"):
        skeleton = convert(prepare(Calls(function).eval(), mapping, (X,), backend_config=backend))
    assert not torch.equal(skeleton(X), calibrated(X))
    skeleton.load_state_dict(calibrated.state_dict())
    assert torch.equal(skeleton(X), calibrated(X))


def test_prepared_models_can_be_copied_and_converted_more_than_once(
    backend: BackendConfig, qconfig: QConfig
) -> None:
    observed = prepared(Calls(MODELS["residual"]), backend, qconfig)
    twin = copy.deepcopy(observed)
    first, second, third = convert(observed), convert(twin), convert(observed)
    assert torch.equal(first(X), second(X)) and torch.equal(first(X), third(X))
    twin(X * 100)
    assert not torch.equal(convert(twin)(X), convert(observed)(X))
    assert torch.equal(copy.deepcopy(first)(X), first(X))


def test_the_float_model_is_not_changed(backend: BackendConfig, qconfig: QConfig) -> None:
    model = Calls(MODELS["residual"]).eval()
    before, modules = copy.deepcopy(model.state_dict()), dict(model.named_modules())
    convert(prepared(model, backend, qconfig))
    assert dict(model.named_modules()) == modules
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(hasattr(module, "qconfig") for module in model.modules())


def test_convert_wants_a_prepared_model(backend: BackendConfig, qconfig: QConfig) -> None:
    with pytest.raises(ValueError, match="was not prepared"):
        convert(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="converted already"):
        convert(convert(prepared(Calls(MODELS["conv"]), backend, qconfig)))


def test_the_mapping_given_to_convert_leaves_out_what_it_maps_to_none(
    backend: BackendConfig, qconfig: QConfig
) -> None:
    def function(m: Any, x: Tensor) -> Tensor:
        return m.linear(torch.flatten(m.other(m.conv(x)), 1))

    model = Calls(function)
    observed = prepared(model, backend, qconfig)
    mapping = QConfigMapping().set_global(qconfig).set_module_name("other", None)
    mapping.set_object_type(torch.flatten, None)
    quantized = convert(observed, qconfig_mapping=mapping)
    assert type(quantized.other) is nn.Conv2d and type(quantized.conv) is nnq.Conv2d
    assert (quantized(X) - model(X)).norm() < 0.1 * model(X).norm()
    left_out = [n.target for n in plan_of(quantized).operators() if "left out" in n.why]
    assert left_out == ["other", "flatten"]


def test_dynamic_and_weight_only(backend: BackendConfig) -> None:
    model = nn.Sequential(nn.Embedding(10, 8), nn.Linear(8, 4)).eval()
    mapping = QConfigMapping().set_global(default_dynamic_qconfig)
    mapping.set_object_type(nn.Embedding, float_qparams_weight_only_qconfig)
    indices = torch.tensor([[1, 2, 3]])
    observed = prepare(model, mapping, (indices,), backend_config=backend)
    quantized = convert(observed, strict=True)  # nothing to calibrate
    assert [type(m) for m in quantized.children()] == [nnq.Embedding, nnq.dynamic.Linear]
    assert (quantized(indices) - model(indices)).norm() < 0.05 * model(indices).norm()


@pytest.mark.parametrize("quant_max", [127, 255])
def test_dynamic_layers_use_the_range_of_their_qconfig(
    backend: BackendConfig, quant_max: int
) -> None:
    activation = PlaceholderObserver.with_args(
        dtype=qtensor.quint8, quant_min=0, quant_max=quant_max, is_dynamic=True
    )
    qconfig = QConfig(activation, default_dynamic_qconfig.weight)
    model = nn.Sequential(nn.Linear(8, 4))
    (layer,) = convert(prepared(model, backend, qconfig, torch.randn(2, 8))).children()
    assert type(layer) is nnq.dynamic.Linear and layer.reduce_range == (quant_max == 127)


def test_quantized_inputs_and_outputs(backend: BackendConfig, qconfig: QConfig) -> None:
    custom = PrepareCustomConfig().set_input_quantized_indexes([0])
    custom.set_output_quantized_indexes([0])
    model = Calls(lambda m, x: torch.relu(m.conv(x))).eval()
    mapping = QConfigMapping().set_global(qconfig)
    observed = prepare(model, mapping, (X,), custom, backend)
    observed(X)
    quantized = convert(observed)
    given = qtensor.quantize_per_tensor(X, 0.05, 128, qtensor.quint8)
    result = quantized(given)
    assert isinstance(result, QTensor)
    assert not any(isinstance(m, nnq.Quantize) for m in quantized.modules())
    assert (result.dequantize() - model(X)).norm() < 0.1 * model(X).norm()
    assert isinstance(convert(observed, to_reference=True)(given), QTensor)


def test_preserved_attributes_survive(backend: BackendConfig, qconfig: QConfig) -> None:
    model = Calls(MODELS["conv"]).eval()
    model.classes = ["cat", "dog"]
    custom = PrepareCustomConfig().set_preserved_attributes(["classes", "absent"])
    mapping = QConfigMapping().set_global(qconfig)
    observed = copy.deepcopy(prepare(model, mapping, (X,), custom, backend))
    assert observed.classes == ["cat", "dog"]


def test_zero_size_batches(backend: BackendConfig, qconfig: QConfig) -> None:
    quantized = convert(prepared(Calls(MODELS["flatten"]), backend, qconfig))
    assert quantized(X[:0]).shape == (0, 5)


def test_shared_modules_get_parameters_of_their_own(
    backend: BackendConfig, qconfig: QConfig
) -> None:
    quantized = convert(prepared(Calls(lambda m, x: m.conv(m.conv(x) * 50)), backend, qconfig))
    scales = {m.scale for m in quantized.modules() if isinstance(m, nnq.Conv2d)}
    assert len(scales) == 2


def test_preparing_is_linear_in_the_size_of_the_graph(
    backend: BackendConfig, qconfig: QConfig
) -> None:
    # No timing: ten thousand nodes would not finish within the time limit of any test otherwise.
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.layer(x)
            for _ in range(5000):
                y = torch.relu(y) + x
            return y

    mapping = QConfigMapping().set_global(qconfig)
    observed = prepare(Deep().eval(), mapping, (torch.ones(1, 2),), backend_config=backend)
    assert plan_of(observed).counts()[Decision.STATIC] > 5000
