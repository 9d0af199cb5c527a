"""LSTM layers and attention beside torch: ``python benchmarks/recurrent.py``.

Two peers: the legacy quantized modules, made of the same calibrated ones, and the float modules.
"""

import torch
from _peer import thread_counts
from torch import Tensor, nn
from torch.ao import quantization as legacy
from torch.ao.nn import quantizable as legacy_quantizable
from torch.ao.nn import quantized as legacy_quantized

import qobserve
from qobserve.nn import quantizable
from qtensor import quantize_per_tensor, quint8
from qtensor.nn import quantized as nnq
from quintet_testing.bench import Call, Table, compare, threads

STEPS = 32
LSTMS = tuple((batch, hidden) for batch in (1, 16) for hidden in (256, 512))
LENGTH = 128
HEADS = 12
WIDTHS = (384, 768)
SCALE, ZERO_POINT = 8 / 127, 64  # seven bits: beyond them the legacy products may saturate

_OURS = qobserve.QConfig(
    qobserve.MinMaxObserver.with_args(reduce_range=True),
    qobserve.default_per_channel_weight_observer,
)
_LEGACY = legacy.QConfig(
    legacy.MinMaxObserver.with_args(reduce_range=True),
    legacy.default_per_channel_weight_observer,
)


def calls(kind: str, model: nn.Module, x: Tensor, copies: int) -> dict[str, Call]:
    """What is compared: ``model`` and its two quantized forms, on ``copies`` of ``x``."""
    x = x.clamp(-64 * SCALE, 63 * SCALE)
    model.qconfig = _LEGACY
    old = getattr(legacy_quantizable, kind).from_float(model)
    model.qconfig = _OURS
    observed = getattr(quantizable, kind).from_float(model)
    for calibrated in (old, observed):
        calibrated(*[x] * copies)
    old = getattr(legacy_quantized, kind).from_observed(old)
    quantized = getattr(nnq, kind).from_observed(observed)
    old_x = [torch.quantize_per_tensor(x, SCALE, ZERO_POINT, torch.quint8)] * copies
    our_x = [quantize_per_tensor(x, SCALE, ZERO_POINT, quint8)] * copies
    return {
        "ours": lambda: quantized(*our_x),
        "torch": lambda: old(*old_x),
        "float": lambda: model(*[x] * copies),
    }


def main() -> None:
    table = Table(f"LSTM, {STEPS} steps; attention, {HEADS} heads of {LENGTH}", peer="torch")
    for count in thread_counts(__doc__):
        with threads(count), torch.no_grad():
            for batch, hidden in LSTMS:
                model, x = nn.LSTM(hidden, hidden).eval(), torch.randn(STEPS, batch, hidden)
                timings = compare(calls("LSTM", model, x, 1))
                operations = 2 * STEPS * batch * 8 * hidden * hidden
                table.add(f"lstm batch {batch}, {hidden}", timings, operations=operations)
            for width in WIDTHS:
                attention = nn.MultiheadAttention(width, HEADS).eval()
                timings = compare(
                    calls("MultiheadAttention", attention, torch.randn(LENGTH, 1, width), 3)
                )
                operations = 2 * LENGTH * (4 * width * width + 2 * LENGTH * width)
                table.add(f"attention {HEADS}x{width}", timings, operations=operations)
    table.print()


if __name__ == "__main__":
    main()
