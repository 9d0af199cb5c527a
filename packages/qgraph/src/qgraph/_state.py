"""What ``prepare`` leaves on a model for ``convert``, and ``convert`` for reports."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.fx import GraphModule

from ._backend_config import BackendConfig
from ._custom_config import PrepareCustomConfig
from ._plan import Plan

_KEY = "qgraph"


@dataclass(frozen=True)
class State:
    """Attached to prepared and converted models, and kept by ``copy.deepcopy``; not when saved.

    Attributes:
        plan: what happens, or happened, to every node.
        backend: the backend that the model was prepared for.
        custom: the custom config that it was prepared with.
        observers: qualified names of the observers, in the order of ``plan.observers``; ``None``
            where the parameters arrive with the tensor.
        is_converted: whether ``convert`` has run.
    """

    plan: Plan
    backend: BackendConfig
    custom: PrepareCustomConfig
    observers: tuple[str | None, ...] = field(default=())
    is_converted: bool = False

    def __deepcopy__(self, memo: dict[int, Any]) -> "State":
        return self  # nothing in it is changed by any pass

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        # A model that is saved whole is saved as code, and traced anew when it is loaded: its nodes
        # need not have the names that the plan knows them by.
        return _forgotten, ()


def _forgotten() -> None:
    """The state of a model that was saved and loaded."""


def attach(model: nn.Module, state: State) -> None:
    """Leave ``state`` on ``model``."""
    holder: Any = model
    if not isinstance(model, GraphModule):
        holder.meta = {}  # as graph modules have one
    holder.meta[_KEY] = state


def state_of(model: nn.Module) -> State | None:
    """What was left on ``model``; ``None`` if nothing was."""
    meta: Any = getattr(model, "meta", None)
    return meta.get(_KEY) if isinstance(meta, dict) else None


def plan_of(model: nn.Module) -> Plan:
    """The plan that a prepared or converted model follows.

    Raises:
        ValueError: ``model`` is neither.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from qobserve import QConfigMapping
        >>> from qgraph import BackendConfig, plan_of, prepare
        >>> prepared = prepare(nn.ReLU().eval(), QConfigMapping(), (torch.ones(1),),
        ...                    backend_config=BackendConfig("empty"))
        >>> [node.decision.value for node in plan_of(prepared).operators()]
        ['float']
    """
    state = state_of(model)
    if state is None:
        raise ValueError(
            f"expected a model that prepare or convert returned, got a {type(model).__name__} "
            "without a plan"
        )
    return state.plan
