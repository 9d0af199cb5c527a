"""Linear's relatives and the cost of a call, beside torch: ``python benchmarks/products.py``.

The peer is the legacy kernel, but for weight-only linear, which has none: there it is float.
"""

import torch
from _peer import kaiming_weight, peer_input, peer_weight, thread_counts
from torch import Tensor

import qtensor
from qtensor import QParams, QTensor, ops, quint8
from qtensor.nn.intrinsic.quantized import LinearReLU
from qtensor.nn.intrinsic.quantized import dynamic as dynamic_fused
from qtensor.nn.quantized import Linear, dynamic
from qtensor.nn.quantized import weight_only as only
from quintet_testing.bench import Call, Table, compare, threads

LAYERS = ((1, 64, 64), (1, 768, 768), (1, 1024, 4096), (128, 768, 3072))  # M, K, N
MATRICES = (  # batch, M, K, N; batches of one are matmul's, others bmm's
    (12, 128, 64, 128),
    (12, 128, 128, 64),
    (48, 64, 32, 64),
    (1, 512, 512, 512),
)


def filled(layer: Linear, weight: Tensor, scales: Tensor, bias: Tensor) -> Linear:
    """A layer of ours with this weight and bias."""
    layer.qweight, layer.weight_scales, layer.float_bias = weight, scales, bias
    return layer


def layers(m: int, k: int, n: int) -> dict[str, tuple[Call, Call]]:
    """By kind: a call of our module, and one of the peer's kernel."""
    weight, scales = kaiming_weight(n, k)
    bias, x = torch.randn(n), torch.randn(m, k)
    integers = torch.randint(0, 128, (m, k)).to(torch.uint8)
    packed = torch.ops.quantized.linear_prepack(peer_weight(weight, scales), bias)
    ours, old = QTensor(integers, QParams(0.03, 30, quint8)), peer_input(integers, 0.03, 30)
    real = weight * scales[:, None]
    static, relu, per_row, per_row_relu, floats = (
        filled(kind(k, n), weight, scales, bias)
        for kind in (Linear, LinearReLU, dynamic.Linear, dynamic_fused.LinearReLU, only.Linear)
    )
    per_row.reduce_range = per_row_relu.reduce_range = True
    legacy = torch.ops.quantized
    return {
        "static": (lambda: static(ours), lambda: legacy.linear(old, packed, 1.0, 0)),
        "static + ReLU": (lambda: relu(ours), lambda: legacy.linear_relu(old, packed, 1.0, 0)),
        "dynamic": (lambda: per_row(x), lambda: legacy.linear_dynamic(x, packed)),
        "dynamic + ReLU": (
            lambda: per_row_relu(x),
            lambda: legacy.linear_relu_dynamic(x, packed),
        ),
        "weight only": (lambda: floats(x), lambda: torch.nn.functional.linear(x, real, bias)),
    }


def matmul(batch: int, m: int, k: int, n: int) -> tuple[Call, Call]:
    """A call of ours, and one of the peer's."""
    a, b = (
        torch.randint(0, 256, shape).to(torch.uint8) for shape in ((batch, m, k), (batch, k, n))
    )
    qa, qb = (QTensor(x, qtensor.QParams(0.01, 128, quint8)) for x in (a, b))
    old_a, old_b = (peer_input(x, 0.01, 128) for x in (a, b))
    return (
        lambda: ops.matmul(qa, qb, 0.1, 128),
        lambda: torch.ops.quantized.matmul(old_a, old_b, 0.1, 128),
    )


def main() -> None:
    table = Table("modules and products, activations 0…127 (matmul: 0…255)", peer="torch")
    for count in thread_counts(__doc__):
        with threads(count):
            for m, k, n in LAYERS:
                for kind, (ours, peer) in layers(m, k, n).items():
                    timings = compare({"ours": ours, "torch": peer})
                    table.add(f"{kind} {m}x{k}x{n}", timings, operations=2 * m * k * n)
            for batch, m, k, n in MATRICES:
                ours, peer = matmul(batch, m, k, n)
                timings = compare({"ours": ours, "torch": peer})
                table.add(f"matmul {batch}x{m}x{k}x{n}", timings, operations=2 * batch * m * k * n)
    table.print()


if __name__ == "__main__":
    main()
