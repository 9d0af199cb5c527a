"""Against torch.ao's FX flow: the same operators are quantized, and the outputs are close."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qbackends import get_x86_backend_config
from qgraph import convert, plan_of, prepare
from qobserve import MinMaxObserver, QConfig, QConfigMapping, default_per_channel_weight_observer

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.linear = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn(self.conv(x)))
        y = F.relu(self.second(y) + y)
        return self.linear(F.adaptive_avg_pool2d(y, 1).flatten(1))


class Functions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([self.a(x), torch.relu(self.b(x))], dim=1)
        return y.reshape(-1, 12)


class Numbers(nn.Module):
    """The old flow gives these outputs their input's observer; ours give them their own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.a(x) * 0.5 + 0.1)
        y += 0.25
        return self.b(torch.mul(y, 2))


@pytest.mark.parametrize(
    ("kind", "shape"), [(ConvNet, (4, 3, 8, 8)), (Functions, (16, 6)), (Numbers, (16, 6))]
)
def test_same_operators_and_close_outputs(kind: type[nn.Module], shape: tuple[int, ...]) -> None:
    legacy = pytest.importorskip("torch.ao.quantization")
    legacy_fx = pytest.importorskip("torch.ao.quantization.quantize_fx")
    model, x = kind(), torch.randn(shape)
    model(x)
    model.eval()

    activation = legacy.MinMaxObserver.with_args(dtype=torch.quint8, quant_min=0, quant_max=127)
    theirs_qconfig = legacy.QConfig(activation, legacy.default_per_channel_weight_observer)
    theirs_mapping = legacy.QConfigMapping().set_global(theirs_qconfig)
    theirs = legacy_fx.prepare_fx(copy.deepcopy(model), theirs_mapping, (x,))
    theirs(x)
    theirs = legacy_fx.convert_fx(theirs)

    ours_qconfig = QConfig(
        MinMaxObserver.with_args(quant_min=0, quant_max=127), default_per_channel_weight_observer
    )
    mapping = QConfigMapping().set_global(ours_qconfig)
    ours = prepare(model, mapping, (x,), backend_config=get_x86_backend_config())
    ours(x)
    float_operators = [n.target for n in plan_of(ours).operators() if not n.decision.is_quantized]
    ours = convert(ours)

    expected = model(x)
    assert (ours(x) - theirs(x)).norm() < 0.03 * expected.norm()
    assert (ours(x) - expected).norm() < 1.1 * (theirs(x) - expected).norm() + 1e-6
    assert weighted(theirs) == weighted(ours)
    assert float_operators == []


def weighted(model: Any) -> set[str]:
    """Qualified names of the modules with quantized weights."""
    return {
        name
        for name, module in model.named_modules()
        if callable(getattr(module, "set_weight_bias", None)) and "_packed" not in name
    }
