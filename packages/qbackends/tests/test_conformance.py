"""Every row of the native table: what it describes is quantized, and computes what float does."""

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qtensor
from qbackends import (
    get_backend_config,
    get_native_backend_config,
    qat_module_mapping,
    weight_only_module_mapping,
)
from qgraph import BackendPatternConfig, NodePlan, QuantType, convert, plan_of, prepare
from qobserve import (
    FixedQParamsObserver,
    MinMaxObserver,
    PlaceholderObserver,
    QConfig,
    QConfigMapping,
    default_dynamic_qconfig,
    default_embedding_qat_qconfig,
    default_per_channel_weight_observer,
    float_qparams_weight_only_qconfig,
    float_qparams_weight_only_qconfig_4bit,
    prepare_qat,
    propagate_qconfig_,
)
from qobserve import convert as swap

SHAPES = {0: (8, 4), 1: (4, 4, 8), 2: (2, 4, 6, 6), 3: (2, 4, 4, 4, 4)}
"""Of inputs, by the number of spatial dimensions."""

MODULES: dict[str, Callable[..., nn.Module]] = {
    "AdaptiveAvgPool": lambda kind: kind(2),
    "AdaptiveMaxPool": lambda kind: kind(2),
    "AvgPool": lambda kind: kind(2),
    "BatchNorm": lambda kind: kind(4),
    "ChannelShuffle": lambda kind: kind(2),
    "ConstantPad": lambda kind: kind(1, 0.5),
    "Conv": lambda kind: kind(4, 4, 3, padding=1),
    "ConvTranspose": lambda kind: kind(4, 4, 3, padding=1, groups=2),
    "LSTM": lambda kind: kind(8, 8, 2),
    "Linear": lambda kind: kind(4, 4),
    "MaxPool": lambda kind: kind(2),
    "MultiheadAttention": lambda kind: kind(8, 2),
    "PixelShuffle": lambda kind: kind(2),
    "PixelUnshuffle": lambda kind: kind(2),
    "Softmax": lambda kind: kind(1),
    "Threshold": lambda kind: kind(0.1, 0.0),
    "Unflatten": lambda kind: kind(1, (2, 2)),
    "Upsample": lambda kind: kind(scale_factor=2),
    "ZeroPad": lambda kind: kind(1),
}
"""How to make the modules that need arguments, by their names without a dimension."""

OUTPUTS: dict[type, Callable[..., Tensor]] = {
    nn.LSTM: lambda lstm, x: lstm(x)[0],
    nn.MultiheadAttention: lambda attention, x: attention(x, x, x)[0],
}
"""How to call the modules that take, or return, more than one tensor."""

CALLS: dict[Any, Callable[..., Any]] = {
    "contiguous": lambda x: x.transpose(1, 2).contiguous(),
    "expand": lambda x: x.unsqueeze(0).expand(3, -1, -1, -1, -1),
    "repeat": lambda x: x.repeat(1, 2, 1, 1),
    operator.add: lambda x: x + x.transpose(2, 3),
    operator.getitem: lambda x: x[:, 1:],
    operator.mul: lambda x: x * x.transpose(2, 3),
    operator.sub: lambda x: x - 0.3,
    operator.truediv: lambda x: x / 0.3,
    torch.cat: lambda x: torch.cat([x, x], 1),
    torch.chunk: lambda x: torch.chunk(x, 2, 1)[0],
    torch.clamp: lambda x: torch.clamp(x, -0.5, 1.0),
    torch.clamp_max: lambda x: torch.clamp_max(x, 1.0),
    torch.clamp_min: lambda x: x.clamp_min(-0.5),
    torch.log: lambda x: (x + 2).log(),
    torch.log1p: lambda x: torch.log1p(x + 2),
    torch.matmul: lambda x: x @ x.transpose(2, 3),
    torch.mean: lambda x: x.mean((2, 3)),
    torch.permute: lambda x: x.permute(0, 2, 3, 1),
    torch.pow: lambda x: x**3,
    torch.reciprocal: lambda x: (x + 2).reciprocal(),
    torch.reshape: lambda x: x.reshape(-1, 6),
    torch.rsqrt: lambda x: torch.rsqrt(x + 2),
    torch.sqrt: lambda x: torch.sqrt(x + 2),
    torch.squeeze: lambda x: x[:1].squeeze(0),
    torch.stack: lambda x: torch.stack([x, x], 1),
    torch.transpose: lambda x: x.transpose(1, 2),
    torch.unsqueeze: lambda x: x.unsqueeze(1),
}
"""What calls the functions and methods that are not modules."""

ROWS = [
    row
    for row in get_native_backend_config().configs
    if any(config.quant_type is QuantType.STATIC for config in row.dtype_configs)
]


class Example(nn.Module):
    """The parts of a row, after an operator that gives them quantized values."""

    def __init__(self, parts: list[Any]) -> None:
        super().__init__()
        self.lead = nn.ELU()
        self.parts = [self._part(i, part) for i, part in enumerate(parts)]

    def _part(self, index: int, part: Any) -> Any:
        if not isinstance(part, type):
            return part
        name = part.__name__
        name = name[:-2] if _dims(part) else name
        made = MODULES.get(name, lambda kind: kind(1) if "Pad" in name else kind())(part)
        self.add_module(f"part{index}", made)
        return made

    def forward(self, x: Tensor) -> Any:
        x = y = self.lead(x)
        for index, part in enumerate(self.parts):
            if index and part is operator.add:
                y = y + x
            else:
                call = OUTPUTS.get(type(part))
                y = call(part, y) if call else CALLS.get(part, part)(y)
        return y


def _dims(part: Any) -> int:
    name = getattr(part, "__name__", "")
    return int(name[-2]) if name[-2:] in ("1d", "2d", "3d") else 0


def _example(row: BackendPatternConfig) -> tuple[nn.Module, Tensor]:
    parts = list(row.pattern) if isinstance(row.pattern, tuple) else [row.pattern]
    dims = 0 if parts[0] is nn.Linear else max(_dims(part) for part in parts) or 2
    dims = 1 if parts[0] in OUTPUTS else dims
    model, x = Example(parts), torch.randn(SHAPES[dims])
    for _ in range(3):  # statistics for the batch norms
        model(torch.randn(SHAPES[dims]))
    return model.eval(), x


def _name(row: BackendPatternConfig) -> str:
    parts = row.pattern if isinstance(row.pattern, tuple) else (row.pattern,)
    return "-".join(getattr(part, "__name__", str(part)) for part in parts)


def _described(model: nn.Module, row: BackendPatternConfig) -> NodePlan:
    """The plan of what ``row`` describes; of a folded sequence, that is another row's layer."""
    folded = len(row.pattern) if isinstance(row.pattern, tuple) else 0
    *_, found = (
        node
        for node in plan_of(model).operators()
        if node.row is not None
        and (len(node.fused) == folded if folded else node.row.pattern == row.pattern)
    )
    return found


def _close(actual: Tensor, expected: Tensor, tolerance: float) -> bool:
    return bool((actual - expected).norm() <= tolerance * expected.norm())


@pytest.mark.parametrize("row", ROWS, ids=_name)
def test_static(row: BackendPatternConfig) -> None:
    model, x = _example(row)
    qconfig = QConfig(MinMaxObserver, default_per_channel_weight_observer)
    mapping = QConfigMapping().set_global(qconfig)
    prepared = prepare(model, mapping, (x,), backend_config=get_native_backend_config())
    assert _described(prepared, row).decision.value in ("static", "shared"), plan_of(prepared)
    with torch.no_grad():
        expected = prepared(x)
        assert torch.allclose(expected, model(x), atol=1e-5)
        reference, quantized = convert(prepared, to_reference=True), convert(prepared)
        with qtensor.fallback("error"):
            actual = quantized(x)
        simulated = reference(x)
    assert sum(node.target == "dequantize" for node in quantized.graph.nodes) == 1
    assert _close(actual, expected, 0.05) and _close(actual, simulated, 0.03)
    program = torch.export.export(quantized, (x,), strict=False)
    called = [node.target for node in program.graph.nodes if node.op == "call_function"]
    namespaces = {t.namespace for t in called if isinstance(t, torch._ops.OpOverload)}
    assert namespaces <= {"aten", "qtensor"}
    assert torch.equal(program.module()(x), actual)


WRITTEN: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "F.relu": ("ReLU", F.relu),
    "relu()": ("ReLU", lambda y: y.relu()),
    "relu_()": ("ReLU", lambda y: y.relu_()),
    "F.relu6": ("Hardtanh", F.relu6),
    "F.hardtanh": ("Hardtanh", lambda y: F.hardtanh(y, -0.5, 0.7)),
    "clamp()": ("Hardtanh", lambda y: y.clamp(max=0.5)),
    "clamp_()": ("Hardtanh", lambda y: y.clamp_(-0.5, 0.5)),
    "clamp_min()": ("Hardtanh", lambda y: y.clamp_min(-0.5)),
    "torch.clamp_max": ("Hardtanh", lambda y: torch.clamp_max(y, max=0.5)),
    "nn.ReLU6": ("Hardtanh", nn.ReLU6),
    "clip": ("Hardtanh", lambda y: torch.clip(y, 0.0, 0.5)),
    "F.leaky_relu": ("LeakyReLU", lambda y: F.leaky_relu(y, 0.2)),
    "F.leaky_relu_": ("LeakyReLU", lambda y: F.leaky_relu_(y, 0.2)),
    "tanh()": ("Tanh", lambda y: y.tanh()),
    "torch.tanh": ("Tanh", torch.tanh),
    "F.gelu": ("GELU", F.gelu),
    "F.gelu of tanh": ("GELU", lambda y: F.gelu(y, approximate="tanh")),
}


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("way", WRITTEN)
def test_what_follows_a_layer_is_fused_however_it_is_written(way: str, dynamic: bool) -> None:
    after, function = WRITTEN[way]
    model, x = Example([nn.Linear, function]).eval(), torch.randn(SHAPES[0])
    static = QConfig(MinMaxObserver, default_per_channel_weight_observer)
    mapping = QConfigMapping().set_global(default_dynamic_qconfig if dynamic else static)
    prepared = prepare(model, mapping, (x,), backend_config=get_native_backend_config())
    prepared(x)
    quantized = convert(prepared)
    package = qtensor.nn.intrinsic.quantized
    kind = getattr(package.dynamic if dynamic else package, f"Linear{after}")
    assert any(type(module) is kind for module in quantized.modules())
    assert sum(node.op == "call_module" for node in quantized.graph.nodes) == (2 if dynamic else 3)
    with qtensor.fallback("error"), torch.no_grad():
        assert _close(quantized(x), model(x), 0.05)


DYNAMIC = [row for row in ROWS if any(config.is_dynamic for config in row.dtype_configs)]


@pytest.mark.parametrize("row", DYNAMIC, ids=_name)
def test_dynamic(row: BackendPatternConfig) -> None:
    model, x = _example(row)
    mapping = QConfigMapping().set_global(default_dynamic_qconfig)
    prepared = prepare(model, mapping, (x,), backend_config=get_native_backend_config())
    assert _described(prepared, row).decision.value == "dynamic"
    quantized = convert(prepared)
    assert "dynamic" in type(quantized.get_submodule("part0")).__module__
    with qtensor.fallback("error"), torch.no_grad():
        assert _close(quantized(x), model(x), 0.05)


def test_weight_only_linear() -> None:
    model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(SHAPES[0])
    qconfig = QConfig(PlaceholderObserver, default_per_channel_weight_observer)
    mapping = QConfigMapping().set_global(qconfig)
    prepared = prepare(model.eval(), mapping, (x,), backend_config=get_native_backend_config())
    quantized = convert(prepared)
    for name in ("0", "2"):
        assert type(quantized.get_submodule(name)) is qtensor.nn.quantized.weight_only.Linear
    assert _close(quantized(x), model(x), 0.02)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("kind", ["Embedding", "EmbeddingBag"])
def test_weight_only(kind: str, bits: int) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(getattr(nn, kind)(6, 40)), torch.tensor([[0, 2, 5]])
    qconfigs = {8: float_qparams_weight_only_qconfig, 4: float_qparams_weight_only_qconfig_4bit}
    mapping = QConfigMapping().set_global(qconfigs[bits])
    prepared = prepare(model, mapping, (x,), backend_config=get_native_backend_config())
    quantized = convert(prepared)
    table = quantized.get_submodule("0")
    assert type(table) is getattr(qtensor.nn.quantized, kind)
    assert table.weight().qdtype.bits == bits
    assert _close(quantized(x), model(x), {8: 0.02, 4: 0.2}[bits])


@pytest.mark.parametrize("kind", ["Embedding", "EmbeddingBag"])
def test_tables_are_trained(kind: str) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(getattr(nn, kind)(6, 40)), torch.tensor([[0, 2, 5]])
    mapping = qat_module_mapping("native")
    propagate_qconfig_(model, {"": default_embedding_qat_qconfig})
    trained = prepare_qat(model.train(), mapping)
    assert type(trained[0]) is mapping[getattr(nn, kind)]
    trained(x).sum().backward()
    assert trained[0].weight.grad is not None
    quantized = swap(trained.eval(), weight_only_module_mapping("native"))
    assert type(quantized[0]) is getattr(qtensor.nn.quantized, kind)
    assert _close(quantized(x), trained(x), 0.001)


CALLED_MODULES = {
    F.celu: {"alpha": 0.5},
    F.elu: {"alpha": 0.5},
    F.gelu: {"approximate": "tanh"},
    F.hardsigmoid: {},
    F.hardswish: {},
    F.leaky_relu: {"negative_slope": 0.2},
    F.mish: {},
    F.selu: {},
    torch.sigmoid: {},
    F.silu: {},
    F.softplus: {"beta": 2.0},
    torch.tanh: {},
    F.softmax: {"dim": 1},
    F.pad: {"pad": (1, 1)},
    F.interpolate: {"scale_factor": 2, "mode": "bilinear"},
}


@pytest.mark.parametrize("function", CALLED_MODULES, ids=lambda f: f.__name__)
def test_functions_with_arguments(function: Any) -> None:
    arguments = CALLED_MODULES[function]
    model, x = Example([lambda x: function(x, **arguments)]), torch.randn(SHAPES[2])
    mapping = QConfigMapping().set_global(
        QConfig(MinMaxObserver, default_per_channel_weight_observer)
    )
    prepared = prepare(model.eval(), mapping, (x,), backend_config=get_native_backend_config())
    prepared(x)
    quantized = convert(prepared)
    with qtensor.fallback("error"):
        assert _close(quantized(x), model(x), 0.05)
    assert sum(node.target == "dequantize" for node in quantized.graph.nodes) == 1


def in_place(x: Tensor) -> Tensor:
    y = x * 2
    y += 0.5
    y.mul_(-0.5)
    return y


NUMBERS: dict[str, Callable[[Tensor], Tensor]] = {
    "x + 2": lambda x: x + 2,
    "2 + x": lambda x: 2 + x,
    "add": lambda x: torch.add(x, 0.5).add(1),
    "x - 2": lambda x: x - 2,
    "2 - x": lambda x: 2 - x,
    "x * 0.5": lambda x: x * 0.5,
    "-2 * x": lambda x: -2 * x,
    "x / 3": lambda x: x / 3,
    "1 / x": lambda x: 1 / (x + 3),
    "add relu": lambda x: F.relu(x + 0.5),
    "mul relu": lambda x: torch.relu(torch.mul(x, -1.5)),
    "in place": in_place,
    "hardswish": lambda x: x * F.relu6(x + 3) / 6,
}


@pytest.mark.parametrize("activation", [qtensor.quint8, qtensor.qint8])
@pytest.mark.parametrize("written", NUMBERS)
def test_numbers(written: str, activation: Any) -> None:
    model, x = Example([NUMBERS[written]]).eval(), torch.randn(SHAPES[2])
    observer = MinMaxObserver.with_args(dtype=activation)
    mapping = QConfigMapping().set_global(QConfig(observer, default_per_channel_weight_observer))
    prepared = prepare(model, mapping, (x,), backend_config=get_native_backend_config())
    assert all(node.decision.is_quantized for node in plan_of(prepared).operators())
    prepared(x)
    quantized = convert(prepared)
    with qtensor.fallback("error"):
        actual = quantized(x)
    assert _close(actual, model(x), 0.02)
    assert sum(node.target == "dequantize" for node in quantized.graph.nodes) == 1
    program = torch.export.export(quantized, (x,), strict=True)
    assert torch.equal(program.module()(x), actual)


def test_a_qconfig_may_fix_parameters_itself() -> None:
    """A finer range than the one that is known, for rows of many classes."""
    finer = FixedQParamsObserver.with_args(scale=1 / 1024, zero_point=0)
    mapping = QConfigMapping().set_global(
        QConfig(MinMaxObserver, default_per_channel_weight_observer)
    )
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Softmax(1)).eval(), torch.randn(SHAPES[0])
    signed = finer.with_args(dtype=qtensor.qint8, quant_min=-128, quant_max=127)
    for observer, scale in ((finer, 1 / 1024), (signed, 1 / 256)):  # which does not fit the input
        mapping.set_object_type(nn.Softmax, QConfig(observer, None))
        prepared = prepare(model, mapping, (x,), backend_config=get_native_backend_config())
        prepared(x)
        quantized = convert(prepared)
        assert quantized.get_submodule("1").output_qparams.scale == scale


@pytest.mark.parametrize("kind", ["MaxPool", "AvgPool", "AdaptiveAvgPool"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_pooling_modules_become_qtensors_own(kind: str, dims: int) -> None:
    pool = getattr(nn, f"{kind}{dims}d")
    model, x = Example([pool]).eval(), torch.randn(SHAPES[dims])
    mapping = QConfigMapping().set_global(
        QConfig(MinMaxObserver, default_per_channel_weight_observer)
    )
    prepared = prepare(model, mapping, (x,), backend_config=get_native_backend_config())
    prepared(x)
    quantized = convert(prepared)
    assert type(quantized.get_submodule("part0")) is getattr(qtensor.nn.quantized, pool.__name__)
    assert type(model.part0) is pool
    with qtensor.fallback("error"):
        assert _close(quantized(x), model(x), 0.05)


class Joined(nn.Module):
    """Two layers of which one's output has parameters that are known beforehand."""

    def __init__(self, join: Callable[..., Tensor]) -> None:
        super().__init__()
        self.first, self.second, self.join = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), join

    def forward(self, x: Tensor) -> Tensor:
        return self.join([torch.sigmoid(self.first(x)), self.second(x)], dim=1)


@pytest.mark.parametrize("join", [torch.cat, torch.stack])
def test_what_joins_different_parameters_requantizes(join: Callable[..., Tensor]) -> None:
    model, x = Joined(join).eval(), torch.randn(SHAPES[2])
    mapping = QConfigMapping().set_global(
        QConfig(MinMaxObserver, default_per_channel_weight_observer)
    )
    prepared = prepare(model, mapping, (x,), backend_config=get_native_backend_config())
    assert [node.decision.value for node in plan_of(prepared).operators()] == ["static"] * 4
    prepared(x)
    quantized, reference = convert(prepared), convert(prepared, to_reference=True)
    with qtensor.fallback("error"), torch.no_grad():
        assert _close(quantized(x), model(x), 0.05) and _close(quantized(x), reference(x), 0.01)
    assert sum(node.target == "dequantize" for node in quantized.graph.nodes) == 1


class Slopes(nn.Module):
    """PReLU as a function of a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.slopes = nn.Parameter(torch.tensor([0.1, 0.2, -0.3, 0.4]))

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.slopes) * 2


def test_prelu_as_a_function() -> None:
    model, x = Slopes().eval(), torch.randn(SHAPES[2])
    mapping = QConfigMapping().set_global(
        QConfig(MinMaxObserver, default_per_channel_weight_observer)
    )
    prepared = prepare(model, mapping, (x,), backend_config=get_native_backend_config())
    prepared(x)
    quantized = convert(prepared)
    assert any(type(module) is qtensor.nn.quantized.PReLU for module in quantized.modules())
    with qtensor.fallback("error"):
        assert _close(quantized(x), model(x), 0.02)


@pytest.mark.parametrize("dtype", [qtensor.quint8, qtensor.qint8])
@pytest.mark.parametrize(("backend", "integers"), [("x86", 256), ("fbgemm", 128)])
@pytest.mark.parametrize(
    ("function", "low", "high"),
    [(nn.Sigmoid(), 0.0, 1.0), (nn.Hardsigmoid(), 0.0, 1.0), (nn.Tanh(), -1.0, 1.0)],
)
def test_known_ranges(
    backend: str, integers: int, dtype: Any, function: nn.Module, low: float, high: float
) -> None:
    lowest = 0 if dtype is qtensor.quint8 else -integers // 2
    observer = MinMaxObserver.with_args(
        dtype=dtype, quant_min=lowest, quant_max=lowest + integers - 1
    )
    model, x = nn.Sequential(function, nn.Conv2d(4, 4, 1)).eval(), 3 * torch.randn(SHAPES[2])
    mapping = QConfigMapping().set_global(QConfig(observer, default_per_channel_weight_observer))
    prepared = prepare(model, mapping, (x,), backend_config=get_backend_config(backend))
    assert all(node.decision.is_quantized for node in plan_of(prepared).operators())
    prepared(x)
    quantized = convert(prepared)
    output = quantized.get_submodule("0").output_qparams
    assert output.scale == (high - low) / integers
    assert (output.zero_point - lowest) * output.scale == -low
    assert (output.quant_min, output.quant_max) == (lowest, lowest + integers - 1)
    assert _close(quantized(x), model(x), 0.03)


REFUSED: dict[str, tuple[nn.Module, list[Any]]] = {
    "same": (nn.Sequential(nn.Conv2d(4, 4, 2, padding="same"), nn.ReLU()), []),
    "output_size": (nn.ConvTranspose2d(4, 4, 3, 2), [[14, 14]]),
    "no running statistics": (nn.BatchNorm2d(4, track_running_stats=False), []),
    "bounds": (Example([lambda x: x.clamp(x.mean())]), []),
    "out": (Example([lambda x: x.clamp_min(x.mean())]), []),
    "leave no range": (Example([lambda x: x.clamp(1, -1)]), []),
    "with dtype": (Example([lambda x: F.softmax(x, 1, dtype=torch.float64)]), []),
    "operand of type complex": (Example([lambda x: (x + 1j).real]), []),
    "not a float tensor": (Example([lambda x: x + torch.argmax(x)]), []),
    "its quantized form 1": (Example([lambda x: x - x.transpose(2, 3)]), []),
    "more than two operands": (Example([lambda x: F.relu(torch.add(x, x.tanh(), alpha=2))]), []),
    "its input is a number": (Example([lambda x: 2**x]), []),
    "tensor for an argument": (Example([lambda x: F.elu(x, alpha=x.mean())]), []),
    "bicubic": (nn.Upsample(scale_factor=2, mode="bicubic"), []),
}


class Calling(nn.Module):
    """A module called with further arguments, on quantized values."""

    def __init__(self, module: nn.Module, arguments: list[Any]) -> None:
        super().__init__()
        self.lead, self.module, self.arguments = nn.ELU(), module, arguments

    def forward(self, x: Tensor) -> Any:
        return self.module(self.lead(x), *self.arguments)


@pytest.mark.parametrize("why", REFUSED)
def test_refused_calls_stay_float(why: str) -> None:
    model = Calling(*REFUSED[why]).eval()
    mapping = QConfigMapping().set_global(
        QConfig(MinMaxObserver, default_per_channel_weight_observer)
    )
    x = torch.randn(SHAPES[2])
    prepared = prepare(model, mapping, (x,), backend_config=get_native_backend_config())
    assert any(why in node.why for node in plan_of(prepared).operators()), plan_of(prepared)
    prepared(x)
    assert _close(convert(prepared)(x), model(x), 0.05)


class Sized(nn.Module):
    """A call whose further argument a fused module would lose."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(4, 4, 3, 2)

    def forward(self, x: Tensor) -> Any:
        return F.relu(self.conv(x, [14, 14]))


def test_calls_with_further_arguments_are_not_fused() -> None:
    model, x = Sized().eval(), torch.randn(SHAPES[2])
    mapping = QConfigMapping().set_global(
        QConfig(MinMaxObserver, default_per_channel_weight_observer)
    )
    prepared = prepare(model, mapping, (x,), backend_config=get_native_backend_config())
    assert torch.equal(prepared(x), model(x))
