"""values: the example inputs run through the graph once, to see which values are float tensors.

Observing an index tensor, or fusing an addition that broadcasts, would be wrong; only running the
model tells.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Interpreter, Node
from torch.utils._pytree import tree_leaves, tree_map

from .._backend_config import BackendPatternConfig


@dataclass(frozen=True)
class Value:
    """What a node gave for the example inputs.

    Attributes:
        shape: its shape, ``None`` unless it is one tensor.
        is_float: whether it is a float tensor, or holds float tensors (and ``None``) only.
        holds_tensors: whether it is or holds any tensor; a size does not.
    """

    shape: tuple[int, ...] | None
    is_float: bool
    holds_tensors: bool

    @property
    def is_tensor(self) -> bool:
        """Whether it is one tensor, not a tuple of them, a number or anything else."""
        return self.shape is not None


def value_of(node: Node) -> Value | None:
    """What ``node`` gave for the example inputs; ``None`` if they were not run."""
    value: Value | None = node.meta.get("value")
    return value


def fits_rank(row: BackendPatternConfig, node: Node) -> bool:
    """Whether the first tensor that ``node`` reads has a number of dimensions that ``row`` takes.

    True where it is not known.
    """
    value = value_of(node.all_input_nodes[0]) if node.all_input_nodes else None
    if value is None or value.shape is None or not row.input_ranks:
        return True
    return len(value.shape) in row.input_ranks


def record_values(model: GraphModule, example_inputs: tuple[Any, ...] | None) -> str | None:
    """Write a :class:`Value` into each node's ``meta["value"]``.

    The model runs in eval mode, without gradients, on copies of ``example_inputs``, and leaves no
    trace in the random state.

    Returns:
        why the example inputs do not run; ``None`` if they do.
    """
    if example_inputs is None:
        return "no example inputs: shapes and dtypes are unknown, so functions stay float"
    inputs = tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, example_inputs)
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            _Recorder(model).run(*inputs)
    except Exception as error:
        for node in model.graph.nodes:
            node.meta.pop("value", None)
        return f"{does_not_run(error)}: shapes and dtypes are unknown, so functions stay float"
    finally:
        for module in training:
            module.training = True
    return None


def does_not_run(error: Exception) -> str:
    """What to say of example inputs for which a model raised ``error``."""
    first_line = str(error).partition("\n")[0]  # torch.fx adds the node, and where it came from
    return f"the example inputs do not run ({type(error).__name__}: {first_line})"


class _Recorder(Interpreter):
    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        leaves = [leaf for leaf in tree_leaves(result) if leaf is not None]
        n.meta["value"] = Value(
            tuple(result.shape) if isinstance(result, Tensor) else None,
            bool(leaves) and all(isinstance(x, Tensor) and _is_float(x) for x in leaves),
            any(isinstance(x, Tensor) for x in leaves),
        )
        return result


def _is_float(tensor: Tensor) -> bool:
    return tensor.dtype == torch.float32
