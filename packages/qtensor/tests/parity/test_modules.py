"""Modules against the ones that torch is removing, made from the same observed float modules.

Integers may differ by one step: the old kernels round the bias to a multiple of
``input_scale * weight_scale`` before adding it, ours adds it in float. Inputs stay within
0 … 127, since above that the old kernels saturate on CPUs without VNNI.
"""

import pytest
import torch
from torch import nn

import qtensor
from qtensor import nn as qnn

legacy = pytest.importorskip("torch.ao.quantization")
legacy_nn = pytest.importorskip("torch.ao.nn")

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # the old stack warns about itself
]

X = torch.randn(2, 8, 9, 9, generator=torch.Generator().manual_seed(0))
ROWS = X.flatten(2)[:, :, :64]


def observed(module, *inputs):
    for part in module.modules():  # theirs asks the inner module, ours the outer one first
        part.qconfig = legacy.get_default_qconfig("fbgemm")
    module.activation_post_process = module.qconfig.activation()
    module(*inputs)
    with torch.no_grad():
        module.activation_post_process(module(*inputs))
    return module.eval()


def conv(**geometry):
    torch.manual_seed(0)
    return nn.Conv2d(8, 12, 3, **geometry)


def linear():
    torch.manual_seed(0)
    return nn.Linear(64, 10)


def of_axes(name, **geometry):
    torch.manual_seed(0)
    return getattr(nn, name)(8, 12, 3, **geometry)


def image(axes):
    return torch.randn(2, 8, *[7] * axes, generator=torch.Generator().manual_seed(0))


def relu_pair(module, fused):
    return getattr(legacy_nn.intrinsic, fused)(module, nn.ReLU())


CASES = {
    "conv": (lambda: conv(padding=1), X, "quantized.Conv2d"),
    "conv strided": (lambda: conv(stride=2, groups=2), X, "quantized.Conv2d"),
    "conv dilated": (lambda: conv(dilation=2, bias=False), X, "quantized.Conv2d"),
    "conv relu": (
        lambda: relu_pair(conv(), "ConvReLU2d"),
        X,
        "intrinsic.quantized.ConvReLU2d",
    ),
    "conv reflect": (lambda: conv(padding=2, padding_mode="reflect"), X, "quantized.Conv2d"),
    "conv1d": (lambda: of_axes("Conv1d", padding=1), image(1), "quantized.Conv1d"),
    "conv3d": (lambda: of_axes("Conv3d", stride=2, groups=2), image(3), "quantized.Conv3d"),
    "conv1d relu": (
        lambda: relu_pair(of_axes("Conv1d"), "ConvReLU1d"),
        image(1),
        "intrinsic.quantized.ConvReLU1d",
    ),
    "conv3d relu": (
        lambda: relu_pair(of_axes("Conv3d", padding=1), "ConvReLU3d"),
        image(3),
        "intrinsic.quantized.ConvReLU3d",
    ),
    "linear": (linear, ROWS, "quantized.Linear"),
    "linear relu": (
        lambda: relu_pair(linear(), "LinearReLU"),
        ROWS,
        "intrinsic.quantized.LinearReLU",
    ),
}


def at(module, path):
    for name in path.split("."):
        module = getattr(module, name)
    return module


@pytest.mark.parametrize("case", CASES)
def test_from_float_and_forward(case):
    make, x, path = CASES[case]
    module = observed(make(), x)
    ours = at(qnn, path).from_float(module)
    theirs = at(legacy_nn, path).from_float(module)

    assert torch.equal(ours.weight().int_repr(), theirs.weight().int_repr())
    scales = theirs.weight().q_per_channel_scales().float()
    assert torch.equal(ours.weight().q_per_channel_scales(), scales)
    assert (ours.scale, ours.zero_point) == (theirs.scale, theirs.zero_point)
    assert ours._get_name() == theirs._get_name()

    parameters = (float((x.max() - x.min()) / 127), 64)
    given = qtensor.quantize_per_tensor(x, *parameters, qtensor.quint8, 0, 127)
    result = ours(given).int_repr().int()
    old = torch.quantize_per_tensor(given.dequantize(), *parameters, torch.quint8)
    assert torch.equal(old.int_repr(), given.int_repr())
    # Ours keeps to the observed 0 … 127, theirs may go beyond.
    expected = theirs(old).int_repr().int().clamp(max=127)
    difference = (result - expected).abs()
    assert difference.max() <= 1 and difference.float().mean() < 0.05


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_transposed(axes):
    """Per tensor, without groups: the old ones know no more of them."""
    module = of_axes(f"ConvTranspose{axes}d", stride=2, padding=1, output_padding=1)
    weight = module.weight.detach()
    scale = float(weight.abs().max() / 127)
    x = image(axes)
    parameters, output = (float((x.max() - x.min()) / 127), 64), (0.02, 64)
    ours = getattr(qnn.quantized, module.__class__.__name__)(
        8, 12, 3, stride=2, padding=1, output_padding=1
    )
    ours.set_weight_bias(qtensor.quantize_per_tensor(weight, scale, 0, qtensor.qint8), module.bias)
    ours.scale, ours.zero_point = output
    theirs = getattr(legacy_nn.quantized, module.__class__.__name__)(
        8, 12, 3, stride=2, padding=1, output_padding=1
    )
    theirs.set_weight_bias(torch.quantize_per_tensor(weight, scale, 0, torch.qint8), module.bias)
    theirs.scale, theirs.zero_point = output
    assert str(ours) == str(theirs)
    given = qtensor.quantize_per_tensor(x, *parameters, qtensor.quint8, 0, 127)
    old = torch.quantize_per_tensor(given.dequantize(), *parameters, torch.quint8)
    result = ours(given).int_repr()
    difference = (result.int() - theirs(old).int_repr().int()).abs()
    assert difference.max() <= 1 and difference.float().mean() < 0.05


@pytest.mark.parametrize("name", ["Conv1d", "Conv2d", "Conv3d"])
def test_dynamic_conv_is_closer_to_float(name):
    module = of_axes(name, padding=1)
    module.qconfig = legacy.default_dynamic_qconfig
    ours = getattr(qnn.quantized.dynamic, name).from_float(module)
    theirs = getattr(legacy_nn.quantized.dynamic, name).from_float(module)
    assert torch.equal(ours.weight().int_repr(), theirs.weight().int_repr())
    axes = int(name[-2])
    x = image(axes) * torch.tensor([1.0, 20.0]).view(-1, *[1] * (axes + 1))  # of two sizes
    expected = module(x)
    our_error, their_error = ((layer(x) - expected)[0].norm() for layer in (ours, theirs))
    assert our_error < their_error


def test_batch_norm():
    module = nn.BatchNorm2d(8).eval()
    nn.init.normal_(module.weight), nn.init.normal_(module.bias)
    observed(module, X)
    ours = qnn.quantized.BatchNorm2d.from_float(module)
    theirs = legacy_nn.quantized.BatchNorm2d.from_float(module)
    x = qtensor.quantize_per_tensor(X, 0.05, 64, qtensor.quint8)
    old = torch.quantize_per_tensor(X, 0.05, 64, torch.quint8)
    difference = ours(x).int_repr().int() - theirs(old).int_repr().int().clamp(max=127)
    assert difference.abs().max() <= 1


def test_dynamic_linear_is_closer_to_float():
    module = linear()
    module.qconfig = legacy.per_channel_dynamic_qconfig
    ours = qnn.quantized.dynamic.Linear.from_float(module)
    theirs = legacy_nn.quantized.dynamic.Linear.from_float(module)
    assert torch.equal(ours.weight().int_repr(), theirs.weight().int_repr())
    x = ROWS * torch.logspace(-1, 1, 8).reshape(1, 8, 1)  # rows of different sizes
    expected = module(x)
    our_error, their_error = ((layer(x) - expected).norm() for layer in (ours, theirs))
    assert our_error < their_error / 2


def test_embedding():
    torch.manual_seed(0)
    module = nn.Embedding(20, 16)
    module.qconfig = legacy.float_qparams_weight_only_qconfig
    ours = qnn.quantized.Embedding.from_float(module)
    theirs = legacy_nn.quantized.Embedding.from_float(module)
    indices = torch.tensor([0, 3, 19])
    # Theirs keeps scale and bias of each row in float32 too, but quantizes with its own rounding.
    assert torch.allclose(ours(indices), theirs(indices), atol=float(ours.weight_scales.max()))


def test_scalar_operators():
    x = qtensor.quantize_per_tensor(ROWS, 0.05, 60, qtensor.quint8)
    old = torch.quantize_per_tensor(ROWS, 0.05, 60, torch.quint8)
    for number in (0.5, -2.0, 30.0, -30.0):
        ours = qtensor.ops.add_scalar(x, number)
        theirs = torch.ops.quantized.add_scalar(old, number)
        assert ours.q_zero_point() == theirs.q_zero_point()
        assert ours.q_scale() == pytest.approx(theirs.q_scale())
        assert (ours.int_repr().int() - theirs.int_repr().int()).abs().max() <= 1
        ours = qtensor.ops.mul_scalar(x, number)
        theirs = torch.ops.quantized.mul_scalar(old, number)
        assert ours.q_zero_point() == theirs.q_zero_point()
        assert torch.equal(ours.int_repr(), theirs.int_repr())


def test_functions_on_quantized_tensors():
    x = qtensor.quantize_per_tensor(X, 0.05, 60, qtensor.quint8)
    old = torch.quantize_per_tensor(X, 0.05, 60, torch.quint8)
    functions = [
        nn.functional.relu,
        nn.functional.relu6,
        lambda t: nn.functional.hardtanh(t, -0.5, 0.75),
        lambda t: nn.functional.max_pool2d(t, 3, 2, 1),
        lambda t: t.permute(0, 2, 3, 1)[0],
        lambda t: torch.cat([t, t], 1),
        lambda t: t.clone().contiguous(memory_format=torch.channels_last),
    ]
    for function in functions:
        assert torch.equal(function(x).int_repr(), function(old).int_repr())
    averages = [
        lambda t: nn.functional.avg_pool2d(t, 3, 2, 1),
        lambda t: nn.functional.adaptive_avg_pool2d(t, (2, 3)),
    ]
    for function in averages:  # they round ties and intermediate sums differently
        difference = function(x).int_repr().int() - function(old).int_repr().int()
        assert difference.abs().max() <= 1
