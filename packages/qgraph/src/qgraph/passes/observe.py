"""observe: the observers that the plan asks for are inserted, and modules swapped that need it.

Each set of parameters has one observer, called wherever a tensor of the set is produced. Operators
that share parameters need none: what they give lies within what they were given.
"""

from typing import Any

from torch.fx import GraphModule, Node

from qobserve import FakeQuantizeBase

from .._graph import add_module, shallow_copy
from .._plan import Decision, NodePlan, Plan


def observe(
    model: GraphModule, plan: Plan, is_qat: bool = False
) -> tuple[GraphModule, tuple[str | None, ...]]:
    """Insert the observers of ``plan``.

    Args:
        model: a fused graph.
        plan: what becomes of its nodes.
        is_qat: replace modules by those that train fake-quantized.

    Returns:
        the model, and the observers' qualified names in the order of ``plan.observers``, ``None``
        where there is nothing to observe.
    """
    _give_calls_modules_of_their_own(model, plan)
    _swap_custom_modules(model, plan)
    if is_qat:
        _swap_for_training(model, plan)
    paths = [_add_observer(model, plan, place) for place in range(len(plan.observers))]
    for node in list(model.graph.nodes):
        node_plan = plan.nodes[node.name]
        if node_plan.output is None or node_plan.decision is Decision.SHARED:
            continue
        path = paths[node_plan.output]
        if path is not None:
            _insert(model, plan, node, path)
    if is_qat:
        _round_dynamic_inputs(model, plan)
    return model, tuple(paths)


def _give_calls_modules_of_their_own(model: GraphModule, plan: Plan) -> None:
    """A quantized module called several times becomes several, each with its own parameters."""
    calls: dict[str, list[Node]] = {}
    for node in model.graph.nodes:
        if node.op == "call_module" and plan.nodes[node.name].decision is not Decision.SHARED:
            calls.setdefault(node.target, []).append(node)
    for path, nodes in calls.items():
        if any(plan.nodes[node.name].decision.is_quantized for node in nodes):
            for node in nodes[1:]:
                module = shallow_copy(model.get_submodule(path))
                node.target = add_module(model, path, module)


def _swap_custom_modules(model: GraphModule, plan: Plan) -> None:
    for node in model.graph.nodes:
        row = plan.nodes[node.name].row
        if plan.nodes[node.name].decision is not Decision.STATIC or row is None:
            continue
        if row.observed_module is not None:
            module: Any = shallow_copy(model.get_submodule(node.target))
            module.qconfig = plan.nodes[node.name].qconfig
            observed_class: Any = row.observed_module
            model.set_submodule(node.target, observed_class.from_float(module))


def _swap_for_training(model: GraphModule, plan: Plan) -> None:
    for node in model.graph.nodes:
        node_plan = plan.nodes[node.name]
        if node.op != "call_module" or not node_plan.decision.is_quantized:
            continue
        if node_plan.row is not None and node_plan.row.qat_module is not None:
            module: Any = shallow_copy(model.get_submodule(node.target))
            module.qconfig = node_plan.qconfig
            qat_class: Any = node_plan.row.qat_module
            trained = qat_class.from_float(module)
            trained.weight_fake_quant.name = f"{node.target}.weight"
            model.set_submodule(node.target, trained)


def _round_dynamic_inputs(model: GraphModule, plan: Plan) -> None:
    """What will be quantized at run time is trained with its own range, batch by batch."""
    for node in list(model.graph.nodes):
        node_plan = plan.nodes.get(node.name)  # none for the calls of observers
        if node_plan is None or node_plan.decision is not Decision.DYNAMIC:
            continue
        module: Any = node_plan.qconfig.activation()
        if isinstance(module, FakeQuantizeBase):
            module.name = f"{_label(node_plan)}.input"
            path = add_module(model, f"{node.name}_input_fake_quantize", module)
            tensor = node.args[0]
            with model.graph.inserting_before(node):
                node.replace_input_with(tensor, model.graph.call_module(path, (tensor,)))


def _add_observer(model: GraphModule, plan: Plan, place: int) -> str | None:
    observer_plan = plan.observers[place]
    if observer_plan.constructor is None:
        return None
    observer: Any = observer_plan.constructor()
    observer.name = _label(plan.nodes[observer_plan.label])
    observer.train(model.training)
    return add_module(model, f"activation_post_process_{place}", observer)


def _label(node: NodePlan) -> str:
    """How messages name the tensor that ``node`` produces."""
    if node.op == "call_module" or not node.scope:
        return node.target if node.op == "call_module" else node.name
    return f"{node.scope}.{node.name}"


def _insert(model: GraphModule, plan: Plan, node: Node, path: str) -> None:
    # An operator in float keeps its value for readers in float.
    everyone = plan.nodes[node.name].decision is Decision.STATIC
    readers = [r for r in node.users if everyone or plan.reads_quantized(r.name, node.name)]
    with model.graph.inserting_before(_place_after(node)):
        observed = model.graph.call_module(path, (node,))
    for reader in readers:
        reader.replace_input_with(node, observed)


def _place_after(node: Node) -> Node:
    """The first place after ``node``; inputs of the model stay together."""
    after = node.next
    while after.op == "placeholder":
        after = after.next
    return after
