"""Files that other libraries write, devices, threads, and memory that must not leak."""

import gc
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor

import qtensor


def test_safetensors_round_trip(tmp_path: Path):
    """The parts of a quantized tensor are plain tensors, from which it can be made again."""
    safetensors = pytest.importorskip("safetensors.torch")
    q = qtensor.quantize_per_channel(
        torch.randn(4, 6), torch.rand(4) * 0.1 + 0.01, torch.zeros(4), 0, qtensor.quint4x2
    )
    parts = {
        "integers": q.int_repr(),
        "scales": q.q_per_channel_scales(),
        "zero_points": q.q_per_channel_zero_points(),
    }
    safetensors.save_file(parts, str(tmp_path / "weight.safetensors"))
    loaded = safetensors.load_file(str(tmp_path / "weight.safetensors"))
    qparams = qtensor.QParams(loaded["scales"], loaded["zero_points"], q.qdtype, axis=0)
    again = qtensor.QTensor(loaded["integers"], qparams)
    assert again.qparams == q.qparams
    assert torch.equal(again.dequantize(), q.dequantize())


@pytest.mark.parametrize("dtype", [qtensor.quint8, qtensor.qint8, qtensor.qint32, qtensor.qint4])
@pytest.mark.parametrize("per_channel", [False, True])
def test_torch_save_with_weights_only(tmp_path: Path, dtype, per_channel):
    x = torch.randn(3, 5)
    if per_channel:
        scales, zeros = torch.rand(3) + 0.1, torch.zeros(3, dtype=torch.int64)
        q = qtensor.quantize_per_channel(x, scales, zeros, 0, dtype)
    else:
        q = qtensor.quantize_per_tensor(x, 0.1, 0, dtype)
    torch.save({"q": q}, tmp_path / "q.pt")
    loaded = torch.load(tmp_path / "q.pt", weights_only=True)["q"]
    assert loaded.qparams == q.qparams
    assert torch.equal(loaded.int_repr(), q.int_repr())


def test_moving_to_a_device():
    x, scales = torch.randn(3, 5), torch.rand(3) + 0.1
    q = qtensor.quantize_per_channel(x, scales, torch.zeros(3), 0, qtensor.quint8).to("meta")
    assert q.device.type == q.int_repr().device.type == "meta"
    assert q.q_per_channel_scales().device.type == "meta"
    assert q.dequantize().device.type == "meta"


def work(seed: int) -> Tensor:
    """Forward and backward of what keeps buffers, and the operators beside it."""
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    state = torch.tensor([float("inf")]), torch.tensor([-float("inf")]), torch.ones(1)
    on, zero = torch.tensor([1]), torch.zeros(1, dtype=torch.int32)
    fused = qtensor.fused_moving_avg_obs_fake_quant
    y = fused(x, on, on, *state, zero, 0.1, 0, 127, 0)
    (gradient,) = torch.autograd.grad((y**2).sum(), x)
    q = qtensor.quantize_per_tensor_dynamic(x.detach(), qtensor.quint8)
    return gradient + q.dequantize()


def test_eight_threads_give_the_results_of_one():
    expected = [work(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for result, wanted in zip(pool.map(work, range(8)), expected, strict=True):
                assert torch.equal(result, wanted)


@pytest.mark.slow
def test_nothing_leaks():
    def live() -> int:
        gc.collect()
        return sum(issubclass(type(x), Tensor) for x in gc.get_objects())

    for _ in range(20):
        work(0)
    tensors, peak = live(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(10_000):
        work(0)
    assert live() == tensors
    # One leaked result of 80 kB a call would be 800 MB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 20_000  # kB
