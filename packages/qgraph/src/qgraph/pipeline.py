"""The passes in their order.

    trace → in_place → identity → functional → fuse → plan → observe
        ┆ calibrate ┆ reference → lower → cleanup

Tracing comes before all of them (``passes/trace.py``), since how a model is traced decides
whether it is prepared as a whole or in parts (``_prepare.py``).
"""

from torch.fx import GraphModule

from ._backend_config import BackendConfig
from ._custom_config import ConvertCustomConfig, PrepareCustomConfig
from ._plan import Plan
from ._rows import Rows
from .passes.cleanup import clean_up
from .passes.functional import functional_to_module
from .passes.fuse import fuse
from .passes.identity import remove_identities
from .passes.in_place import remove_in_place
from .passes.lower import lower
from .passes.observe import observe
from .passes.plan import make_plan
from .passes.reference import to_reference

Observers = tuple[str | None, ...]
"""The names of a model's observers, in the order of ``Plan.observers``."""


def fused(model: GraphModule, rows: Rows, is_qat: bool) -> GraphModule:
    """A traced model with its sequences of operators fused."""
    model = remove_in_place(model)
    model = remove_identities(model)
    model = functional_to_module(model, rows)
    model = fuse(model, rows, is_qat)
    return clean_up(model)


def observed(
    model: GraphModule,
    rows: Rows,
    custom: PrepareCustomConfig,
    standalone: dict[str, PrepareCustomConfig],
    is_qat: bool,
) -> tuple[GraphModule, Plan, Observers]:
    """A traced model, whose nodes have qconfigs, with the observers that its plan asks for."""
    model = fused(model, rows, is_qat)
    plan = make_plan(model, rows, custom, standalone, is_qat)
    model, observers = observe(model, plan, is_qat)
    return clean_up(model), plan, observers


def quantized(
    model: GraphModule,
    plan: Plan,
    observers: Observers,
    custom: ConvertCustomConfig,
    backend: BackendConfig | None,
) -> GraphModule:
    """A calibrated model in integers; without a backend, the reference model."""
    model = to_reference(model, plan, observers, custom)
    if backend is not None:
        model = lower(model, plan, backend)
    return clean_up(model)
