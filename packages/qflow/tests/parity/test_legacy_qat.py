"""Quantization-aware training against the flows that torch is removing: the same losses, in float.

Version 0 of the qconfigs, whose fake-quantize modules choose the same parameters on both sides.
"""

import copy

import pytest
import torch
from torch import Tensor, nn

import qflow

legacy = pytest.importorskip("torch.ao.quantization")
legacy_fx = pytest.importorskip("torch.ao.quantization.quantize_fx")

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # the old stack warns about itself
]

FUSED = [["conv1", "bn1", "relu1"], ["conv2", "bn2"], ["linear", "relu2"]]


class Network(nn.Module):
    def __init__(self, stubs: tuple[nn.Module, nn.Module]) -> None:
        super().__init__()
        self.quant, self.dequant = stubs
        self.conv1, self.bn1, self.relu1 = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()
        self.conv2, self.bn2 = nn.Conv2d(8, 8, 3, groups=8, bias=False), nn.BatchNorm2d(8)
        self.linear, self.relu2 = nn.Linear(32, 6), nn.ReLU()
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.bn1(self.conv1(self.quant(x))))
        x = self.bn2(self.conv2(x)).flatten(1)
        return self.dequant(self.head(self.relu2(self.linear(x))))


def network(*stubs: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return Network((stubs[0], stubs[1])).train()


def batch() -> Tensor:
    return torch.randn(8, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def train(model: nn.Module) -> tuple[list[float], Tensor]:
    optimizer = torch.optim.SGD(model.parameters(), 0.02)
    losses = []
    for _ in range(4):
        loss = (model(batch()) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, model.eval()(batch()).detach()


def agree(ours: nn.Module, theirs: nn.Module) -> None:
    (losses, y), (legacy_losses, legacy_y) = train(ours), train(theirs)
    assert losses == pytest.approx(legacy_losses, rel=1e-3)
    # A value at the middle between two integers may fall to either side.
    torch.testing.assert_close(y, legacy_y, atol=0.05, rtol=0)
    assert (y - legacy_y).abs().mean() < 5e-3


def test_eager() -> None:
    ours = qflow.fuse_modules_qat(network(qflow.QuantStub(), qflow.DeQuantStub()), FUSED)
    ours.qconfig = qflow.get_default_qat_qconfig("fbgemm", 0)
    theirs = legacy.fuse_modules_qat(network(legacy.QuantStub(), legacy.DeQuantStub()), FUSED)
    theirs.qconfig = legacy.get_default_qat_qconfig("fbgemm", 0)
    prepared, legacy_prepared = qflow.prepare_qat(ours), legacy.prepare_qat(theirs)
    names = {name for name, _ in prepared.named_parameters()}
    assert names == {name for name, _ in legacy_prepared.named_parameters()}
    agree(prepared, legacy_prepared)
    state = legacy_prepared.state_dict()
    fresh = qflow.prepare_qat(ours)
    missing = fresh.load_state_dict(state, strict=False)
    assert not missing.missing_keys and not missing.unexpected_keys
    torch.testing.assert_close(fresh.eval()(batch()), legacy_prepared(batch()), atol=0.05, rtol=0)


def test_graph() -> None:
    model = network(nn.Identity(), nn.Identity())
    mapping = qflow.QConfigMapping().set_global(qflow.get_default_qat_qconfig("fbgemm", 0))
    ours = qflow.prepare_qat_fx(copy.deepcopy(model), mapping, (batch(),))
    legacy_mapping = legacy.QConfigMapping().set_global(legacy.get_default_qat_qconfig("fbgemm", 0))
    theirs = legacy_fx.prepare_qat_fx(copy.deepcopy(model), legacy_mapping, (batch(),))
    agree(ours, theirs)
    int8 = qflow.convert_fx(ours)(batch())
    legacy_int8 = legacy_fx.convert_fx(theirs)(batch())
    torch.testing.assert_close(int8, legacy_int8, atol=0.1, rtol=0)
