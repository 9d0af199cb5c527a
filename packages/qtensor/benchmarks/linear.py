"""int8 linear layers beside torch's fbgemm kernels: ``python benchmarks/linear.py``."""

import torch
from _peer import AMAX, kaiming_weight, peer_input, peer_weight, thread_counts
from torch import Tensor

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
)


def time_linear(m: int, k: int, n: int, amax: int) -> tuple[dict[str, float], str]:
    """Medians of ours and fbgemm's, and how our products are summed."""
    weight, scales = kaiming_weight(n, k)
    bias = torch.randn(n)
    input = torch.randint(0, amax + 1, (m, k)).to(torch.uint8)
    input_scale, output_scale, cache = 4 / amax, 0.05, PackedWeights()
    output = (output_scale, 60, 0, 255, torch.uint8)

    def ours() -> Tensor:
        return linear(input, input_scale, 30, weight, scales, None, bias, *output, cache=cache)

    packed = torch.ops.quantized.linear_prepack(peer_weight(weight, scales), bias)
    quantized = peer_input(input, input_scale, 30)

    def fbgemm() -> Tensor:
        return torch.ops.quantized.linear(quantized, packed, output_scale, 60)

    return compare({"ours": ours, "fbgemm": fbgemm}), str(schedule_stats(weight, amax))


def main() -> None:
    counts = thread_counts(__doc__)
    for amax in AMAX:
        table = Table(f"int8 linear MxKxN, activations 0…{amax}", peer="fbgemm")
        for count in counts:
            for m, k, n in SHAPES:
                with threads(count):
                    timings, steps = time_linear(m, k, n, amax)
                    table.add(f"{m}x{k}x{n}", timings, operations=2 * m * k * n, steps=steps)
        table.print()


if __name__ == "__main__":
    main()
