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


class _Bytes:
    """The bytes of a model's modules by name, told once: who is called twice holds them once."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self.modules = modules
        self.told: set[str] = set()

    def __call__(self, name: str) -> int:
        if name in self.told or name not in self.modules:
            return 0
        self.told.add(name)
        return own_bytes(self.modules[name])


class _Tracing:
    def __init__(self, before: nn.Module, after: nn.Module, errors: Errors) -> None:
        self.before = dict(before.named_modules())
        self.after = dict(after.named_modules())
        self.bytes_before, self.bytes_after = _Bytes(self.before), _Bytes(self.after)
        self.errors = errors

    def rows(self, plan: Plan) -> Iterator[LayerReport]:
        yield from self._operators(plan, "")
        for name, module in self.before.items():
            if own_bytes(module) and name not in self.bytes_before.told:
                yield self._float(name, module, "not traced" if name in self.after else "not used")

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
        for name, child in plan.children.items():
            if name not in called:  # the model around it could not be traced
                yield from self._operators(child, f"{prefix}{name}.")

    def _operator(self, node: NodePlan, prefix: str) -> LayerReport:
        name = path = prefix + (node.target if node.op == "call_module" else node.name)
        parts = [prefix + part for part in node.fused or (node.target,)]
        if node.op == "call_module" and path not in self.before:
            owner = path.rpartition(".")[0]
            if f".{prefix}".endswith(f".{node.target}."):
                # One layer, prepared as a model of its own within one that cannot be traced.
                name = owner
            # Or a function that read parameters of the module it is called in.
            parts = [owner]
        new = self.after.get(path)
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
            was=self._was(node, prefix),
            became=became,
            why=node.why,
            weight=weight_scheme(new) if new is not None else "",
            bytes_before=sum(map(self.bytes_before, parts)),
            bytes_after=self.bytes_after(path),
            sqnr=self.errors.get(name),
        )

    def _was(self, node: NodePlan, prefix: str) -> str:
        """The type of the float operator, or those of the operators that were fused into it."""
        modules = {part: self.before.get(prefix + part) for part in node.fused}
        names = (type(module).__name__ if module else part for part, module in modules.items())
        return " + ".join(names) or node.kind

    def _inside(self, path: str, why: str) -> Iterator[LayerReport]:
        """Rows for what lies inside a module that stays as it is."""
        for name, module in self.before.items():
            if (name == path or name.startswith(f"{path}.")) and own_bytes(module):
                yield self._float(name, module, why)

    def _float(self, name: str, module: nn.Module, why: str) -> LayerReport:
        return LayerReport(
            name=name,
            was=type(module).__name__,
            became="float",
            why=why,
            bytes_before=self.bytes_before(name),
            bytes_after=self.bytes_after(name),
            sqnr=self.errors.get(name),
        )
