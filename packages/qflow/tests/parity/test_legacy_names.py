"""Every public name of the legacy modules on observers, fake-quantize and QConfigs is here.

With the same parameters in the same order and the same defaults.
"""

import enum
import importlib
import inspect

import pytest

pytestmark = pytest.mark.parity
legacy = pytest.importorskip("torch.ao.quantization")

MODULES = [
    "observer",
    "fake_quantize",
    "qconfig",
    "qconfig_mapping",
    "_learnable_fake_quantize",
    "quantize",
    "stubs",
    "fx.custom_config",
]


def public_names(module):
    own = {
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__
        and (not name.startswith("_") or name == "_LearnableFakeQuantize")
    }
    return sorted(own.union(getattr(module, "__all__", ())))


NAMES = [
    (module, name)
    for module in MODULES
    for name in public_names(importlib.import_module(f"torch.ao.quantization.{module}"))
]


def parameters_of(thing):
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return []
    return [
        (p.name, p.default)
        for p in inspect.signature(thing).parameters.values()
        if p.kind == p.POSITIONAL_OR_KEYWORD
    ]


def same_default(ours, theirs):
    if theirs is inspect.Parameter.empty:
        return True  # a default where there was none breaks no call
    if isinstance(theirs, enum.Enum):
        return ours.name == theirs.name
    if callable(theirs):
        return ours.__name__ == theirs.__name__
    return ours == theirs  # a QDType or QScheme equals torch's of the same name


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[".".join(n) for n in NAMES])
def test_each_name_exists_and_takes_the_same_arguments(module, name):
    theirs = getattr(importlib.import_module(f"torch.ao.quantization.{module}"), name)
    ours = getattr(importlib.import_module(f"qflow.{module}"), name)
    wanted, given = parameters_of(theirs), parameters_of(ours)
    assert [n for n, _ in given[: len(wanted)]] == [n for n, _ in wanted]
    for (label, mine), (_, other) in zip(given, wanted, strict=False):
        assert same_default(mine, other), label
