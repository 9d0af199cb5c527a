"""Writes are rewritten so that the graph computes what eager execution computes."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qgraph.passes.in_place import remove_in_place
from qgraph.passes.trace import trace


def add_to_name(x: Tensor, y: Tensor) -> Tensor:
    a = x * 1
    same = a
    a += y
    return a + same


def relu_without_reading_the_result(x: Tensor, y: Tensor) -> Tensor:
    a = x * 1
    F.relu(a, inplace=True)
    return a + y


def positional_inplace(x: Tensor, y: Tensor) -> Tensor:
    a = x * 1
    F.relu(a, True)
    return a - y


def methods(x: Tensor, y: Tensor) -> Tensor:
    a = x * 1
    a.add_(y).relu_()
    return a


def functions(x: Tensor, y: Tensor) -> Tensor:
    a = x * 1
    torch.relu_(a)
    return F.hardtanh_(a, -0.5, 0.5) + y + a


def numbers(x: Tensor, y: Tensor) -> Tensor:
    n = x.shape[0]
    same = n
    n += 1
    return x * n + y * same


class Module(nn.Module):
    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.function(x, y)


@pytest.mark.parametrize(
    "function",
    [
        add_to_name,
        relu_without_reading_the_result,
        positional_inplace,
        methods,
        functions,
        numbers,
    ],
)
def test_same_numbers_without_writes(function: Callable[[Tensor, Tensor], Tensor]) -> None:
    x, y = torch.randn(3, 4), torch.randn(3, 4)
    model = remove_in_place(trace(Module(function), (x, y)).model)
    model.recompile()
    expected = function(x.clone(), y.clone())
    torch.testing.assert_close(model(x, y), expected, rtol=0, atol=0)
    for node in model.graph.nodes:
        name = str(getattr(node.target, "__name__", node.target))
        assert not name.endswith("_") and not name.startswith("i"), name
        assert not node.kwargs.get("inplace")


def test_modules_are_copied_before_they_are_changed() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            a = x * 1
            self.relu(a)
            return self.relu(a - 1) + a

    original, x = Twice(), torch.randn(5)
    model = remove_in_place(trace(original, (x,)).model)
    model.recompile()
    torch.testing.assert_close(model(x), original(x), rtol=0, atol=0)
    assert original.relu.inplace and not model.relu.inplace
