"""Memory: nothing leaks, and an operator takes its output and a scratch that fits in the cache."""

import gc
import os
from pathlib import Path

import pytest
import torch

from .kernels import tensors
from .operators import QUINT8, Random, examples

OF_OPERATOR = {example.operator: example for example in examples()}
# Operators of one and three axes run the code of those of two.
REPEATED = [e for name, e in OF_OPERATOR.items() if "1d" not in name and "3d" not in name]

# Sanitizers keep a shadow of all memory and hold on to what was freed: theirs would be measured.
pytestmark = [pytest.mark.slow, pytest.mark.uninstrumented]


def resident() -> int:
    """Bytes of memory in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("example", REPEATED, ids=str)
def test_nothing_leaks_over_ten_thousand_calls(example, one_thread):
    gc.freeze()  # what there was before is not looked through again
    try:
        for _ in range(1000):
            example.op(*example.arguments)
        gc.collect()
        objects, memory = len(gc.get_objects()), resident()
        for _ in range(10_000):
            example.op(*example.arguments)
        gc.collect()
        assert len(gc.get_objects()) - objects < 10
        assert resident() - memory < 1 << 20
    finally:
        gc.unfreeze()


# ---- one call on 40 MB, more than malloc ever keeps for itself


def large() -> dict[str, tuple]:
    r = Random(0)
    image = torch.zeros(4, 64, 400, 400, dtype=torch.uint8)
    last = image.contiguous(memory_format=torch.channels_last)
    rows, real = image.view(-1, 512), torch.zeros(20_000, 512)
    to_8 = (0.02, 7), (r.int8(8, 64, 1, 1), r.scales(8), r.zero_points(8), r.float(8))
    depthwise = r.int8(64, 1, 3, 3), r.scales(64), r.zero_points(64), r.float(64)
    to_16 = r.int8(16, 512), r.scales(16), r.zero_points(16), r.float(16)
    grouped = [3, 3], [1, 1], [1, 1], 64, "zeros"
    one, none = [1, 1], [0, 0]
    limits = QUINT8[:4]
    channels = r.scales(64), r.zero_points(64, low=0)
    floats = torch.zeros(4, 64, 200, 200)
    return {
        "linear": (rows, 0.02, 7, *to_16, *QUINT8),
        "linear_dynamic": (real, *to_16),
        "linear_weight_only": (real, *to_16),
        "conv2d": (last, *to_8[0], *to_8[1], one, none, one, 1, "zeros", *QUINT8),
        "conv2d of planes": (image, *to_8[0], *to_8[1], one, none, one, 1, "zeros", *QUINT8),
        "conv2d, depthwise": (last, 0.02, 7, *depthwise, *grouped, *QUINT8),
        "conv2d_dynamic": (floats, *to_8[1], one, none, one, 1, "zeros"),
        "add": (image, 0.02, 7, image, 0.03, 100, *limits),
        "mul": (image, 0.02, 7, image, 0.03, 100, *limits),
        "cat": ([image, image], [0.02, 0.03], [7, 100], 1, *QUINT8),
        "requantize": (image, 0.02, 7, *QUINT8),
        "unary": (image, 0.02, 7, "gelu", [], *QUINT8),
        "prelu": (image, 0.02, 7, r.float(64), *limits),
        "softmax": (rows, 0.02, -1, 1 / 256, 0, 0, 255),
        "max_pool": (last, [3, 3], [2, 2], [1, 1], one, False),
        "avg_pool": (last, 7, [3, 3], [2, 2], [1, 1], False, True),
        "adaptive_avg_pool": (last, [7, 7], 7),
        "mean": (last, [2, 3], False, 0.02, 7, *limits),
        "interpolate_nearest": (last, [300, 300], None, False),
        "interpolate_linear": (last, 7, [300, 300], None, False),
        "quantize_per_tensor": (floats, 0.02, 7, 0, 255, torch.uint8),
        "dequantize_per_tensor": (image, 0.02, 7),
        "quantize_per_channel": (floats, *channels, 1, 0, 255, torch.uint8),
        "dequantize_per_channel": (image, *channels, 1),
        "batch_norm2d": (last, 0.02, 7, *(r.scales(64) for _ in range(4)), 1e-5, *QUINT8),
        "fake_quantize": (floats, torch.tensor([0.1]), torch.tensor([7]), None, 0, 255),
    }


def peak_of(call) -> int:
    """The most memory in use during the call, above that before it."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = resident()
    call()
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 - before


def test_a_float_copy_of_the_input_would_be_seen(one_thread):
    arguments = large()["add"]
    assert peak_of(lambda: OF_OPERATOR["add"].reference(*arguments)) > 4 * arguments[0].numel()


def test_an_operator_takes_its_output_and_a_scratch(one_thread):
    scratch = 4 << 20  # twice an L2 cache: with the pages of a call's own code
    greedy = {}
    for name, arguments in large().items():
        op = OF_OPERATOR[name.partition(",")[0].split()[0]].op
        output = sum(t.numel() * t.element_size() for t in tensors(op(*arguments)))
        extra = peak_of(lambda op=op, arguments=arguments: op(*arguments)) - output
        print(f"{name}: output {output >> 10} KiB, and {max(extra, 0) >> 10} KiB")
        if extra > scratch:
            greedy[name] = extra
    assert not greedy
