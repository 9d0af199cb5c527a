"""Modules for quantization-aware training, against the float modules and the plain formula."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import qobserve
import qtensor
from qobserve import default_embedding_qat_qconfig, get_default_qat_qconfig
from qobserve.nn import qat as nnqat
from qobserve.nn.intrinsic import qat as nniqat
from qtensor.nn import intrinsic as nni

QCONFIG = get_default_qat_qconfig("x86")


def batch_norm(kind, channels):
    """With statistics and parameters that are not the first ones."""
    bn = kind(channels)
    with torch.no_grad():
        bn.weight.uniform_(0.5, 1.5)
        bn.bias.normal_()
        bn.running_mean.normal_()
        bn.running_var.uniform_(0.5, 2.0)
    return bn


def conv(dims, **kwargs):
    return getattr(nn, f"Conv{dims}d")(4, 6, 3, padding=1, groups=2, **kwargs)


CASES = {
    "Linear": lambda: (nn.Linear(5, 3), nnqat.Linear, (7, 5)),
    "LinearReLU": lambda: (
        nni.LinearReLU(nn.Linear(5, 3), nn.ReLU()),
        nniqat.LinearReLU,
        (7, 5),
    ),
    "LinearBn1d": lambda: (
        nni.LinearBn1d(nn.Linear(5, 3), batch_norm(nn.BatchNorm1d, 3)),
        nniqat.LinearBn1d,
        (7, 5),
    ),
}
for _dims in (1, 2, 3):

    def _shape(dims=_dims):
        return (3, 4, *(5,) * dims)

    def _bn(dims=_dims):
        return batch_norm(getattr(nn, f"BatchNorm{dims}d"), 6)

    def _container(name, *parts, dims=_dims):
        return getattr(nni, f"{name}{dims}d")(*parts), getattr(nniqat, f"{name}{dims}d")

    CASES |= {
        f"Conv{_dims}d": lambda d=_dims, s=_shape: (conv(d), getattr(nnqat, f"Conv{d}d"), s()),
        f"ConvReLU{_dims}d": lambda d=_dims, s=_shape, c=_container: (
            *c("ConvReLU", conv(d), nn.ReLU()),
            s(),
        ),
        f"ConvBn{_dims}d": lambda d=_dims, s=_shape, c=_container, b=_bn: (
            *c("ConvBn", conv(d, bias=False), b()),
            s(),
        ),
        f"ConvBnReLU{_dims}d": lambda d=_dims, s=_shape, c=_container, b=_bn: (
            *c("ConvBnReLU", conv(d), b(), nn.ReLU()),
            s(),
        ),
    }


def made(name, qconfig=QCONFIG):
    torch.manual_seed(0)
    float_module, kind, shape = CASES[name]()
    float_module.qconfig = qconfig
    return float_module, kind.from_float(float_module), torch.randn(shape)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_without_fake_quantization_it_is_the_float_module(name, training):
    float_module, module, x = made(name)
    float_module.train(training)
    module.train(training).apply(qobserve.disable_fake_quant)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    expected = float_module(x)
    for key, value in before.items():
        if key.startswith("bn."):  # shared: undo what the float module has done to them
            module.state_dict()[key].copy_(value)
    torch.testing.assert_close(module(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_in_evaluation_it_is_the_folded_module_with_a_rounded_weight(name):
    _, module, x = made(name)
    module(x)
    module.eval().apply(qobserve.disable_observer)
    folded = module.to_float()
    layer = folded[0] if isinstance(folded, nn.Sequential) else folded
    assert type(layer) in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    with torch.no_grad():
        layer.weight.copy_(module.weight_fake_quant(layer.weight))
    # A weight at the middle between two integers may fall to either side.
    torch.testing.assert_close(module(x), folded(x), rtol=1e-3, atol=0.05)
    assert (module(x) - folded(x)).abs().mean() < 1e-3


def straight_through(weight, fake_quantize):
    """The plain formula, with the gradient passing where nothing is clamped."""
    scale, zero_point = fake_quantize.scale.double(), fake_quantize.zero_point.double()
    if fake_quantize.is_per_channel:
        shape = (-1, *(1,) * (weight.ndim - 1))
        scale, zero_point = scale.reshape(shape), zero_point.reshape(shape)
    low, high = fake_quantize.quant_min, fake_quantize.quant_max
    integers = weight / scale + zero_point
    integers = integers + (torch.round(integers) - integers).detach()
    return (integers.clamp(low, high) - zero_point) * scale


@pytest.mark.parametrize("name", CASES)
def test_gradients(name):
    """Against autograd of the formula that _batch_norm.py gives, in float64."""
    _, module, x = made(name)
    module(x)
    module.apply(qobserve.disable_observer)
    module.weight_fake_quant.scale.mul_(1.01)  # the largest weight is halfway between integers
    x.requires_grad_()
    gradient = torch.randn_like(module(x))
    parameters = {key: value for key, value in module.named_parameters() if value.requires_grad}
    running = {key: value.clone() for key, value in module.named_buffers()}
    given = torch.autograd.grad(module(x), [x, *parameters.values()], gradient)

    leaves = {key: value.detach().double().requires_grad_() for key, value in parameters.items()}
    x64 = x.detach().double().requires_grad_()
    weight, bias = leaves["weight"], leaves.get("bias")
    channels = (1, -1, *(1,) * (weight.ndim - 2))
    factor = None
    if "bn.weight" in leaves:
        sigma = torch.sqrt(running["bn.running_var"].double() + module.bn.eps)
        factor = leaves["bn.weight"] / sigma
        weight = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
    weight = straight_through(weight, module.weight_fake_quant)
    if isinstance(module, nn.Linear):
        y = nn.functional.linear(x64, weight)
    else:
        y = module._conv_forward(x64, weight, None)
    y = y if factor is None else y / factor.reshape(channels)
    y = y if bias is None else y + bias.reshape(channels)
    if factor is not None:
        y = nn.functional.batch_norm(
            y, None, None, leaves["bn.weight"], leaves["bn.bias"], True, 0.1, module.bn.eps
        )
    y = torch.relu(y) if "ReLU" in name else y
    expected = torch.autograd.grad(y, [x64, *leaves.values()], gradient.double())
    for got, want in zip(given, expected, strict=True):
        torch.testing.assert_close(got.double(), want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", CASES)
def test_it_converts_to_what_it_trained(name):
    _, module, x = made(name)
    module(x)
    module.eval().apply(qobserve.disable_observer)
    module.activation_post_process = qobserve.MinMaxObserver()
    module.activation_post_process(module(x))
    plain = module.to_float()
    fused = isinstance(plain, nn.Sequential)
    kinds = nni.quantized if fused else qtensor.nn.quantized
    quantized = getattr(kinds, type(plain).__name__).from_float(
        module, use_precomputed_fake_quant=True
    )
    qparams = qtensor.QParams(float(x.abs().max()) / 127, 0, qtensor.qint8)
    qx = qtensor.quantize_per_tensor(x, qparams.scale, 0, qtensor.qint8)
    expected = module(qx.dequantize())
    assert (quantized(qx).dequantize() - expected).abs().max() <= 1.51 * quantized.scale


def test_a_gamma_of_zero_trains():
    float_module, module, x = made("ConvBn2d")
    with torch.no_grad():
        module.bn.weight[0] = 0.0
    y = module(x)
    y.square().sum().backward()
    assert y.isfinite().all()
    torch.testing.assert_close(y[:, 0], float_module[1].bias[0].expand_as(y[:, 0]))
    for parameter in module.parameters():
        assert parameter.grad.isfinite().all()


def test_freezing():
    _, module, x = made("ConvBn2d")
    model = nn.Sequential(module)
    model.apply(nniqat.freeze_bn_stats)
    before = module.bn.running_mean.clone()
    model.train()(x)
    assert torch.equal(module.bn.running_mean, before)
    model.apply(nniqat.update_bn_stats)
    model(x)
    assert not torch.equal(module.bn.running_mean, before)
    assert nniqat.ConvBn2d(2, 2, 1, freeze_bn=True, qconfig=QCONFIG).bn.training is False
    module.reset_running_stats()
    assert not module.bn.running_mean.any()


def test_state_dicts_of_the_first_version_load():
    _, module, _ = made("ConvBn2d")
    state = module.state_dict()
    first = {"gamma": "weight", "beta": "bias"}
    first |= {n: n for n in ("running_mean", "running_var", "num_batches_tracked")}
    for old, new in first.items():
        state[old] = state.pop(f"bn.{new}")
    state._metadata[""]["version"] = 1
    _, target, _ = made("ConvBn2d")
    with torch.no_grad():
        target.bn.weight.zero_()
    target.load_state_dict(state)
    assert torch.equal(target.bn.weight, module.bn.weight)


def test_parametrized_weights_stay_so():
    class Doubled(nn.Module):
        def forward(self, weight):
            return 2 * weight

    linear = nn.Linear(3, 2)
    parametrize.register_parametrization(linear, "weight", Doubled())
    linear.qconfig = QCONFIG
    module = nnqat.Linear.from_float(linear)
    assert parametrize.is_parametrized(module, "weight")
    assert torch.equal(module.weight, linear.weight)


@pytest.mark.parametrize("kind", ["Embedding", "EmbeddingBag"])
def test_tables(kind):
    table = getattr(nn, kind)(10, 4)
    table.qconfig = default_embedding_qat_qconfig
    module = getattr(nnqat, kind).from_float(table)
    indices = torch.tensor([[1, 2], [2, 9]])
    y = module(indices)
    y.sum().backward()
    assert table.weight.grad.abs().sum() > 0  # it is the same parameter
    step = (table.weight.amax(1) - table.weight.amin(1)).max() / 255
    assert (y - table(indices)).abs().max() <= 0.51 * step
    assert type(module.to_float()) is type(table)
    table.qconfig = QCONFIG
    with pytest.raises(ValueError, match="float_qparams"):
        getattr(nnqat, kind).from_float(table)


def test_dynamic():
    qconfig = qobserve.default_dynamic_qat_qconfig
    module = nnqat.dynamic.Linear(4, 2, qconfig=qconfig)
    assert module(torch.randn(3, 4)).shape == (3, 2)
    with pytest.raises(ValueError, match="keeps no memory"):
        nnqat.dynamic.Linear(4, 2, qconfig=QCONFIG)


def test_dynamic_training_rounds_the_input():
    model = nn.Sequential(nn.Linear(4, 2)).train()
    model.qconfig = qobserve.default_dynamic_qat_qconfig
    prepared = qobserve.prepare_qat(model, {nn.Linear: nnqat.dynamic.Linear})
    x = torch.randn(3, 4)
    linear = prepared[0]
    rounded = qobserve.default_dynamic_fake_quant()(x)
    expected = nn.functional.linear(rounded, linear.weight_fake_quant(linear.weight), linear.bias)
    torch.testing.assert_close(prepared(x), expected)
    mapping = {nnqat.dynamic.Linear: qtensor.nn.quantized.dynamic.Linear}
    converted = qobserve.convert(prepared, mapping)
    torch.testing.assert_close(converted(x), expected, atol=0.05, rtol=0)


def test_refusals():
    linear = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="expects a Linear with a qconfig"):
        nnqat.Linear.from_float(linear)
    with pytest.raises(TypeError, match="expects a Conv2d, got Linear"):
        nnqat.Conv2d.from_float(linear)
    with pytest.raises(ValueError, match="needs a qconfig, got None"):
        nnqat.Linear(2, 2)
    container = nni.LinearBn1d(nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False))
    container.qconfig = QCONFIG
    with pytest.raises(ValueError, match="affine=True"):
        nniqat.LinearBn1d.from_float(container)
