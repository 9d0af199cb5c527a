"""Every warning points at the line of the user's code that led to it."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

import qflow

MAPPING = qflow.get_default_qconfig_mapping("x86")
BATCH = torch.randn(2, 4)


def wrapped() -> nn.Module:
    model = qflow.QuantWrapper(nn.Linear(4, 4)).eval()
    model.qconfig = qflow.get_default_qconfig("x86")  # type: ignore[assignment]  # not a module
    return model


def prepared_fx() -> nn.Module:
    return qflow.prepare_fx(nn.Linear(4, 4).eval(), MAPPING, (BATCH,))


def with_infinity(model: nn.Module) -> nn.Module:
    model(torch.tensor([[1.0, float("inf"), 0.0, 0.0]]))
    return model


WARNS: dict[str, tuple[str, Callable[[], object]]] = {
    "prepare_fx of a dictionary": (
        "a dictionary as qconfig_mapping",
        lambda: qflow.prepare_fx(nn.Linear(4, 4).eval(), {"": None}, (BATCH,)),
    ),
    "convert_fx unseen": ("have seen no data", lambda: qflow.convert_fx(prepared_fx())),
    "convert unseen": ("no data was seen", lambda: qflow.convert(qflow.prepare(wrapped()))),
    "infinities": (
        "NaN or infinite",
        lambda: with_infinity(qflow.prepare(wrapped())),
    ),
    "infinities in a traced model": (
        "NaN or infinite",
        lambda: with_infinity(prepared_fx()),
    ),
    "prepare without qconfig": ("no module has a qconfig", lambda: qflow.prepare(nn.Linear(4, 4))),
    "prepare_qat without qconfig": (
        "no module has a qconfig",
        lambda: qflow.prepare_qat(nn.Linear(4, 4)),
    ),
    "a name that is not there": (
        "no such module",
        lambda: qflow.quantize_dynamic(nn.Linear(4, 4), {"head"}),
    ),
    "the form of old": (
        "get_default_qconfig_mapping in place of",
        lambda: qflow.get_default_qconfig_dict(),
    ),
    "compute_dtype": (
        "is_dynamic=True",
        lambda: qflow.PlaceholderObserver.with_args(compute_dtype=torch.int8)(),
    ),
}


@pytest.mark.parametrize("name", WARNS)
@pytest.mark.filterwarnings("ignore")
def test_warnings_point_here(name: str) -> None:
    match, call = WARNS[name]
    with pytest.warns(Warning, match=match) as caught:
        call()
    assert {w.filename for w in caught if str(w.message)} == {__file__}
