"""Memory: nothing leaks, and an operator takes its output and a scratch that fits in the cache."""

import gc
import os
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from .kernels import tensors
from .operators import QUINT8, Random, examples, registered

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


def large() -> dict[str, tuple | dict]:
    """Arguments of every operator, in a dictionary where one of them goes by name only; what
    follows a comma in a key tells two calls of one operator apart."""
    r = Random(0)
    image = torch.zeros(4, 64, 400, 400, dtype=torch.uint8)
    last = image.contiguous(memory_format=torch.channels_last)
    rows, real, floats = image.view(-1, 512), torch.zeros(20_000, 512), torch.zeros(4, 64, 200, 200)
    return {
        **_products(r, image, rows, real),
        **_convolutions(r, image, last, floats),
        **_images(r, image, last, rows),
        **_windows(image, ", of planes"),
        **_conversions(r, image, floats, real),
        **_of_half_floats(r, image, floats, real),
        **_of_parts(r, image, last, floats, real),
        **_products_of_parts(r, image, floats, real),
        **_lookups(r),
    }


def _products(r: Random, image: Tensor, rows: Tensor, real: Tensor) -> dict[str, tuple]:
    to_16 = r.int8(16, 512), r.scales(16), r.zero_points(16), r.float(16)
    gates, state = r.uint8(20, 1000, 512), torch.zeros(1000, 128, dtype=torch.uint8)
    recurrent = r.int8(512, 128), r.scales(512), r.zero_points(512), r.float(512)
    stages = [0.02] * 10, [100] * 10, [0] * 10, [255] * 10
    of_each = (0.02, 100)
    return {
        "linear": (rows, 0.02, 7, *to_16, *QUINT8),
        "linear_dynamic": (real, *to_16),
        "linear_weight_only": (real, *to_16),
        "matmul": (rows, 0.02, 7, r.uint8(512, 16), 0.03, 100, *QUINT8),
        "matmul_int32": (rows, 7, r.uint8(512, 16), 100),
        "attention_weights": (torch.zeros(40, 512, 512, dtype=torch.int32), 0.002),
        "lstm": (gates, *of_each, state, *of_each, state, *of_each, *recurrent, *stages),
    }


def _convolutions(r: Random, image: Tensor, last: Tensor, floats: Tensor) -> dict[str, tuple]:
    depthwise = r.int8(64, 1, 3, 3), r.scales(64), r.zero_points(64), r.float(64)
    quantized = {1: image.view(4, 64, -1), 2: last, 3: image.view(4, 64, 16, 100, 100)}
    real = {1: floats.view(4, 64, -1), 2: floats, 3: floats.view(4, 64, 4, 50, 200)}
    grouped = [3, 3], [1, 1], [1, 1], 64, "zeros"
    table = {
        "conv2d, of planes": None,  # below
        "conv2d, depthwise": (last, 0.02, 7, *depthwise, *grouped, *QUINT8),
    }
    for axes in (1, 2, 3):
        one, none = [1] * axes, [0] * axes
        for name, shape, geometry in (
            (f"conv{axes}d", (8, 64), (one, none, one, 1, "zeros")),
            (f"conv_transpose{axes}d", (64, 8), (one, none, none, 1, one)),
        ):
            to_8 = r.int8(*shape, *one), r.scales(8), r.zero_points(8), r.float(8)
            table[name] = (quantized[axes], 0.02, 7, *to_8, *geometry, *QUINT8)
            table[f"{name}_dynamic"] = (real[axes], *to_8, *geometry)
    table["conv2d, of planes"] = (image, *table["conv2d"][1:])
    return table


def _images(r: Random, image: Tensor, last: Tensor, rows: Tensor) -> dict[str, tuple]:
    limits = QUINT8[:4]
    norm = (*(r.scales(64) for _ in range(4)), 1e-5)
    volume = image.view(4, 64, 16, 100, 100)
    channels = r.scales(64), r.zero_points(64, low=0)
    return {
        "add": (image, 0.02, 7, image, 0.03, 100, *limits),
        "add, of two layouts": (image, 0.02, 7, last, 0.03, 100, *limits),
        "mul": (image, 0.02, 7, image, 0.03, 100, *limits),
        "cat": ([image, image], [0.02, 0.03], [7, 100], 1, *QUINT8),
        "requantize": (image, 0.02, 7, *QUINT8),
        "requantize_per_channel": (image, *channels, r.scales(64), channels[1], 1, *QUINT8[2:]),
        "unary": (image, 0.02, 7, "gelu", [], *QUINT8),
        "prelu": (image, 0.02, 7, r.float(64), *limits),
        "softmax": (rows, 0.02, -1, 1 / 256, 0, 0, 255),
        "softmax, across rows": (image, 0.02, 1, 1 / 256, 0, 0, 255),
        **_windows(last),
        "batch_norm1d": (image.view(4, 64, -1), 0.02, 7, *norm, *QUINT8),
        "batch_norm2d": (last, 0.02, 7, *norm, *QUINT8),
        "batch_norm3d": (volume, 0.02, 7, *norm, *QUINT8),
    }


def _windows(image: Tensor, suffix: str = "") -> dict[str, tuple]:
    """What makes one value of many."""
    limits, one = QUINT8[:4], [1, 1]
    table = {
        "max_pool": (image, [3, 3], [2, 2], one, one, False),
        "avg_pool": (image, 7, [3, 3], [2, 2], one, False, True),
        "adaptive_max_pool": (image, [7, 7]),
        "adaptive_avg_pool": (image, [7, 7], 7),
        "mean": (image, [2, 3], False, 0.02, 7, *limits),
        "interpolate_nearest": (image, [300, 300], None, False),
        "interpolate_linear": (image, 7, [300, 300], None, False),
    }
    return {f"{name}{suffix}": call for name, call in table.items()}


def _conversions(r: Random, image: Tensor, floats: Tensor, real: Tensor) -> dict[str, tuple]:
    channels = r.scales(64), r.zero_points(64, low=0)
    byte, one, seven = (0, 255, torch.uint8), torch.tensor(0.02), torch.tensor(7)
    ends = torch.tensor(0), torch.tensor(255), torch.uint8
    runs = real.view(-1, 128)
    of_runs = r.scales(len(runs), 1), r.zero_points(len(runs), 1, low=0)
    learned = torch.tensor([0.1]), torch.tensor([7.0])
    faked = floats, torch.tensor([0.1]), torch.tensor([7]), None, 0, 255
    choose = floats, 0, 255, 1e-6, torch.uint8
    return {
        "quantize_per_tensor": (floats, 0.02, 7, *byte),
        "quantize_per_tensor.tensor": (floats, one, seven, *byte),
        "quantize_per_tensor.tensor2": (floats, one, seven, *ends),
        "quantize_per_channel": (floats, *channels, 1, *byte),
        "quantize_per_token": (runs, *of_runs, *byte),
        "quantize_per_channel_group": (runs, *of_runs, *byte),
        "dequantize_per_tensor": (image, 0.02, 7),
        "dequantize_per_tensor.tensor": (image, one, seven, *byte),
        "dequantize_per_tensor.tensor2": (image, one, seven, *ends),
        "dequantize_per_channel": (image, *channels, 1),
        "dequantize_per_token": (runs.byte(), *of_runs, *byte),
        "dequantize_per_channel_group": (runs.byte(), *of_runs, *byte),
        "choose_qparams.tensor": choose,
        "choose_qparams_symmetric.tensor": choose,
        "choose_qparams_per_token": (real, torch.int8),
        "choose_qparams_per_token_asymmetric": (real, torch.int8),
        "convert_element_type.no_fuse": (floats, torch.float16),
        "fake_quantize": faked,
        "fake_quantize_backward": (floats, *faked),
        "fake_quantize_learnable": (floats, *learned, None, 0, 255),
        "fake_quantize_learnable_backward": (floats, floats, *learned, None, 0, 255),
        "fake_quant_per_channel": (floats, *channels, 1, 0, 255),
    }


def _of_half_floats(r: Random, image: Tensor, floats: Tensor, real: Tensor) -> dict[str, dict]:
    """Conversions that read them or, of integers, write them."""
    table = {}
    for dtype in (torch.float16, torch.bfloat16):
        for name, arguments in _conversions(r, image, floats.to(dtype), real.to(dtype)).items():
            names = [argument.name for argument in OF_OPERATOR[name].op._schema.arguments]
            named = dict(zip(names, arguments, strict=False))
            named.update((out, dtype) for out in ("out_dtype", "output_dtype") if out in names)
            table[f"{name}, {dtype}"] = named
    return table


def _of_parts(
    r: Random, image: Tensor, last: Tensor, floats: Tensor, real: Tensor
) -> dict[str, tuple]:
    """Of tensors that have holes."""
    image, last, floats, real = map(_with_holes, (image, last, floats, real))
    table = {**_images(r, image, last, image.flatten(0, 2)), **_conversions(r, image, floats, real)}
    table.update(_windows(image, ", of planes"))
    table["mean, in pieces"] = (image[:, 1:, 1:, :-1], [0, 1, 2, 3], False, 0.02, 7, *QUINT8[:4])
    return {f"{name}, a part": call for name, call in table.items()}


def _products_of_parts(r: Random, image: Tensor, floats: Tensor, real: Tensor) -> dict[str, tuple]:
    rows = _with_holes(image.view(-1, 512))
    to_128 = r.int8(128, 512), r.scales(128), r.zero_points(128), r.float(128)
    residual = torch.zeros(128, len(rows), dtype=torch.uint8).t()
    image, floats, real = map(_with_holes, (image, floats, real))
    to_16 = r.int8(16, 512), r.scales(16), r.zero_points(16), r.float(16)
    to_8 = r.int8(8, 64, 1, 1), r.scales(8), r.zero_points(8), r.float(8)
    one, none = [1, 1], [0, 0]
    matrix, scores = r.uint8(16, 512).t(), torch.zeros(40, 512, 1024, dtype=torch.int32)[..., ::2]
    table = {
        "linear, a part": (rows, 0.02, 7, *to_16, *QUINT8),
        "linear, another residual": (rows, 0.02, 7, *to_128, *QUINT8, None, None, residual),
        "linear_dynamic, a part": (real, *to_16),
        "linear_dynamic, a part as a whole": (real, *to_16, 255, False),
        "linear_weight_only, a part": (real, *to_16),
        "matmul, a part": (rows, 0.02, 7, matrix, 0.03, 100, *QUINT8),
        "matmul_int32, a part": (rows, 7, matrix, 100),
        "attention_weights, a part": (scores, 0.002, scores[0, :1].float()),
    }
    table["conv2d, a part"] = (image, 0.02, 7, *to_8, one, none, one, 1, "zeros", *QUINT8)
    table["conv2d_dynamic, a part"] = (floats, *to_8, one, none, one, 1, "zeros")
    return table


def _with_holes(tensor: Tensor) -> Tensor:
    """The same values, in every second column of a wider tensor."""
    wide = torch.zeros(*tensor.shape[:-1], 2 * tensor.shape[-1], dtype=tensor.dtype)
    if not tensor.is_contiguous():
        wide = wide.contiguous(memory_format=torch.channels_last)
    return wide[..., ::2].copy_(tensor)


def _lookups(r: Random) -> dict[str, tuple]:
    table, indices = (r.uint8(1000, 256), r.scales(1000), r.float(1000)), torch.zeros(80_000).long()
    return {
        "embedding": (*table, indices),
        "embedding_bag": (*table, indices, torch.arange(0, 80_000, 2), 256),
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


def test_every_operator_is_measured():
    assert {name.partition(",")[0] for name in large()} == registered()


def test_an_operator_takes_its_output_and_a_scratch(one_thread):
    scratch = 4 << 20  # twice an L2 cache: with the pages of a call's own code
    greedy = {}
    for name, arguments in large().items():
        op = OF_OPERATOR[name.partition(",")[0]].op
        named = isinstance(arguments, dict)
        call = partial(op, **arguments) if named else partial(op, *arguments)
        output = sum(t.numel() * t.element_size() for t in tensors(call()))
        extra = peak_of(call) - output
        print(f"{name}: output {output >> 10} KiB, and {max(extra, 0) >> 10} KiB")
        if extra > scratch:
            greedy[name] = extra
    assert not greedy
