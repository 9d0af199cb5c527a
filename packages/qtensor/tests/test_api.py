"""The public surface: names, and that each is one object."""

import importlib

import pytest
import torch

import qtensor

LEGACY = {
    "nn.quantized": """
        Linear Conv2d Embedding Quantize DeQuantize ReLU6 FloatFunctional FXFloatFunctional
        QFunctional
    """,
    "nn.quantized.dynamic": "Linear",
    "nn.quantized.reference": "Linear Conv2d Embedding",
    "nn.intrinsic": """
        ConvReLU2d LinearReLU ConvBn2d ConvBnReLU2d LinearBn1d ConvAdd2d ConvAddReLU2d
        ConvHardtanh2d LinearHardtanh LinearLeakyReLU LinearTanh
    """,
    "nn.intrinsic.quantized": """
        ConvReLU2d ConvAdd2d ConvAddReLU2d ConvHardtanh2d LinearReLU LinearHardtanh
        LinearLeakyReLU LinearTanh
    """,
    "nn.intrinsic.quantized.dynamic": "LinearReLU",
    "ops": """
        linear linear_relu linear_leaky_relu linear_tanh linear_dynamic conv2d add add_relu
        add_scalar mul mul_scalar matmul cat
    """,
}


@pytest.mark.parametrize("path", LEGACY)
def test_legacy_names_have_a_home(path):
    module = importlib.import_module(f"qtensor.{path}")
    for name in LEGACY[path].split():
        assert getattr(module, name).__doc__, name


def test_public_functions_and_classes_are_documented():
    for name, value in vars(qtensor).items():
        if callable(value) and not name.startswith("_"):
            assert value.__doc__, name


def test_legacy_dtypes_are_accepted_while_torch_has_them():
    for name in ("quint8", "qint8", "qint32"):
        ours = getattr(qtensor, name)
        assert qtensor.as_qdtype(ours.storage) is ours
        theirs = getattr(torch, name, None)
        if theirs is not None:
            assert qtensor.as_qdtype(theirs) is ours and ours == theirs
            assert hash(ours) == hash(theirs)
    with pytest.raises(TypeError, match="float32"):
        qtensor.as_qdtype(torch.float32)
    with pytest.raises(TypeError, match="scheme"):
        qtensor.as_qscheme("per_tensor")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((0.0,), "scale"),
        ((float("inf"),), "scale"),
        ((1.0, -1), "zero_point"),
        ((1.0, 200, qtensor.quint8, None, 0, 127), "zero_point"),
        ((1.0, 0, qtensor.quint8, None, 5, 5), "quant_min < quant_max"),
        ((1.0, 0, qtensor.quint8, None, -1, 127), "0 … 255"),
        ((torch.ones(2), torch.zeros(2)), "one scale"),
        ((1.0, 0, qtensor.qint8, 0), "tensor"),
        ((torch.ones(2), torch.zeros(3), qtensor.qint8, 0), "shape"),
        ((torch.ones(2).int(), torch.zeros(2), qtensor.qint8, 0), "floating-point"),
    ],
)
def test_qparams_are_checked(arguments, problem):
    with pytest.raises(ValueError, match=problem):
        qtensor.QParams(*arguments)


def test_qparams_compare_and_change():
    params = qtensor.QParams(0.5, 3)
    assert params == qtensor.QParams(torch.tensor([0.5]), torch.tensor(3), torch.uint8)
    assert params.replace(zero_point=4) != params and params.replace(zero_point=4).scale == 0.5
    assert len({params, qtensor.QParams(0.5, 3)}) == 1
    assert params != "something else"
