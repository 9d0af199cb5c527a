"""The plan: what happens to every node of a graph, and why, decided before anything changes."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Any

from torch import nn

from ._backend_config import BackendPatternConfig
from ._dtype_config import DTypeConfig
from ._observer_spec import ObserverSpec
from ._tracer import Untraceable


class Decision(Enum):
    """What becomes of a node."""

    STATIC = "static"
    """Quantized inputs, quantized output with calibrated parameters."""
    SHARED = "shared"
    """Works on integers and passes its input's parameters on."""
    DYNAMIC = "dynamic"
    """Quantized weights; activations quantized as they come."""
    WEIGHT_ONLY = "weight_only"
    """Quantized weights; float activations."""
    STANDALONE = "standalone"
    """A module prepared on its own."""
    FLOAT = "float"
    """Left as it is."""

    @property
    def is_quantized(self) -> bool:
        """Whether the operator itself runs in integers or on quantized weights."""
        return self not in (Decision.FLOAT, Decision.STANDALONE)


@dataclass(frozen=True)
class NodePlan:
    """What happens to one node.

    Attributes:
        name: the node's name in the graph.
        op: its kind, in the words of ``torch.fx``: ``"call_module"``, ``"placeholder"`` …
        target: the module's qualified name, or the function's or method's name.
        kind: the class of the module, or again the function's name.
        scope: the qualified name of the module in whose ``forward`` it is called.
        is_operator: whether it computes tensors; what reads or computes sizes does not.
        decision: what becomes of it.
        why: the reason, in words.
        row: the backend's row for it, where there is one.
        qconfig: the qconfig that applies to it.
        dtype_config: the row's combination of dtypes that fits the qconfig.
        inputs: names of the nodes it reads in quantized form.
        output: the place in :attr:`Plan.observers` of its output's parameters, if quantized.
        fused: where it was fused, the targets of the operators it was made of, in order.
    """

    name: str
    op: str
    target: str
    kind: str
    scope: str
    is_operator: bool
    decision: Decision
    why: str
    row: BackendPatternConfig | None = None
    qconfig: Any = None
    dtype_config: DTypeConfig | None = None
    inputs: tuple[str, ...] = ()
    output: int | None = None
    fused: tuple[str, ...] = ()


@dataclass(frozen=True)
class ObserverPlan:
    """One set of quantization parameters, shared by one or more tensors.

    Attributes:
        constructor: makes the observer; ``None`` where the parameters arrive with the tensor.
        spec: what that observer says of the tensors.
        label: what messages call it: the first tensor's producer.
    """

    constructor: Callable[[], nn.Module] | None
    spec: ObserverSpec
    label: str


def _frozen(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
    return MappingProxyType(dict(mapping))


@dataclass(frozen=True)
class Plan:
    """What happens to every node of a model, and why. Immutable.

    Attributes:
        nodes: by node name, in the order of the graph.
        observers: the sets of quantization parameters.
        tensors: for each node whose output exists in quantized form, the place of its parameters
            in ``observers``.
        untraceable: the modules that could not be traced.
        notes: anything else worth knowing, such as example inputs that do not run.
        children: plans of the modules prepared on their own, by qualified name.
    """

    nodes: Mapping[str, NodePlan] = field(default_factory=dict)
    observers: tuple[ObserverPlan, ...] = ()
    tensors: Mapping[str, int] = field(default_factory=dict)
    untraceable: tuple[Untraceable, ...] = ()
    notes: tuple[str, ...] = ()
    children: "Mapping[str, Plan]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("nodes", "tensors", "children"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))

    def operators(self) -> Iterator[NodePlan]:
        """The plans of the nodes that compute tensors, in order."""
        return (node for node in self.nodes.values() if node.is_operator)

    def counts(self) -> dict[Decision, int]:
        """How many operators each decision was taken for, children included."""
        counts = Counter(node.decision for node in self.operators())
        for child in self.children.values():
            counts.update(child.counts())
        return dict(counts)

    def reads_quantized(self, reader: str, tensor: str) -> bool:
        """Whether node ``reader`` reads the output of node ``tensor`` in quantized form."""
        return reader in self.nodes and tensor in self.nodes[reader].inputs

    def __deepcopy__(self, memo: dict[int, Any]) -> "Plan":
        return self  # nothing in it ever changes

    def __reduce__(self) -> tuple[Any, ...]:
        arguments = (
            dict(self.nodes),
            self.observers,
            dict(self.tensors),
            self.untraceable,
            self.notes,
            dict(self.children),
        )
        return Plan, arguments

    def __str__(self) -> str:
        lines = [
            f"{node.target:<32} {node.kind:<20} {node.decision.value:<12} {node.why}"
            for node in self.operators()
        ]
        lines += map(str, self.untraceable)
        lines += self.notes
        for name, child in self.children.items():
            lines += [f"{name}:", *(f"  {line}" for line in str(child).splitlines())]
        return "\n".join(lines)
