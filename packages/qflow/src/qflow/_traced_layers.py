"""The rows of a report on a traced model, from the plan that it was converted by."""

from collections.abc import Iterator

from torch import nn

from qgraph import Decision, NodePlan, Plan

from ._errors import Errors
from ._layers import described, own_bytes, weight_scheme
from ._report import LayerReport


def traced_layers(
    before: nn.Module, after: nn.Module, plan: Plan, errors: Errors
) -> tuple[LayerReport, ...]:
    """One row for each operator of a traced model, and for whatever else holds parameters.

    Args:
        before: the float model.
        after: the converted one.
        plan: what was decided for each operator of its graph.
        errors: SQNR by module name, in dB.
    """
    return tuple(_Tracing(before, after, errors).rows(plan))


class _Tracing:
    def __init__(self, before: nn.Module, after: nn.Module, errors: Errors) -> None:
        self.before = dict(before.named_modules())
        self.after = dict(after.named_modules())
        self.errors = errors
        self.counted: set[str] = set()  # a module called twice holds its parameters once

    def rows(self, plan: Plan) -> Iterator[LayerReport]:
        yield from self._operators(plan, "")
        for name, module in self.before.items():
            if own_bytes(module) and name not in self.counted:
                why = "held by a module that has no row in the backend"
                yield self._float(name, module, why if name in self.after else "not used")

    def _operators(self, plan: Plan, prefix: str) -> Iterator[LayerReport]:
        stopped = {untraceable.module: untraceable for untraceable in plan.untraceable}
        for node in plan.operators():
            if node.op == "call_module" and node.target in plan.children:
                yield from self._operators(plan.children[node.target], f"{prefix}{node.target}.")
            elif node.op == "call_module" and node.target in stopped:
                why = f"cannot be traced: {stopped[node.target].location}"
                yield from self._inside(prefix + node.target, why)
            else:
                yield self._operator(node, prefix)
        called = {node.target for node in plan.operators()}
        for name in plan.children.keys() - called:  # where the model itself could not be traced
            yield from self._operators(plan.children[name], f"{prefix}{name}.")

    def _operator(self, node: NodePlan, prefix: str) -> LayerReport:
        path = prefix + (node.target if node.op == "call_module" else node.name)
        new = self.after.get(path)
        parts = [prefix + part for part in node.fused or (node.target,)]
        name = path
        if node.op == "call_module" and path not in self.before and prefix[:-1] in self.before:
            # A single layer, prepared as a model of its own within one that cannot be traced.
            name = prefix[:-1]
            parts = [name]
        if not node.decision.is_quantized:
            became = "float"
        elif node.decision is Decision.SHARED:
            became = "on integers"
        elif node.op == "call_module" and new is not None:
            became = described(new)
        else:
            became = f"quantized {node.kind}"
        return LayerReport(
            name=name,
            was=" + ".join(self._kind(part, prefix) for part in parts) if node.fused else node.kind,
            became=became,
            why=node.why,
            weight=weight_scheme(new) if new is not None else "",
            bytes_before=sum(map(self._count, parts)),
            bytes_after=own_bytes(new) if new is not None else 0,
            sqnr=self.errors.get(name),
        )

    def _kind(self, part: str, prefix: str) -> str:
        module = self.before.get(part)
        return part.removeprefix(prefix) if module is None else type(module).__name__

    def _count(self, name: str) -> int:
        """The bytes of a float module, the first time it is asked for."""
        if name in self.counted or name not in self.before:
            return 0
        self.counted.add(name)
        return own_bytes(self.before[name])

    def _inside(self, path: str, why: str) -> Iterator[LayerReport]:
        """Rows for what lies inside a module that stays as it is."""
        for name, module in self.before.items():
            if (name == path or name.startswith(f"{path}.")) and own_bytes(module):
                yield self._float(name, module, why)

    def _float(self, name: str, module: nn.Module, why: str) -> LayerReport:
        new = self.after.get(name)
        return LayerReport(
            name=name,
            was=type(module).__name__,
            became="float",
            why=why,
            bytes_before=self._count(name),
            bytes_after=own_bytes(new) if new is not None else 0,
            sqnr=self.errors.get(name),
        )
