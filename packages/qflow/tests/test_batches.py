"""How a user's data becomes calls of the model."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from qflow._batches import Batches


class OneInput(nn.Module):
    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return x * scale


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class AllOptional(nn.Module):
    def forward(self, ids: Tensor | None = None, mask: Tensor | None = None) -> Tensor | None:
        return ids if mask is None else mask


class Anything(nn.Module):
    def forward(self, *args: Tensor, **kwargs: Tensor) -> int:
        return len(args) + 10 * len(kwargs)


X = torch.arange(6.0).reshape(3, 2)
LABELS = torch.tensor([0, 1, 2])


def results(model: nn.Module, data: object) -> list[object]:
    return [call(model) for call in Batches(model, data)]


def test_one_tensor_or_dictionary_is_one_batch() -> None:
    assert torch.equal(*results(OneInput(), X), X)
    assert torch.equal(*results(OneInput(), {"x": X}), X)


def test_tensors_tuples_and_dictionaries() -> None:
    assert len(results(OneInput(), [X, (X,), [X], {"x": X, "scale": 2.0}])) == 4
    assert torch.equal(results(TwoInputs(), [(X, X)])[0], X + X)
    assert results(Anything(), [(X, X, X), {"a": X, "b": X}]) == [3, 20]


def test_a_dataloader_with_labels() -> None:
    batches = Batches(OneInput(), DataLoader(TensorDataset(X, LABELS), batch_size=2))
    assert [call.args[0].shape for call in batches] == [(2, 2), (1, 2)]
    assert "first 1" in batches.notes[0] and "labels" in batches.notes[0]


def test_names_that_forward_lacks_are_left_out() -> None:
    batches = Batches(OneInput(), [{"x": X, "label": LABELS}])
    assert [set(call.kwargs) for call in batches] == [{"x"}]
    assert "label" in batches.notes[0]


def test_a_model_whose_parameters_all_have_defaults_gets_the_first_item() -> None:
    batches = Batches(AllOptional(), [(X, LABELS)])
    assert [len(call.args) for call in batches] == [1]


def test_positional_arguments_end_with_the_last_one_given() -> None:
    (call,) = Batches(AllOptional(), [{"mask": X}])
    assert call.positional(AllOptional()) == (None, X)
    (call,) = Batches(OneInput(), [X])
    assert call.positional(OneInput()) == (X,)


@pytest.mark.parametrize("data", [None, 3, "images/"])
def test_data_that_is_no_iterable_of_batches(data: object) -> None:
    with pytest.raises(TypeError, match="iterable of batches .* got " + type(data).__name__):
        Batches(OneInput(), data)


def test_a_batch_of_an_unknown_kind_is_named_by_its_place() -> None:
    with pytest.raises(TypeError, match="batch 1 of the data is of type int"):
        list(Batches(OneInput(), [X, 7]))


def test_too_few_inputs_are_named() -> None:
    with pytest.raises(ValueError, match=r"gives 1 inputs, but forward\(\) needs 2: x, y"):
        list(Batches(TwoInputs(), [X]))
