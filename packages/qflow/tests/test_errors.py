"""The error of each layer against float."""

import math

import torch
from torch import nn

import qtensor
from qflow._errors import layer_errors, recorded_outputs, sqnr


def test_sqnr_is_the_ratio_of_powers_in_decibels() -> None:
    reference = torch.tensor([3.0, 4.0])  # power 25
    assert sqnr(reference, reference + torch.tensor([0.5, 0.0])) == 20.0  # noise 0.25


def test_sqnr_at_the_edges() -> None:
    ones = torch.ones(3)
    assert sqnr(ones, ones) == math.inf
    assert sqnr(torch.zeros(3), ones) is None
    assert sqnr(ones, torch.ones(4)) is None


def test_outputs_are_recorded_by_name_while_the_block_runs() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with recorded_outputs(model, {"", "0", "1"}) as outputs:
        expected = model(torch.ones(1, 2))
    assert list(outputs) == ["0", "1", ""]
    assert torch.equal(outputs["1"], expected)
    model(torch.zeros(1, 2))
    assert torch.equal(outputs["1"], expected)


def test_quantized_tensors_are_recorded_as_the_floats_they_stand_for() -> None:
    class Quantize(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return qtensor.quantize_per_tensor(x, 0.5, 0, qtensor.quint8)

    model = Quantize()
    with recorded_outputs(model, {""}) as outputs:
        model(torch.tensor([1.2, 2.0]))
    assert type(outputs[""]) is torch.Tensor
    assert outputs[""].tolist() == [1.0, 2.0]


def test_only_layers_in_both_recordings_have_an_error() -> None:
    ones = torch.ones(2)
    assert layer_errors({"a": ones, "b": ones}, {"b": ones * 1.1, "c": ones}).keys() == {"b"}
