"""A user's own observer, in plain torch, works wherever ours do."""

import torch
from torch import Tensor, nn

import qflow
import qtensor


class Largest(qflow.UniformQuantizationObserverBase):
    """Symmetric by the largest magnitude; knows nothing of native code."""

    def __init__(self, **arguments: object) -> None:
        super().__init__(**{"dtype": qtensor.quint8, **arguments})
        self.register_buffer("largest", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.largest.copy_(torch.maximum(self.largest, x.detach().abs().max()))
        return x

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        return (2 * self.largest / 255).clamp(min=1e-9).reshape(1), torch.tensor([128])


WEIGHT = qflow.default_per_channel_weight_observer


def linear() -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    return nn.Linear(8, 4), torch.randn(64, 8)


def check(quantized: nn.Module, float_model: nn.Module, x: Tensor) -> None:
    wanted = float_model(x)
    assert (quantized(x) - wanted).abs().max() < 0.1 * wanted.abs().max()


def test_eager() -> None:
    layer, x = linear()
    model = qflow.QuantWrapper(layer).eval()
    model.qconfig = qflow.QConfig(Largest, WEIGHT)
    prepared = qflow.prepare(model)
    prepared(x)
    quantized = qflow.convert(prepared)
    assert type(quantized.module) is qtensor.nn.quantized.Linear
    assert quantized.quant.zero_point == 128
    check(quantized, layer, x)


def test_fx() -> None:
    layer, x = linear()
    mapping = qflow.QConfigMapping().set_global(qflow.QConfig(Largest, WEIGHT))
    prepared = qflow.prepare_fx(nn.Sequential(layer).eval(), mapping, (x,))
    prepared(x)
    quantized = qflow.convert_fx(prepared)
    assert type(quantized.get_submodule("0")) is qtensor.nn.quantized.Linear
    check(quantized, layer, x)


def test_training() -> None:
    layer, x = linear()
    model = qflow.QuantWrapper(layer).train()
    model.qconfig = qflow.QConfig(
        qflow.FakeQuantize.with_args(observer=Largest),
        qflow.default_per_channel_weight_fake_quant,
    )
    prepared = qflow.prepare_qat(model)
    prepared(x).sum().backward()
    assert prepared.module.weight.grad is not None
    trained = prepared.eval()(x)
    quantized = qflow.convert(prepared)
    assert torch.nn.functional.cosine_similarity(quantized(x), trained).min() > 0.99
