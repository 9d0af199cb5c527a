"""The flows keep the legacy signatures, and give the legacy numbers where those are right."""

import inspect
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

import qflow

pytestmark = pytest.mark.parity
legacy = pytest.importorskip("torch.ao.quantization")
legacy_fx = pytest.importorskip("torch.ao.quantization.quantize_fx")

X = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _no_deprecation_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (qflow.prepare_fx, legacy_fx.prepare_fx),
        (qflow.convert_fx, legacy_fx.convert_fx),
        (qflow.convert_to_reference_fx, legacy_fx.convert_to_reference_fx),
        (qflow.fuse_fx, legacy_fx.fuse_fx),
        (qflow.quantize_dynamic, legacy.quantize_dynamic),
        (qflow.get_default_qconfig_mapping, legacy.get_default_qconfig_mapping),
    ],
)
def test_legacy_arguments_keep_their_names_places_and_defaults(
    ours: Callable[..., Any], theirs: Callable[..., Any]
) -> None:
    def positional(function: Callable[..., Any]) -> list[tuple[str, Any]]:
        parameters = inspect.signature(function).parameters.values()
        return [(p.name, p.default) for p in parameters if p.kind is not p.KEYWORD_ONLY]

    assert positional(ours) == positional(theirs)


def test_static_numbers_are_those_of_the_legacy_flow() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1024, 10),
    ).eval()
    outputs = []
    for package in (qflow, legacy):
        # 0…127: above it the legacy kernels saturate. Ranges by minimum and maximum, since the
        # histograms differ on purpose.
        qconfig = package.QConfig(
            package.MinMaxObserver.with_args(quant_min=0, quant_max=127),
            package.default_per_channel_weight_observer,
        )
        mapping = package.QConfigMapping().set_global(qconfig)
        fx = qflow if package is qflow else legacy_fx
        prepared = fx.prepare_fx(model, mapping, (X,))
        prepared(X)
        outputs.append(fx.convert_fx(prepared)(X))
    step = outputs[0].unique().diff().min()
    difference = ((outputs[0] - outputs[1]).abs() / step).round()
    assert difference.max() <= 1  # requantization rounds in another order
    assert (difference > 0).double().mean() < 0.02


def test_dynamic_is_closer_to_float_than_legacy() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 32)).eval()
    x = torch.randn(32, 64) * torch.logspace(-2, 2, 32).unsqueeze(1)  # rows of many magnitudes
    expected = model(x)

    def error(quantized: nn.Module) -> torch.Tensor:
        return ((quantized(x) - expected).norm(dim=1) / expected.norm(dim=1)).max()

    ours = qflow.quantize_dynamic(model, {nn.Linear})
    theirs = legacy.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    assert error(ours) < 0.2 * error(theirs)
