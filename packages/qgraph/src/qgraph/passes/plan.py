"""plan: decides for every node what becomes of it, and why, without changing anything.

One walk in the order of the graph. Quantization parameters belong to tensors: a tensor has one
set of them, chosen by its producer if that is quantized, else by the first quantized operator
that reads it. Operators that share parameters (pooling, reshape, cat) join sets.
"""

import operator
from dataclasses import replace
from typing import Any

from torch import nn
from torch.fx import GraphModule, Node
from torch.nn.utils.parametrize import is_parametrized

from .._backend_config import BackendPatternConfig, ObservationType
from .._custom_config import PrepareCustomConfig
from .._dtype_config import DTypeConfig
from .._fixed_output import fixed_output
from .._graph import describe, modules_of, reads_of
from .._observer_spec import ObserverSpec
from .._plan import Decision, NodePlan, Plan
from .._quant_type import QuantType
from .._rows import Rows, pattern_of
from .._tensor_sets import TensorSets
from .._tracer import refuse_argument
from .values import fits_rank, value_of


def make_plan(
    model: GraphModule,
    rows: Rows,
    custom: PrepareCustomConfig,
    standalone: dict[str, PrepareCustomConfig],
    is_qat: bool = False,
) -> Plan:
    """Plan ``model``, whose nodes have their qconfigs under ``meta["qconfig"]``.

    Args:
        model: a fused graph.
        rows: what the backend can quantize.
        custom: which inputs and outputs of the model are quantized.
        standalone: the modules prepared on their own, by name, and which of their inputs and
            outputs are quantized.
        is_qat: whether the model is to be trained, so that fixed parameters are faked too.

    Raises:
        ValueError: a tensor has to be quantized, but no qconfig says how.
    """
    return _Planner(model, rows, custom, standalone, is_qat).run()


class _Planner:
    def __init__(
        self,
        model: GraphModule,
        rows: Rows,
        custom: PrepareCustomConfig,
        standalone: dict[str, PrepareCustomConfig],
        is_qat: bool,
    ) -> None:
        self.graph, self.rows, self.is_qat = model.graph, rows, is_qat
        self.custom, self.standalone = custom, standalone
        self.modules = modules_of(model)
        self.sets = TensorSets()
        self.nodes: dict[str, NodePlan] = {}
        self.inputs_seen = 0

    def run(self) -> Plan:
        for node in self.graph.nodes:
            self.nodes[node.name] = self._visit(node)
        observers, tensors = self.sets.numbered()
        nodes = {name: replace(plan, output=tensors.get(name)) for name, plan in self.nodes.items()}
        return Plan(nodes, observers, tensors)

    def _visit(self, node: Node) -> NodePlan:
        if node.op == "placeholder":
            return self._placeholder(node)
        if node.op == "output":
            return self._output(node)
        if node.op == "get_attr":
            return self._float(node, "an attribute of the model")
        if node.op == "call_module" and node.target in self.standalone:
            return self._standalone(node, self.standalone[node.target])
        return self._operator(node)

    # Inputs and outputs of the model.

    def _placeholder(self, node: Node) -> NodePlan:
        self.inputs_seen += 1
        if self.inputs_seen - 1 not in self.custom.input_quantized_indexes:
            return self._float(node, "an input of the model")
        self.sets.external(node)
        return self._float(node, "an input of the model that arrives quantized")

    def _output(self, node: Node) -> NodePlan:
        results = node.args[0] if isinstance(node.args[0], list | tuple) else node.args
        wanted = []
        for index in self.custom.output_quantized_indexes:
            if index >= len(results) or not isinstance(results[index], Node):
                raise ValueError(
                    f"output_quantized_indexes: expected positions of the {len(results)} output(s) "
                    f"of the model, got {index}"
                )
            wanted.append(self._quantized(results[index], node))
        why = "the outputs of the model" + (", some of them quantized" if wanted else "")
        return self._plan(node, Decision.FLOAT, why, inputs=wanted)

    def _standalone(self, node: Node, config: PrepareCustomConfig) -> NodePlan:
        arguments = list(node.args)
        inputs = [
            self._quantized(arguments[index], node) for index in config.input_quantized_indexes
        ]
        if 0 in config.output_quantized_indexes:
            self.sets.external(node)
        return self._plan(node, Decision.STANDALONE, "prepared on its own", inputs=inputs)

    def _quantized(self, read: Any, reader: Node) -> Node:
        """The node ``read``, whose value is to be quantized whatever produced it."""
        tensor: Node = read
        if tensor not in self.sets:
            qconfig = reader.meta.get("qconfig") or tensor.meta.get("qconfig")
            if qconfig is None:
                raise ValueError(
                    f"{reader.name} takes {tensor.name} in quantized form, but no qconfig applies "
                    "to either; set one"
                )
            self.sets.observe(tensor, qconfig.activation)
        return tensor

    # Operators.

    def _operator(self, node: Node) -> NodePlan:
        module = self.modules.get(str(node.target)) if node.op == "call_module" else None
        row = self.rows.find(pattern_of(node, self.modules))
        if row is None:
            why = f"no row of backend {self.rows.backend.name!r} describes it"
            if module is not None and is_parametrized(module):
                why += "; its parameters are computed, which remove_parametrizations ends"
            return self._float(node, why)
        if node.meta.get("qconfig") is None:
            return self._float(node, "no qconfig applies to it", row)
        refusal = row.refuse(module, node.args, node.kwargs) if row.refuse else None
        if refusal is None and module is None and value_of(node) is None:
            refusal = "its inputs are of unknown shape and dtype, since no example inputs ran"
        if refusal is None and not fits_rank(row, node):
            refusal = f"its quantized form takes inputs of {row.input_ranks} dimensions only"
        if refusal is not None:
            return self._float(node, refusal, row)
        as_they_are = _arguments(node, row.float_arguments)
        tensors = [
            arg
            for arg in node.all_input_nodes
            if self._is_float_tensor(arg) and arg not in as_they_are
        ]
        reads = sum(arg in tensors for arg in reads_of(node))
        observation = row.observation_type_of(reads)
        if observation is None:
            wanted = " or ".join(map(str, row.num_tensor_args_to_observation_type))
            why = f"it reads {reads} float tensor(s), its quantized form {wanted}"
            return self._float(node, why, row)
        if row.num_tensor_args_to_observation_type and len(tensors) < len(node.all_input_nodes):
            return self._float(node, "it reads something that is not a float tensor", row)
        if observation is ObservationType.OUTPUT_SHARE_OBSERVER_WITH_INPUT:
            return self._sharing(node, row, tensors)
        quant_type = self.sets.spec(node.meta["qconfig"].activation).quant_type
        if quant_type is QuantType.STATIC:
            return self._static(node, row, tensors)
        return self._weights(node, row, quant_type)

    def _is_float_tensor(self, node: Node) -> bool:
        value = value_of(node)
        return value is None or value.is_float

    def _static(self, node: Node, row: BackendPatternConfig, tensors: list[Node]) -> NodePlan:
        activation = node.meta["qconfig"].activation
        inputs = [self.sets.spec_of(arg) or self.sets.spec(activation) for arg in tensors]
        given = self.sets.spec(activation)
        fixed = fixed_output(row, inputs[0] if inputs else given, self.is_qat)
        output = fixed if fixed is not None and given.scale is None else activation
        config, refusal = self._fit(node, row, inputs, self.sets.spec(output))
        if config is None and fixed is not None:  # what its qconfig fixes does not fit
            output = fixed
            config, refusal = self._fit(node, row, inputs, self.sets.spec(output))
        if config is None:
            return self._float(node, refusal, row)
        if not tensors:
            return self._float(node, "it reads no float tensor", row)
        if row.fixed_range is not None and given.scale is not None and tensors[0] not in self.sets:
            why = "its qconfig fixes parameters of its output, which do not fit its input"
            return self._float(node, why, row)
        for arg in tensors:
            if arg not in self.sets:
                self.sets.observe(arg, activation)
        if row.observes_itself:
            self.sets.external(node)
        else:
            self.sets.observe(node, output, fixed=row.fixed_range is not None)
        return self._plan(
            node, Decision.STATIC, "quantized as its qconfig says", row, config, tensors
        )

    def _weights(self, node: Node, row: BackendPatternConfig, quant_type: QuantType) -> NodePlan:
        dynamic = quant_type is QuantType.DYNAMIC
        decision = Decision.DYNAMIC if dynamic else Decision.WEIGHT_ONLY
        activation = self.sets.spec(node.meta["qconfig"].activation)
        config, refusal = self._fit(node, row, [activation], None, decision)
        if config is None:
            return self._float(node, refusal, row)
        return self._plan(node, decision, "weights quantized as its qconfig says", row, config)

    def _sharing(self, node: Node, row: BackendPatternConfig, tensors: list[Node]) -> NodePlan:
        quantized = [arg for arg in tensors if arg in self.sets]
        if not quantized:
            why = "it passes quantized values on, and its input is float"
            return self._float(node, why, row)
        value = value_of(node)
        whole = any(reader.target is not operator.getitem for reader in node.users)
        if value is not None and not value.is_tensor and whole:
            return self._float(node, "its result is several tensors, not read one by one", row)
        specs = [spec for arg in quantized if (spec := self.sets.spec_of(arg)) is not None]
        config, refusal = self._fit(node, row, specs, specs[0] if specs else None)
        if config is None:
            return self._float(node, refusal, row)
        if self._brings_several(quantized[0]):
            self.sets.external(node)
        elif not self.sets.join([*tensors, node]):
            activation = self.sets.spec(node.meta["qconfig"].activation)
            if row.requantizing_function is not None and activation.quant_type is QuantType.STATIC:
                return self._static(node, row, tensors)
            why = "its inputs have quantization parameters that cannot be made the same"
            return self._float(node, why, row)
        why = "works on integers, with its input's parameters"
        return self._plan(node, Decision.SHARED, why, row, config, tensors)

    def _brings_several(self, node: Node) -> bool:
        """Whether ``node`` is of several tensors, each of which brings its own parameters along."""
        source = self.sets.external_source(node)
        value = value_of(source) if source is not None else None
        return value is not None and not value.is_tensor

    def _fit(
        self,
        node: Node,
        row: BackendPatternConfig,
        inputs: list[ObserverSpec],
        output: ObserverSpec | None,
        decision: Decision = Decision.STATIC,
    ) -> tuple[DTypeConfig | None, str]:
        """The first dtype config of ``row`` that accepts these, or why none does."""
        weight = None
        if row.reference_quantized_module is not None:
            weight = self.sets.spec(node.meta["qconfig"].weight)
        refusals: dict[Any, str] = {}
        for config in row.dtype_configs:
            if config.quant_type.name != decision.name:
                continue
            checks = [
                *(("an input", config.input_dtype_with_constraints, spec) for spec in inputs),
                ("the output", config.output_dtype_with_constraints, output),
                ("the weight", config.weight_dtype_with_constraints, weight),
            ]
            reasons = [
                f"{what}: {why}"
                for what, constraint, spec in checks
                if spec is not None and (why := constraint.refusal(spec))
            ]
            if not reasons:
                return config, ""
            refusals.setdefault(config.input_dtype, f"dtypes not supported: {reasons[0]}")
        if not refusals:
            return None, f"the backend has no {decision.value} form of it"
        # The config for the dtype that was asked for tells most about why it is not supported.
        asked = inputs[0].dtype if inputs else None
        return None, refusals.get(asked, next(iter(refusals.values())))

    # Records.

    def _float(self, node: Node, why: str, row: BackendPatternConfig | None = None) -> NodePlan:
        return self._plan(node, Decision.FLOAT, why, row)

    def _plan(
        self,
        node: Node,
        decision: Decision,
        why: str,
        row: BackendPatternConfig | None = None,
        config: DTypeConfig | None = None,
        inputs: list[Node] | tuple[Node, ...] = (),
    ) -> NodePlan:
        module = self.modules.get(str(node.target)) if node.op == "call_module" else None
        target = describe(node.target)
        scope = node.meta.get("scope", ("", None))[0]
        value = value_of(node)
        return NodePlan(
            name=node.name,
            op=node.op,
            target=target,
            kind=type(module).__name__ if isinstance(module, nn.Module) else target,
            scope=target.rpartition(".")[0] if module is not None else scope,
            is_operator=node.op.startswith("call_")
            and node.target is not refuse_argument
            and (value is None or value.holds_tensors),
            decision=decision,
            why=why,
            row=row,
            qconfig=node.meta.get("qconfig"),
            dtype_config=config,
            inputs=tuple(arg.name for arg in inputs),
            fused=node.meta.get("fused", ()),
        )


def _arguments(node: Node, wanted: tuple[int | str, ...]) -> list[Any]:
    """The arguments of ``node`` at these positions and under these names, where there are any."""
    given = dict(enumerate(node.args)) | node.kwargs
    return [given[key] for key in wanted if key in given]
