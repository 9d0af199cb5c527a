"""What is remembered of calls, and the outputs that are made without asking torch."""

import copy
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from qtensor import QParams, _elementwise, ops, quantize_per_tensor, quint8
from qtensor._calls import ByLayout, Eager, Layout, Prepared, readable
from qtensor._ops.add import add

IDENTITY = bytes(range(256))


class Counted:
    """Copies bytes; counts how often it is asked what a call is like."""

    def __init__(self):
        self.checks = 0

        def fake(input, scale=1.0, window=(), others=()):
            self.checks += 1
            if scale <= 0:
                raise ValueError("bad scale")
            return torch.empty_like(input)

        def kernel(output, input, *rest):
            return _elementwise.Lookup(output.numel(), None, IDENTITY)

        self.call = Prepared(fake, kernel)


def bytes_of(*shape):
    return torch.randint(0, 256, shape).to(torch.uint8)


def test_calls_that_are_alike_are_checked_once():
    counted, x = Counted(), bytes_of(3, 4)
    for input in (x, x, bytes_of(3, 4)):
        for scale, window in ((0.5, [2, 2]), (0.5, (2, 2))):
            assert torch.equal(counted.call(input, scale, window), input)
    assert counted.checks == 1


@pytest.mark.parametrize(
    "other",
    [
        (bytes_of(4, 3), 0.5, [2, 2]),
        (bytes_of(12), 0.5, [2, 2]),
        (bytes_of(1, 3, 4), 0.5, [2, 2]),
        (bytes_of(4, 3).t(), 0.5, [2, 2]),
        (bytes_of(3, 4).view(torch.int8), 0.5, [2, 2]),
        (bytes_of(3, 4), 0.25, [2, 2]),
        (bytes_of(3, 4), 0.5, [2, 1]),
        (bytes_of(3, 4), 0.5, [2, 2], [bytes_of(2)]),
        (bytes_of(3, 4), 0.5),
    ],
)
def test_calls_that_are_not_alike(other):
    counted, first = Counted(), (bytes_of(3, 4), 0.5, [2, 2])
    for arguments in (first, other, first, other):
        result = counted.call(*arguments)
        assert torch.equal(result, arguments[0]) and result.dtype is arguments[0].dtype
        assert result.stride() == arguments[0].stride()
    assert counted.checks == 2


def test_what_is_refused_is_not_remembered():
    counted, x = Counted(), bytes_of(2)
    for _ in range(2):
        with pytest.raises(ValueError, match="bad scale"):
            counted.call(x, -1.0)
    assert counted.checks == 2
    assert torch.equal(counted.call(x, 1.0), x)


def test_more_kinds_of_calls_than_are_remembered():
    counted, x = Counted(), bytes_of(2)
    for i in range(1, 5001):
        counted.call(x, float(i))
    assert counted.checks == 5000
    assert torch.equal(counted.call(x, 1.0), x)


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (5, 7), (2, 3, 4, 5, 6, 7)])
def test_outputs(shape):
    x = bytes_of(*shape)
    result = Counted().call(x)
    assert type(result) is torch.Tensor and result.is_leaf and result._version == 0
    assert (result.shape, result.stride(), result.dtype) == (x.shape, x.stride(), x.dtype)
    assert result.data_ptr() % 64 == 0 and torch.equal(result, x)
    assert torch.equal(copy.deepcopy(result), x) and result.untyped_storage().nbytes() == x.numel()
    with torch.inference_mode():
        assert Counted().call(x).is_inference()


def test_outputs_of_layouts():
    asked = []
    outputs = ByLayout(lambda x: (asked.append(x), Layout(torch.empty(*x.shape[:-1], 3)))[1])
    for rows in (2, 5, 2, 0):
        made = outputs.of(bytes_of(rows, 4)).new()
        assert made.shape == (rows, 3) and made.dtype is torch.float32
    assert len(asked) == 3


def resident():
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.uninstrumented  # AddressSanitizer keeps for a while what was freed
def test_outputs_give_their_memory_back():
    x = bytes_of(1 << 20)
    call = Counted().call
    call(x)
    before = resident()
    for _ in range(200):
        gone = weakref.ref(call(x))
        assert gone() is None
    gc.collect()
    assert resident() - before < 20 << 20


def test_threads_share_what_is_remembered():
    counted = Counted()
    inputs = [bytes_of(i % 7, 5) for i in range(200)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(counted.call, inputs))
    assert all(torch.equal(a, b) for a, b in zip(results, inputs, strict=True))


def test_more_tensors_than_fit_on_the_stack():
    parts = [quantize_per_tensor(torch.rand(2, i), 0.01, i, quint8) for i in range(1, 9)]
    parts.append(quantize_per_tensor(torch.rand(5, 2), 0.01, 9, quint8).t())
    joined = ops.cat_to(parts, 1, QParams(0.01, 0))
    assert torch.equal(joined.dequantize(), torch.cat([x.dequantize() for x in parts], 1))


def test_what_may_not_be_read_is_left_to_torch():
    left = []
    eager = Eager(Counted().call, lambda *args: left.append(args))
    for bad in (
        torch.zeros(2, requires_grad=True),
        torch.zeros(2).to_sparse(),
        torch.zeros(2, device="meta"),
    ):
        assert not readable((1, [bad]))
        eager((bytes_of(2), 1.0, (), [bad]), {}, None)
    assert len(left) == 3
    assert readable(
        (1, None, [bytes_of(2)], torch.zeros(2), torch.nn.Parameter(torch.ones(1), False))
    )


def test_named_arguments_may_leave_others_out():
    x = bytes_of(3)
    numbers = (0.1, 3, x, 0.1, 3, 0.1, 3, 0, 255)
    assert torch.equal(add(x, *numbers, activation_max=0.5), add.reference(x, *numbers, None, 0.5))
