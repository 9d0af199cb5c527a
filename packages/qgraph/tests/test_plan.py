"""The plan: what is decided for every node, and why."""

import copy
import pickle
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qgraph import (
    BackendConfig,
    BackendPatternConfig,
    Decision,
    DTypeConfig,
    DTypeWithConstraints,
    Plan,
    PrepareCustomConfig,
    convert,
    plan_of,
    prepare,
)
from qobserve import (
    FixedQParamsObserver,
    MinMaxObserver,
    QConfig,
    QConfigMapping,
    default_dynamic_qconfig,
    float_qparams_weight_only_qconfig,
)
from qtensor import quint8


class Calls(nn.Module):
    def __init__(self, function: Any, **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *args: Tensor) -> Any:
        return self.function(self, *args)


@dataclass
class Result(dict[str, Any]):
    """As the outputs of transformers are: a dictionary and a dataclass."""

    first: Any = None
    second: Any = None

    def __post_init__(self) -> None:
        self.update(vars(self))


def two(function: Any) -> nn.Module:
    """A model of two linear layers; ``forward`` takes one tensor."""

    class Two(Calls):
        def forward(self, x: Tensor) -> Any:
            return self.function(self, x)

    return Two(function, a=nn.Linear(4, 4), b=nn.Linear(4, 4)).eval()


def plan(
    model: nn.Module, backend: BackendConfig, qconfig: Any, *inputs: Tensor, **options: Any
) -> Plan:
    mapping = QConfigMapping().set_global(qconfig)
    return plan_of(
        prepare(model, mapping, inputs or (torch.randn(2, 4),), backend_config=backend, **options)
    )


def decisions(plan: Plan) -> dict[str, str]:
    return {node.name: node.decision.value for node in plan.operators()}


def test_every_node_has_a_decision_and_a_reason(backend: BackendConfig, qconfig: QConfig) -> None:
    result = plan(two(lambda m, x: torch.sigmoid(m.b(torch.relu(m.a(x))))), backend, qconfig)
    assert [node.target for node in result.nodes.values()] == ["x", "a", "b", "sigmoid", "output"]
    assert [n.decision for n in result.operators()] == [
        Decision.STATIC,
        Decision.STATIC,
        Decision.FLOAT,
    ]
    assert all(node.why for node in result.nodes.values())
    assert "no row of backend 'test'" in result.nodes["sigmoid"].why
    assert "sigmoid" in str(result)
    assert result.counts() == {Decision.STATIC: 2, Decision.FLOAT: 1}


def test_a_plan_cannot_be_changed(backend: BackendConfig, qconfig: QConfig) -> None:
    result = plan(two(lambda m, x: m.a(x)), backend, qconfig)
    with pytest.raises(TypeError):
        result.nodes["x"] = None
    with pytest.raises(AttributeError):
        result.nodes["x"].why = ""
    assert copy.deepcopy(result) is result
    assert set(pickle.loads(pickle.dumps(Plan(tensors={"x": 0}))).tensors) == {"x"}


def test_one_set_of_parameters_per_tensor(backend: BackendConfig, qconfig: QConfig) -> None:
    # x feeds both layers; their outputs feed an addition.
    result = plan(two(lambda m, x: m.a(x) + m.b(x)), backend, qconfig)
    assert sorted(result.tensors.values()) == [0, 1, 2, 3]
    assert len(result.observers) == 4


def test_sharing_operators_join_parameters(backend: BackendConfig, qconfig: QConfig) -> None:
    def function(m: Any, x: Tensor) -> Tensor:
        return m.b(torch.cat([m.a(x), x]).flatten(1))

    result = plan(two(function), backend, qconfig)
    assert decisions(result)["cat"] == decisions(result)["flatten"] == "shared"
    joined = {result.tensors[name] for name in ("x", "a", "cat", "flatten")}
    assert len(joined) == 1 and len(result.observers) == 2


def test_sharing_operators_stay_float_in_float_surroundings(
    backend: BackendConfig, qconfig: QConfig
) -> None:
    result = plan(two(lambda m, x: m.a(torch.relu(torch.exp(x)))), backend, qconfig)
    assert decisions(result)["relu"] == "float"
    assert "its input is float" in result.nodes["relu"].why


@pytest.mark.parametrize(
    ("function", "name", "why"),
    [
        (lambda m, x: m.a(x) + 1.5, "add", "reads 1 float tensor"),
        (lambda m, x: torch.add(m.a(x), x, alpha=2), "add", "alpha is not supported"),
        (lambda m, x: m.a(x).shape[0] + x.shape[1], "add", "0 float tensor"),
        (lambda m, x: m.a(x).chunk(2), "chunk", "not read one by one"),
    ],
)
def test_calls_without_a_quantized_form(
    backend: BackendConfig, qconfig: QConfig, function: Any, name: str, why: str
) -> None:
    node = plan(two(function), backend, qconfig).nodes[name]
    assert node.decision is Decision.FLOAT
    assert why in node.why


def test_adding_a_tensor_to_itself_is_quantized(backend: BackendConfig, qconfig: QConfig) -> None:
    result = plan(two(lambda m, x: x + x), backend, qconfig)
    assert decisions(result) == {"add": "static"}


def test_numbers_of_dimensions(backend: BackendConfig, qconfig: QConfig) -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1)).eval()
    (node,) = plan(model, backend, qconfig, torch.randn(3, 4, 4)).operators()
    assert node.decision is Decision.FLOAT and "dimensions" in node.why


def test_integer_tensors_are_not_observed(backend: BackendConfig, qconfig: QConfig) -> None:
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 4)).eval()
    result = plan(model, backend, qconfig, torch.tensor([[1, 2]]))
    table, layer = result.operators()
    assert "no static form" in table.why
    assert layer.decision is Decision.STATIC


def test_dtypes_that_no_config_supports(backend: BackendConfig, qconfig: QConfig) -> None:
    narrow = DTypeWithConstraints(quint8, quant_min_lower_bound=0, quant_max_upper_bound=127)
    row = next(row for row in backend.configs if row.pattern is nn.Linear)
    row.set_dtype_configs([DTypeConfig(narrow, narrow, row.dtype_configs[0].weight_dtype)])
    (node,) = plan(two(lambda m, x: m.a(x)), backend, qconfig).operators()
    assert node.decision is Decision.FLOAT
    assert "an input: quant_max 255 where the bound is 127" in node.why


def test_dynamic_and_weight_only(backend: BackendConfig) -> None:
    (node,) = plan(two(lambda m, x: m.a(x)), backend, default_dynamic_qconfig).operators()
    assert node.decision is Decision.DYNAMIC
    table = nn.Sequential(nn.Embedding(10, 4)).eval()
    indices = torch.tensor([1])
    (node,) = plan(table, backend, float_qparams_weight_only_qconfig, indices).operators()
    assert node.decision is Decision.WEIGHT_ONLY


def test_fixed_parameters_come_from_the_row(backend: BackendConfig, qconfig: QConfig) -> None:
    backend.set_backend_pattern_config(
        BackendPatternConfig(torch.sigmoid)
        .add_dtype_config(DTypeConfig(quint8, quint8))
        .set_fixed_range(0.0, 1.0)
        .set_quantized_function(torch.sigmoid)
    )
    model = two(lambda m, x: torch.cat([torch.sigmoid(m.a(x)), x]))
    result = plan(model, backend, qconfig)
    fixed = result.observers[result.nodes["sigmoid"].output or 0]
    assert fixed.constructor is not None and fixed.spec.scale == 1 / 256
    assert isinstance(fixed.constructor(), FixedQParamsObserver)
    # Nothing else can be given the parameters of a sigmoid.
    assert "cannot be made the same" in result.nodes["cat"].why


def test_no_input_gets_the_fixed_parameters_of_an_output(
    backend: BackendConfig, qconfig: QConfig
) -> None:
    backend.set_backend_pattern_config(
        BackendPatternConfig(torch.sigmoid)
        .add_dtype_config(DTypeConfig(quint8, quint8))
        .set_fixed_range(0.0, 1.0)
        .set_quantized_function(torch.sigmoid)
    )
    fixed = QConfig(FixedQParamsObserver.with_args(scale=1 / 256, zero_point=0), qconfig.weight)
    mapping = QConfigMapping().set_global(qconfig).set_object_type(torch.sigmoid, fixed)
    model, x = two(lambda m, x: m.b(torch.sigmoid(x)) + torch.sigmoid(m.a(x))), torch.randn(2, 4)
    result = plan_of(prepare(model, mapping, (x,), backend_config=backend))
    assert "do not fit its input" in result.nodes["sigmoid"].why
    assert result.nodes["sigmoid_1"].decision is Decision.STATIC


def test_an_operand_that_is_no_float_tensor(backend: BackendConfig, qconfig: QConfig) -> None:
    result = plan(two(lambda m, x: m.a(x) + torch.argmax(x)), backend, qconfig)
    assert result.nodes["add"].decision is Decision.FLOAT


def test_functions_stay_float_where_example_inputs_do_not_run(
    backend: BackendConfig, qconfig: QConfig
) -> None:
    result = plan(two(lambda m, x: m.a(x) + m.b(x)), backend, qconfig, torch.randn(2, 5))
    assert decisions(result) == {"a": "static", "b": "static", "add": "float"}
    assert "do not run" in result.notes[0]


def test_qconfigs_by_name_type_regex_and_order(backend: BackendConfig, qconfig: QConfig) -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.layer(x)) * 2 + x

    model = nn.Sequential(Inner(), Inner(), nn.Linear(4, 4), nn.Linear(4, 4)).eval()

    def floats(mapping: QConfigMapping) -> set[str]:
        prepared = prepare(model, mapping, (torch.randn(2, 4),), backend_config=backend)
        return {n.name for n in plan_of(prepared).operators() if n.decision is Decision.FLOAT}

    def mapping() -> QConfigMapping:
        return QConfigMapping().set_global(qconfig)

    multiplications = {"mul", "mul_1"}  # of which the backend knows nothing
    assert floats(mapping()) == multiplications
    everything = floats(QConfigMapping())
    assert everything == multiplications | {
        "_0_layer_1", "add", "_1_layer_1", "add_1", "_2", "_3"
    }  # fmt: skip
    assert floats(mapping().set_module_name("0", None)) == multiplications | {"_0_layer_1", "add"}
    by_type = floats(mapping().set_object_type(nn.Linear, None))
    assert {"_2", "_3", "_0_layer", "_1_layer"} <= by_type and "add" not in by_type
    assert floats(mapping().set_module_name_regex(r"[23]$", None)) == multiplications | {"_2", "_3"}
    nth = mapping().set_module_name_object_type_order("", nn.Linear, 1, None)
    assert floats(nth) == multiplications | {"_3"}
    # The name is stronger than the type.
    strong = mapping().set_object_type(nn.Linear, None).set_module_name("2", qconfig)
    assert "_2" not in floats(strong) and "_3" in floats(strong)


def test_quantized_inputs_and_outputs(backend: BackendConfig, qconfig: QConfig) -> None:
    custom = PrepareCustomConfig().set_input_quantized_indexes([0])
    custom.set_output_quantized_indexes([0])
    result = plan(two(lambda m, x: m.a(x)), backend, qconfig, prepare_custom_config=custom)
    assert result.observers[result.tensors["x"]].constructor is None
    assert len(result.nodes["output"].inputs) == 1
    with pytest.raises(ValueError, match=r"1 output.*got 3"):
        plan(
            two(lambda m, x: m.a(x)),
            backend,
            qconfig,
            prepare_custom_config=PrepareCustomConfig().set_output_quantized_indexes([3]),
        )


def test_a_qconfig_of_another_range_than_the_tensor_has(
    backend: BackendConfig, qconfig: QConfig
) -> None:
    # The producer chooses; the reader takes what it gets if its row can.
    narrow = QConfig(MinMaxObserver.with_args(quant_min=0, quant_max=127), qconfig.weight)
    mapping = QConfigMapping().set_global(qconfig).set_module_name("b", narrow)
    prepared = prepare(
        two(lambda m, x: m.b(m.a(x))), mapping, (torch.randn(2, 4),), backend_config=backend
    )
    highest = [observer.spec.quant_max for observer in plan_of(prepared).observers]
    assert highest == [255, 255, 127]


def test_sizes_are_no_operators(backend: BackendConfig, qconfig: QConfig) -> None:
    model = two(lambda m, x: m.a(x).reshape(x.shape[0] * x.size(1), -1))
    made = plan(model, backend, qconfig, torch.randn(2, 3, 4))
    assert [node.target for node in made.operators()] == ["a", "reshape"]


def test_computed_parameters_are_told(backend: BackendConfig, qconfig: QConfig) -> None:
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))).eval()
    assert "remove_parametrizations" in plan(model, backend, qconfig).nodes["_0"].why


def test_outputs_that_are_dataclasses_keep_their_class(
    backend: BackendConfig, qconfig: QConfig
) -> None:
    model = two(lambda m, x: Result(first=m.a(x), second=None))
    mapping, x = QConfigMapping().set_global(qconfig), torch.randn(2, 4)
    prepared = prepare(model, mapping, (x,), backend_config=backend)
    assert torch.equal(prepared(x).first, model(x).first)
    result = convert(prepared)(x)
    assert type(result) is Result and result.second is None
    assert (result.first - model(x).first).norm() < 0.1 * model(x).first.norm()
