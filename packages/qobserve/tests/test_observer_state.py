"""What observers have seen, saved and loaded apart from the model's parameters."""

import pytest
import torch
from torch import nn

from qobserve import (
    HistogramObserver,
    QConfig,
    QuantStub,
    default_per_channel_weight_observer,
    get_observer_state_dict,
    load_observer_state_dict,
    prepare,
)


def prepared(bins=64):
    model = nn.Sequential(QuantStub(), nn.Linear(3, 3))
    model.qconfig = QConfig(
        HistogramObserver.with_args(bins=bins, quant_max=15, quant_min=0),
        default_per_channel_weight_observer,
    )
    return prepare(model, allow_list={QuantStub, nn.Linear})


def test_statistics_travel_without_parameters():
    calibrated, other = prepared(), prepared()
    calibrated(torch.randn(20, 3))
    saved = get_observer_state_dict(calibrated)
    assert not any("weight" in name for name in saved)
    weight = other[1].weight.clone()
    load_observer_state_dict(other, saved)
    assert torch.equal(other[1].weight, weight)
    for index in (0, 1):
        ours, theirs = (m[index].activation_post_process for m in (other, calibrated))
        assert ours.qparams() == theirs.qparams()


def test_what_does_not_fit_is_named():
    saved = get_observer_state_dict(prepared())
    del saved["0.activation_post_process.max_val"]
    saved["2.activation_post_process.eps"] = torch.ones(1)
    with pytest.raises(ValueError, match=r"missing: 0\..*max_val; unexpected: 2\..*eps"):
        load_observer_state_dict(prepared(), saved)
