"""Tracing: scopes, leaves, and what cannot be followed."""

import pytest
import torch
from torch import Tensor, nn

from qgraph import UntraceableError
from qgraph.passes.trace import trace


class Branches(nn.Module):
    """Untraceable: looks at values."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        if y.sum() > 0:  # LINE
            return y
        return -y


class Around(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.branches = Branches()

    def forward(self, x: Tensor) -> Tensor:
        return self.branches(self.before(x)) + 1


def targets(graph_module: torch.fx.GraphModule) -> list[str]:
    return [str(n.target) for n in graph_module.graph.nodes if n.op == "call_module"]


def test_nodes_know_their_module() -> None:
    class Doubles(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + x

    traced = trace(nn.Sequential(nn.Sequential(Doubles()), nn.Linear(2, 2)))
    scopes = {n.name: n.meta["scope"] for n in traced.model.graph.nodes if n.op != "placeholder"}
    assert scopes["add"] == ("0.0", Doubles)
    assert traced.untraceable == ()


def test_an_untraceable_module_becomes_a_leaf_by_itself() -> None:
    model = Around().eval()
    traced = trace(model)
    assert targets(traced.model) == ["before.0", "before.1", "branches"]
    (record,) = traced.untraceable
    assert (record.module, record.kind) == ("branches", "Branches")
    file, line = record.location.rsplit(":", 1)
    assert file == __file__
    with open(__file__) as source:
        assert "# LINE" in source.readlines()[int(line) - 1]
    assert "control flow" in record.reason
    x = torch.randn(3, 4)
    torch.testing.assert_close(traced.model(x), model(x))


def test_parameters_fetched_before_the_tracer_gave_up_are_fetched_again() -> None:
    class Tied(nn.Module):
        def __init__(self, weight: nn.Parameter) -> None:
            super().__init__()
            self.weight = weight

        def forward(self, x: Tensor) -> Tensor:
            y = x @ self.weight
            return y if y.sum() > 0 else -y

    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4))
            self.tied = Tied(self.weight)

        def forward(self, x: Tensor) -> Tensor:
            return self.tied(x) @ self.weight

    model, x = Root(), torch.randn(2, 4)
    torch.testing.assert_close(trace(model).model(x), model(x))


def test_skipped_names_and_classes_are_leaves() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.ReLU()))
    assert targets(trace(model, skipped_names=["0"]).model) == ["0", "1.0"]
    assert targets(trace(Around(), skipped_classes=[Branches]).model)[-1] == "branches"
    assert trace(Around(), skipped_classes=[Branches]).untraceable == ()


def test_a_root_that_cannot_be_traced_raises() -> None:
    with pytest.raises(UntraceableError, match=r"the model itself \(Branches\).*test_trace.py:"):
        trace(Branches())


def test_writes_into_views_make_a_leaf() -> None:
    class WritesIntoView(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 2
            first = y[:, :1]
            first += 10
            return y

    model, x = nn.Sequential(nn.Identity(), WritesIntoView()), torch.randn(2, 3)
    traced = trace(model, (x,))
    assert targets(traced.model) == ["0", "1"]
    assert "writes into a tensor" in traced.untraceable[0].reason
    torch.testing.assert_close(traced.model(x), model(x))


def test_a_module_that_writes_into_a_view_keeps_its_caller_whole() -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(x.view(-1)).view(2, 4) + x

    class Calls(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.keeps = nn.Linear(4, 4), Keeps()

        def forward(self, x: Tensor) -> Tensor:
            return self.keeps(self.linear(x))

    traced = trace(Calls().eval(), (torch.randn(2, 4),))
    assert targets(traced.model) == ["linear", "keeps"]
    assert [module.module for module in traced.untraceable] == ["keeps"]
    with pytest.raises(UntraceableError, match="another name"):
        trace(Keeps().eval(), (torch.randn(2, 4),))


def test_the_result_of_a_write_into_a_view_may_be_read() -> None:
    dropout = nn.Sequential(
        nn.Linear(4, 4), nn.Flatten(), nn.Dropout(inplace=True), nn.Linear(4, 2)
    )
    traced = trace(dropout.eval(), (torch.randn(2, 4),))
    assert targets(traced.model) == ["0", "1", "2", "3"] and not traced.untraceable


def test_example_inputs_tell_which_values_are_float_tensors() -> None:
    class Mixed(nn.Module):
        def forward(self, x: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
            return x.reshape(x.shape[0], -1), indices + 1

    x, indices = torch.randn(2, 3, 4), torch.tensor([1])
    values = {n.name: n.meta["value"] for n in trace(Mixed(), (x, indices)).model.graph.nodes}
    assert values["reshape"].shape == (2, 12) and values["reshape"].is_float
    assert not values["indices"].is_float and not values["add"].is_float
    assert not values["getitem"].is_tensor


def test_running_the_example_inputs_changes_nothing() -> None:
    class Adds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def forward(self, x: Tensor) -> Tensor:
            x += 1
            return torch.dropout(self.norm(x), 0.5, True)

    model, x = Adds(), torch.zeros(4, 3)
    before, state = model.norm.running_mean.clone(), torch.random.get_rng_state()
    trace(model, (x,))
    assert torch.equal(model.norm.running_mean, before) and model.norm.training
    assert torch.equal(x, torch.zeros(4, 3))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_example_inputs_that_do_not_run_are_noted() -> None:
    (note,) = trace(nn.Sequential(nn.Linear(4, 4)), (torch.randn(2, 5),)).notes
    assert "do not run" in note and "RuntimeError" in note


def test_arguments_left_out_of_the_example_inputs_are_none() -> None:
    class Masks(nn.Module):
        def forward(self, x: Tensor, mask: Tensor | None = None, scale: float = 2.0) -> Tensor:
            return (x if mask is None else x * mask) * scale

    x, mask = torch.randn(2, 4), torch.randn(4)
    for inputs in ((x,), (x, None), (x, None, 2.0)):
        without = trace(Masks(), inputs).model
        assert torch.equal(without(x), x * 2)
        assert torch.equal(without(x, None, 3.0), x * 3)
        with pytest.raises(ValueError, match="'mask' was None in the example inputs"):
            without(x, mask)

    given = trace(Masks(), (x, mask)).model
    assert torch.equal(given(x, mask), x * mask * 2)
