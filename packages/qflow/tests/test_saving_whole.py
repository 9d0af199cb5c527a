"""Models saved whole, or sent to another process, as ``torch.save(model)`` does it."""

import io

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import qflow


class Net(nn.Module):
    """Every kind of row's function: of a convolution called with parameters, pooling, a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3))
        self.bn, self.fc = nn.BatchNorm2d(4), nn.Linear(4 * 9, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.max_pool2d(F.relu(self.bn(F.conv2d(x, self.weight))), 2)
        y = y + torch.sigmoid(y)
        return self.fc(y.flatten(1))


def reloaded(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.fixture(scope="module")
def models():
    """An input, and what is prepared and converted for it."""
    torch.manual_seed(0)
    x = torch.randn(5, 3, 8, 8)
    prepared = qflow.prepare_fx(Net().eval(), qflow.get_default_qconfig_mapping("x86"), (x,))
    prepared(x)
    return x, prepared, qflow.convert_fx(prepared)


def test_converted_models_compute_what_they_did(models):
    x, _, converted = models
    result = reloaded(converted)
    assert torch.equal(result(x), converted(x))
    assert "ConvReLU" in str(result)


def test_prepared_models_compute_what_they_did_and_say_why_they_cannot_be_converted(models):
    x, prepared, _ = models
    result = reloaded(prepared)
    assert torch.equal(result(x), prepared(x))
    with pytest.raises(ValueError, match="saved whole and loaded; load its state dict instead"):
        qflow.convert_fx(result)


def test_statistics_are_saved_as_a_state_dict(models):
    x, prepared, converted = models
    mapping = qflow.get_default_qconfig_mapping("x86")
    other = qflow.prepare_fx(Net().eval(), mapping, (x,))
    other.load_state_dict(prepared.state_dict())
    assert torch.equal(qflow.convert_fx(other)(x), converted(x))
