"""Which linear layers are right at 0…255: ``python benchmarks/exactness.py``.

Every output of ours and of the peers is compared with the int64 sums, requantized in float64. The
instruction that all use without VNNI saturates sums of two products; the peers' speed at 0…255 is
to be read with this.
"""

import numpy as np
import torch
from _peer import (
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

from qtensor._ops.linear import linear

SHAPES = ((1, 1024, 4096), (128, 768, 768), (512, 1024, 1024))  # M, K, N
INPUT_SCALE, OUTPUT_SCALE, ZERO_POINT = 4 / 255, 0.05, 60


def outputs(input: Tensor, weight: Tensor, scales: Tensor) -> dict[str, np.ndarray]:
    """uint8 results by who computed them; ``exact`` among them."""
    sums = input.numpy().astype(np.int64) @ weight.numpy().astype(np.int64).T
    real = sums * (scales.numpy().astype(np.float64) * INPUT_SCALE / OUTPUT_SCALE)
    ours = linear(
        *(input, INPUT_SCALE, 0, weight, scales, None, None),
        *(OUTPUT_SCALE, ZERO_POINT, 0, 255, torch.uint8),
    )
    packed = torch.ops.quantized.linear_prepack(peer_weight(weight, scales), None)
    fbgemm = torch.ops.quantized.linear(
        peer_input(input, INPUT_SCALE, 0), packed, OUTPUT_SCALE, ZERO_POINT
    )
    operands = [input, *onnx_parameters(INPUT_SCALE, 0)]
    operands += onnx_weight(weight.t().contiguous(), scales)
    operands += onnx_parameters(OUTPUT_SCALE, ZERO_POINT)
    return {
        "exact": np.clip(np.rint(real) + ZERO_POINT, 0, 255),
        "ours": ours.numpy(),
        "fbgemm": fbgemm.int_repr().numpy(),
        "onnxruntime": onnx_operator("QLinearMatMul", "", operands)()[0],
    }


def report(name: str, input: Tensor, weight: Tensor, scales: Tensor) -> None:
    found = outputs(input, weight, scales)
    exact = found.pop("exact")
    for who, result in found.items():
        distance = np.abs(result - exact)
        print(f"{name:28} {who:12} off by more than one step: {(distance > 1).mean():7.2%}, "
              f"at most by {int(distance.max()):3}")  # fmt: skip


def main() -> None:
    thread_counts(__doc__)
    for amax in (127, 255):
        for m, k, n in SHAPES:
            input = torch.randint(0, amax + 1, (m, k)).to(torch.uint8)
            report(f"{m}x{k}x{n} 0…{amax}", input, *kaiming_weight(n, k))
        weight, scales = minilm_weight("0.attention.self.query")
        input = torch.randint(0, amax + 1, (128, weight.shape[1])).to(torch.uint8)
        report(f"MiniLM query 0…{amax}", input, weight, scales)
        worst = (weight[:128] > 0).to(torch.uint8) * amax
        report(f"the same, worst rows 0…{amax}", worst, weight, scales)


if __name__ == "__main__":
    main()
