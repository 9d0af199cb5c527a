"""int8 linear layers beside fbgemm, ONNX Runtime and float: ``python benchmarks/linear.py``."""

import torch
import torch.nn.functional as F
from _peer import (
    AMAX,
    SECONDS,
    kaiming_weight,
    minilm_weight,
    onnx_operator,
    onnx_parameters,
    onnx_weight,
    peer_input,
    peer_weight,
    thread_counts,
)
from torch import Tensor

from qtensor._kernels import or_bytes
from qtensor._ops.linear import linear
from qtensor._packing import PackedWeights, schedule_stats
from quintet_testing.bench import Table, compare, threads

SHAPES = (  # M, K, N
    (1, 768, 768),
    (1, 1024, 4096),
    (16, 768, 3072),
    (128, 768, 768),
    (128, 768, 3072),
    (512, 1024, 1024),
    # Neighbours, which nothing was tuned for.
    (1, 512, 2000),
    (1, 4096, 1024),
    (5, 640, 1000),
    (60, 1000, 500),
    (200, 512, 2048),
)
MINILM = {
    "query": "0.attention.self.query",
    "up": "2.intermediate.dense",
    "down": "5.output.dense",
}


def time_linear(
    m: int, weight: Tensor, scales: Tensor, amax: int
) -> tuple[dict[str, float], int, dict[str, str]]:
    """Medians of ours and the peers', operations, and how products are summed or the limit."""
    bias = torch.randn(len(weight))
    input = torch.randint(0, amax + 1, (m, weight.shape[1])).to(torch.uint8)
    input_scale, output_scale, cache = 4 / amax, 0.05, PackedWeights()
    output = (output_scale, 60, 0, 255, torch.uint8)

    def ours() -> Tensor:
        return linear(input, input_scale, 30, weight, scales, None, bias, *output, cache=cache)

    packed = torch.ops.quantized.linear_prepack(peer_weight(weight, scales), bias)
    quantized = peer_input(input, input_scale, 30)

    def fbgemm() -> Tensor:
        return torch.ops.quantized.linear(quantized, packed, output_scale, 60)

    real_input, real_weight = input.float(), weight * scales.unsqueeze(1)

    def real() -> Tensor:
        return F.linear(real_input, real_weight, bias)

    operands = [input, *onnx_parameters(input_scale, 30)]
    operands += onnx_weight(weight.t().contiguous(), scales)
    operands += onnx_parameters(output_scale, 60)  # there is no bias
    onnx = onnx_operator("QLinearMatMul", "", operands)

    candidates = {"ours": ours, "fbgemm": fbgemm, "onnxruntime": onnx, "float": real}
    operations = 2 * m * weight.numel()
    notes = {"steps": str(schedule_stats(weight, amax))} if m > 1 else reading(weight)
    return compare(candidates, seconds=SECONDS), operations, notes


def reading(weight: Tensor) -> dict[str, str]:
    """How long one thread takes to read as many bytes: the limit of a single row."""
    small = weight.abs()  # or_bytes() stops at a byte above 127
    timings = compare({"reading": lambda: or_bytes(small.data_ptr(), small.numel())}, seconds=0.05)
    return {"reading": f"{1e6 * timings['reading']:.0f} µs"}


def main() -> None:
    counts = thread_counts(__doc__)
    for amax in AMAX:
        table = Table(f"int8 linear MxKxN, activations 0…{amax}", peer="fbgemm")
        real = Table(f"MiniLM's weights, 128 rows, activations 0…{amax}", peer="fbgemm")
        for count in counts:
            with threads(count):
                for m, k, n in SHAPES:
                    timings, operations, notes = time_linear(m, *kaiming_weight(n, k), amax)
                    table.add(f"{m}x{k}x{n}", timings, operations=operations, **notes)
                for label, name in MINILM.items():
                    timings, operations, notes = time_linear(128, *minilm_weight(name), amax)
                    real.add(label, timings, operations=operations, **notes)
        table.print()
        real.print()


if __name__ == "__main__":
    main()
