"""Eager static quantization: fuse, prepare, calibrate, convert."""

import pytest
import torch
from torch import Tensor, nn

import qflow
import qtensor
from qtensor.nn import intrinsic as nni
from qtensor.nn import quantized as nnq


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.quant, self.dequant = qflow.QuantStub(), qflow.DeQuantStub()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.body(self.quant(x)), 1)
        return self.dequant(self.head(x.flatten(1)))


@pytest.fixture
def batch() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(16, 3, 6, 6)


def fused() -> nn.Module:
    model = qflow.fuse_modules(Network().eval(), [["body.0", "body.1", "body.2"]])
    model.qconfig = qflow.get_default_qconfig("x86")
    return model


def test_prepare_and_convert(batch: Tensor) -> None:
    model = fused()
    expected = model(batch)
    prepared = qflow.prepare(model)
    assert torch.equal(prepared(batch), expected)
    converted = qflow.convert(prepared)
    assert type(converted.body[0]) is nni.quantized.ConvReLU2d
    assert type(converted.head) is nnq.Linear
    assert (converted(batch) - expected).abs().max() < 0.03 * expected.abs().max()
    assert not hasattr(model.head, "activation_post_process")


def test_containers_are_observed_once(batch: Tensor) -> None:
    prepared = qflow.prepare(fused())
    prepared(batch)
    values = batch.shape[0] * 8 * 4 * 4
    assert int(prepared.body[0].activation_post_process.count) == values


def test_in_one_call(batch: Tensor) -> None:
    model = fused()
    quantized = qflow.quantize(model, lambda prepared, x: prepared(x), (batch,))
    assert (quantized(batch) - model(batch)).abs().max() < 0.03 * model(batch).abs().max()


def test_pooling_is_not_observed() -> None:
    model, x = nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(2)), torch.randn(2, 3, 4, 4)
    model = qflow.QuantWrapper(model.eval())
    model.qconfig = qflow.get_default_qconfig("x86")
    prepared = qflow.prepare(model)
    assert not hasattr(prepared.module[1], "activation_post_process")
    prepared(x)
    converted = qflow.convert(prepared)
    assert type(converted.module[1]) is nnq.MaxPool2d
    assert (converted(x) - model(x)).norm() < 0.03 * model(x).norm()


def test_weights_alone() -> None:
    model, x = nn.Sequential(nn.Linear(8, 6), nn.ReLU()).eval(), torch.randn(5, 8)
    weight = qflow.default_per_channel_weight_observer
    model.qconfig = qflow.QConfig(qflow.PlaceholderObserver, weight)
    converted = qflow.convert(qflow.prepare(model))
    assert type(converted[0]) is nnq.weight_only.Linear
    assert (converted(x) - model(x)).norm() < 0.01 * model(x).norm()


def test_weights_alone_after_training() -> None:
    model, x = nn.Sequential(nn.Linear(8, 6), nn.ReLU()), torch.randn(5, 8)
    model.qconfig = qflow.default_weight_only_qconfig
    trained = qflow.prepare_qat(model)
    trained(x).sum().backward()
    converted = qflow.convert(trained.eval())
    assert type(converted[0]) is nnq.weight_only.Linear
    assert torch.allclose(converted(x), trained(x), atol=1e-5)


def test_reference(batch: Tensor) -> None:
    prepared = qflow.prepare(fused())
    prepared(batch)
    reference = qflow.convert(prepared, is_reference=True)
    assert type(reference.head) is nnq.reference.Linear


@pytest.mark.parametrize("backend", ["x86", "fbgemm"])
def test_reference_of_transposed_convolutions(backend: str) -> None:
    """Their weight's output channels are on axis 1, as they are once quantized."""
    torch.manual_seed(0)
    model = qflow.QuantWrapper(nn.Sequential(nn.ConvTranspose2d(4, 6, 3))).eval()
    model.qconfig = qflow.get_default_qconfig(backend)
    prepared = qflow.prepare(model)
    prepared(torch.randn(2, 4, 5, 5))
    expected = qflow.convert(prepared).module[0].weight()
    weight = qflow.convert(prepared, is_reference=True).module[0].get_quantized_weight()
    assert weight.q_per_channel_axis() == expected.q_per_channel_axis() == 1
    assert torch.equal(weight.int_repr(), expected.int_repr())


def test_fusing(batch: Tensor) -> None:
    model = Network().eval()
    expected = model(batch)
    calls = []
    model.body[0].register_forward_pre_hook(lambda *_: calls.append("before"))
    model.body[2].register_forward_hook(lambda *_: calls.append("after"))
    whole = qflow.fuse_modules(model, ["body.0", "body.1", "body.2"])
    assert [type(part) for part in whole.body] == [nni.ConvReLU2d, nn.Identity, nn.Identity]
    torch.testing.assert_close(whole(batch), expected, atol=1e-5, rtol=1e-4)
    assert calls == ["before", "after"]
    assert type(model.body[1]) is nn.BatchNorm2d
    assert type(qflow.fuse_modules(model, ["body.0", "body.1"]).body[0]) is nn.Conv2d
    trained = qflow.fuse_modules_qat(model.train(), ["body.0", "body.1", "body.2"], inplace=True)
    assert type(trained.body[0]) is nni.ConvBnReLU2d and trained is model


def test_fusing_what_cannot_be() -> None:
    with pytest.raises(NotImplementedError, match="nothing fuses ReLU, Conv2d; leave"):
        qflow.fuse_modules(nn.Sequential(nn.ReLU(), nn.Conv2d(1, 1, 1)), ["0", "1"])
    with pytest.raises(ValueError, match=r"got Conv2d in training mode; call model\.eval\(\)"):
        qflow.fuse_modules(Network().train(), ["body.0", "body.1"])
    with pytest.raises(AttributeError):
        qflow.fuse_modules(Network().eval(), ["body.0", "nowhere"])


def test_a_fuser_of_ones_own() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Sigmoid()).eval()
    custom = {(nn.Linear, nn.Sigmoid): lambda is_qat, linear, sigmoid: nn.Sequential(linear)}
    whole = qflow.fuse_modules(
        model, ["0", "1"], fuse_custom_config_dict={"additional_fuser_method_mapping": custom}
    )
    assert type(whole[0]) is nn.Sequential and type(whole[1]) is nn.Identity


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("activation", "scale", "zero_point"),
    [
        (nn.Sigmoid(), 1 / 256, 0),
        (nn.Hardsigmoid(), 1 / 256, 0),
        (nn.Softmax(-1), 1 / 256, 0),
        (nn.Tanh(), 2 / 256, 128),
    ],
)
def test_a_known_range_is_not_calibrated(
    activation: nn.Module, scale: float, zero_point: int, training: bool
) -> None:
    model = qflow.QuantWrapper(nn.Sequential(nn.Linear(4, 8), activation)).train(training)
    model.qconfig = getattr(qflow, f"get_default_{'qat_' * training}qconfig")("x86")
    prepared = qflow.prepare_qat(model) if training else qflow.prepare(model)
    x = torch.linspace(-0.1, 0.1, 32).reshape(8, 4)
    trained = prepared(x)
    if training:  # what a step of training reads lies on the grid already
        steps = trained / scale
        torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)
    converted = qflow.convert(prepared.eval())
    quantized = converted.module(converted.quant(x))
    assert (quantized.q_scale(), quantized.q_zero_point()) == (scale, zero_point)


def test_a_qconfig_may_fix_parameters_itself() -> None:
    model = qflow.QuantWrapper(nn.Tanh()).eval()
    model.qconfig = qflow.get_default_qconfig("x86")
    half = qflow.FixedQParamsObserver.with_args(scale=1 / 128, zero_point=0)
    model.module.qconfig = qflow.QConfig(half, None)
    prepared = qflow.prepare(model)
    prepared(torch.rand(4))
    assert qflow.convert(prepared).module.output_qparams.zero_point == 0


def test_activations_on_both_sides_of_the_stubs(batch: Tensor) -> None:
    model = nn.Sequential(
        nn.SiLU(), qflow.QuantWrapper(nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU())), nn.Sigmoid()
    ).eval()
    model.qconfig = qflow.get_default_qconfig("x86")
    prepared = qflow.prepare(model)
    expected = prepared(batch)
    with qtensor.fallback("error"):
        actual = qflow.convert(prepared)(batch)
    assert (actual - expected).abs().max() < 0.01


def test_custom_modules(batch: Tensor) -> None:
    class Twice(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

    class Observed(Twice):
        @classmethod
        def from_float(cls, module: nn.Module) -> "Observed":
            return cls()

    class Quantized(nn.Module):
        @classmethod
        def from_observed(cls, module: nn.Module) -> "Quantized":
            return cls()

    model = nn.Sequential(Twice()).eval()
    model.qconfig = qflow.get_default_qconfig("x86")
    observed = {"float_to_observed_custom_module_class": {Twice: Observed}}
    prepared = qflow.prepare(model, prepare_custom_config_dict=observed)
    prepared(batch)
    quantized = {"observed_to_quantized_custom_module_class": {Observed: Quantized}}
    assert type(qflow.convert(prepared, convert_custom_config_dict=quantized)[0]) is Quantized
