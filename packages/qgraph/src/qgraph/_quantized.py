"""The quantized pieces that passes put into a graph, and how to recognize them."""

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_map

from qobserve import get_weight_qparam_dict
from qtensor import QParams, QTensor
from qtensor.nn.quantized import OutputModule, Quantize, float_form

from ._backend_config import BackendPatternConfig
from ._graph import shallow_copy
from ._observer_spec import as_dtype


class QuantizedFunction(OutputModule):
    """A quantized function together with its output's parameters.

    A module, so that the parameters are in the state dict: a model can be prepared and converted
    without data and then load what another one was calibrated to.

    Args:
        function: called as the float function was, with the keyword ``output``.
        output: the parameters of the result.
    """

    def __init__(self, function: Callable[..., Any], output: QParams) -> None:
        super().__init__()
        self.function = function
        self.output_qparams = output

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The function's result, quantized with the parameters held here."""
        return self.function(*args, **kwargs, output=self.output_qparams)


def observed_qparams(observer: Any) -> QParams:
    """The parameters that ``observer`` has arrived at; also of observers that are not ours."""
    if hasattr(observer, "qparams"):
        qparams: QParams = observer.qparams()
        return qparams
    scale, zero_point = observer.calculate_qparams()
    bounds: Any = (getattr(observer, "quant_min", None), getattr(observer, "quant_max", None))
    return QParams(scale.item(), int(zero_point.item()), as_dtype(observer.dtype), None, *bounds)


def reference_module(
    module: nn.Module, row: BackendPatternConfig, qconfig: Any, path: str
) -> nn.Module:
    """``module`` with its weight quantized as it was trained to be, or else as ``qconfig`` says.

    A fused container keeps its other parts; the part with the weight is always the first.
    """
    reference_class: Any = row.reference_quantized_module
    module = float_form(module)
    container = shallow_copy(module) if isinstance(module, nn.Sequential) else None
    weighted: Any = module if container is None else container[0]
    name = f"{path}.weight" if container is None else f"{path}.0.weight"
    qparams = get_weight_qparam_dict(weighted, qconfig, row.weight_axis, name)
    reference: nn.Module = reference_class.from_float(weighted, qparams)
    if container is None:
        return reference
    container.register_module("0", reference)
    return container


def dequantize_each(values: Any) -> Any:
    """A structure of tensors, such as a module returns, with the quantized ones dequantized."""
    return tree_map(lambda x: x.dequantize() if isinstance(x, QTensor) else x, values)


def dequantized_from(node: Node) -> Node | None:
    """What ``node`` dequantizes, a tensor or a structure; ``None`` for any other node."""
    if node.target is dequantize_each or (node.op, node.target) == ("call_method", "dequantize"):
        quantized = node.args[0]
        return quantized if isinstance(quantized, Node) else None
    return None


def quantizer_of(model: GraphModule, node: Node) -> Node | None:
    """The node that quantizes the output of ``node``, if that is all that is done with it."""
    if len(node.users) != 1:
        return None
    reader = next(iter(node.users))
    if reader.op != "call_module":
        return None
    return reader if isinstance(model.get_submodule(str(reader.target)), Quantize) else None
