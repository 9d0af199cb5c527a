"""The names, constructors, arguments and methods of what torch is removing, one by one.

Ours may take further arguments after the old ones, and have defaults where those had none.
"""

import importlib
import inspect
import re

import pytest
import torch

import qtensor
from qtensor import nn as qnn

pytest.importorskip("torch.ao.nn")

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),  # the old stack warns about itself
]

PACKAGES = [
    "intrinsic",
    "intrinsic.quantized",
    "intrinsic.quantized.dynamic",
    "quantized",
    "quantized.dynamic",
    "quantized.functional",
    "quantized.reference",
]

LATER = {"GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LayerNorm"} | {
    *("RNNBase", "RNNCell", "GRU", "GRUCell", "LSTM", "LSTMCell"),
    *("EmbeddingBag", "MultiheadAttention", "LinearPackedParams", "EmbeddingPackedParams"),
}
"""Recurrent layers and norms are another piece of work; packed parameters are gone."""

GONE = {
    "get_qconv",  # what from_float was made of
    "reset_parameters",
    "reset_running_stats",  # of modules that are not trained
}


def legacy_names():
    for package in PACKAGES:
        module = importlib.import_module(f"torch.ao.nn.{package}")
        for name, value in vars(module).items():
            own = getattr(value, "__module__", "").startswith("torch.ao.nn")
            public = inspect.isclass(value) or inspect.isfunction(value)
            if own and public and not name.startswith("_") and name not in LATER:
                yield package, name


def ours(package, name):
    return getattr(importlib.import_module(f"qtensor.nn.{package}"), name)


def theirs(package, name):
    return getattr(importlib.import_module(f"torch.ao.nn.{package}"), name)


def named(default):
    return re.sub(r"^(torch|qtensor)\.", "", str(default))


def arguments(value):
    return [
        (parameter.name, parameter.default)
        for parameter in inspect.signature(value).parameters.values()
        if parameter.kind is not parameter.KEYWORD_ONLY
    ]


@pytest.mark.parametrize(("package", "name"), list(legacy_names()))
def test_arguments(package, name):
    expected, given = arguments(theirs(package, name)), arguments(ours(package, name))
    assert [argument for argument, _ in given[: len(expected)]] == [name for name, _ in expected]
    for (_, old), (argument, new) in zip(expected, given, strict=False):
        assert old is inspect.Parameter.empty or named(old) == named(new), argument


def methods(kind):
    """The public methods that the stack itself defines, not torch.nn."""
    return {
        method
        for base in inspect.getmro(kind)
        if base.__module__.startswith("torch.ao.nn")
        for method, value in vars(base).items()
        if callable(getattr(kind, method)) and not method.startswith("_")
        if not isinstance(value, type) and method not in GONE
    }


@pytest.mark.parametrize(("package", "name"), list(legacy_names()))
def test_methods_and_their_arguments(package, name):
    old, new = theirs(package, name), ours(package, name)
    for method in methods(old) if inspect.isclass(old) else ():
        expected = [name for name, _ in arguments(getattr(old, method))]
        given = [name for name, _ in arguments(getattr(new, method))]
        # What a module is made from is called something else in every class there.
        made_from = 1 if method.startswith("from_") else 0
        if package == "quantized.dynamic" and method == "from_reference":
            expected = expected[:1]  # the output is float; the convolutions there do not know
        assert given[made_from : len(expected)] == expected[made_from:], method


PRINTED = {
    "quantized.Conv1d": (3, 6, 3, 2, 1, 1, 3, False),
    "quantized.Conv2d": (3, 6, 3),
    "quantized.Conv3d": (3, 6, 3, 1, 1, 2),
    "quantized.ConvTranspose1d": (3, 6, 3, 2, 1, 1),
    "quantized.ConvTranspose2d": (3, 6, 3),
    "intrinsic.quantized.ConvReLU1d": (3, 6, 3),
    "intrinsic.quantized.ConvReLU3d": (3, 6, 3),
    "intrinsic.quantized.ConvAdd2d": (3, 6, 3),
    "intrinsic.quantized.ConvAddReLU2d": (3, 6, 3),
    "quantized.reference.Conv2d": (3, 6, 3),
    "quantized.reference.ConvTranspose3d": (3, 6, 3, 2, 1),
    "quantized.reference.Linear": (3, 4),
    "quantized.reference.Embedding": (5, 3),
    "quantized.Embedding": (5, 3),
    "quantized.DeQuantize": (),
    "quantized.ReLU6": (),
    "quantized.Dropout": (0.3,),
    "quantized.FloatFunctional": (),
    "quantized.QFunctional": (),
    "quantized.FXFloatFunctional": (),
}


@pytest.mark.parametrize("path", PRINTED)
def test_printing(path):
    package, _, name = path.rpartition(".")
    expected = str(theirs(package, name)(*PRINTED[path])).replace("torch.", "qtensor.")
    assert str(ours(package, name)(*PRINTED[path])) == expected


CONSTRUCTED = PRINTED | {
    "quantized.Linear": (3, 4),
    "quantized.BatchNorm2d": (3,),
    "quantized.BatchNorm3d": (3,),
    "quantized.ConvTranspose3d": (3, 6, 3),
    "quantized.ELU": (0.5, 3),
    "quantized.Hardswish": (0.5, 3),
    "quantized.LeakyReLU": (0.5, 3),
    "quantized.Sigmoid": (0.5, 3),
    "quantized.Softmax": (1,),
    "quantized.PReLU": (0.5, 3),
    "quantized.dynamic.Linear": (3, 4),
    "quantized.dynamic.Conv1d": (3, 6, 3),
    "quantized.dynamic.ConvTranspose2d": (3, 6, 3, 2, 1),
    "quantized.reference.Conv3d": (3, 6, 3),
    "intrinsic.quantized.BNReLU2d": (3,),
    "intrinsic.quantized.LinearReLU": (3, 4),
    "intrinsic.quantized.LinearLeakyReLU": (3, 4, 0.1),
    "intrinsic.quantized.dynamic.LinearReLU": (3, 4),
}

WITHOUT_MEANING = {
    *("affine", "track_running_stats"),  # of batch norms that always are and do so
    *("is_decomposed", "weight_axis_int"),  # how scripted modules knew what others tell
    "inplace",  # where outputs have parameters of their own
    "version",  # of files of the old stack
}


@pytest.mark.parametrize("path", CONSTRUCTED)
def test_attributes(path):
    package, _, name = path.rpartition(".")
    old, new = (where(package, name)(*CONSTRUCTED[path]) for where in (theirs, ours))
    gone = GONE | WITHOUT_MEANING
    if "dynamic" in package:
        gone = gone | {"scale", "zero_point"}  # the output is float
    public = {each for each in dir(old) if not each.startswith("_")} - set(dir(torch.nn.Sequential))
    for attribute in public - gone:
        value = getattr(old, attribute)
        given = getattr(new, attribute)
        if isinstance(value, (bool, int, float, str, tuple, type(None))):
            assert given == value, attribute


@pytest.mark.parametrize("name", ["LinearReLU", "LinearTanh"])
def test_bias_of_fused_linear_layers_is_called_so(name):
    layer = getattr(qnn.intrinsic.quantized, name)(3, 4, bias=False, dtype=qtensor.qint8)
    assert layer.bias() is None
    assert torch.equal(layer.weight().int_repr(), torch.zeros(4, 3, dtype=torch.int8))
