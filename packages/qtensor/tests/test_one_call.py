"""Functions of quantized tensors that are remembered as one call of an operator."""

import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch.fx.experimental.proxy_tensor import make_fx

import qtensor
from qtensor import QParams, QTensor
from qtensor._one_call import Call, one_call
from qtensor._ops.add import add


class Asked:
    """The sum of two quantized tensors; counts how often it is asked what a call comes to."""

    def __init__(self):
        self.times = 0

        @one_call
        def function(a, b, output, *others, **options):
            self.times += 1
            rule = output.scale, output.zero_point, output.quant_min, output.quant_max
            given = (*(a._data, a._scale, a._zero_point), *(b._data, b._scale, b._zero_point))
            return Call(add, (*given, *rule), output)

        self.function = function


OUTPUT = QParams(0.5, 3)


def quantized(*shape, scale=0.25, zero_point=7, dtype=qtensor.quint8):
    return qtensor.quantize_per_tensor(torch.randn(shape), scale, zero_point, dtype)


def expected(a, b, output):
    steps = (a.dequantize() + b.dequantize()) / output.scale
    return (steps.round() + output.zero_point).clamp(output.quant_min, output.quant_max)


def check(asked, a, b, output, *others, **options):
    result = asked.function(a, b, output, *others, **options)
    assert type(result) is QTensor and result.qparams == output
    assert torch.equal(result.int_repr().float(), expected(a, b, output))
    assert result.stride() == result.int_repr().stride() and result.shape == a.shape


def test_alike_calls_are_asked_about_once():
    asked = Asked()
    for _ in range(2):
        check(asked, quantized(2, 3), quantized(2, 3), OUTPUT)
        check(asked, quantized(2, 3), quantized(2, 3), QParams(0.5, 3))
    assert asked.times == 1


SIGNED = {
    "a": quantized(2, 3, dtype=qtensor.qint8),
    "b": quantized(2, 3, dtype=qtensor.qint8),
    "output": QParams(0.5, 3, qtensor.qint8),
}


@pytest.mark.parametrize(
    "change",
    [
        {"a": quantized(2, 3, scale=0.125)},
        {"b": quantized(2, 3, zero_point=8)},
        SIGNED,
        {"a": quantized(3, 2).t()},
        {"a": quantized(4, 3), "b": quantized(4, 3)},
        {"output": QParams(0.5, 3, quant_max=127)},
        {"output": QParams(1.0, 3)},
        {"more": (2,)},
        {"more": (2.0,)},
        {"more": (True,)},
        {"more": (None,)},
        {"more": ([2, 3],)},
        {"more": ("two",)},
        {"more": (torch.uint8,)},
        {"options": {"two": 2}},
        {"options": {"three": 2}},
    ],
    ids=lambda change: "-".join(change),
)
def test_others_are_asked_about(change):
    asked = Asked()
    first = {"a": quantized(2, 3), "b": quantized(2, 3), "output": OUTPUT}
    for each in (first, first | change, first, first | change):
        call = {"more": (), "options": {}} | each
        check(asked, call["a"], call["b"], call["output"], *call["more"], **call["options"])
    assert asked.times == 2


def test_objects_that_may_change_are_not_remembered():
    asked = Asked()
    for _ in range(2):
        check(asked, quantized(2), quantized(2), OUTPUT, {"any": 1})
    check(asked, quantized(2), quantized(2), OUTPUT, 2**80)
    assert asked.times == 3


def test_tensors_are_not_kept():
    asked, a, b = Asked(), quantized(5), quantized(5)
    asked.function(a, b, OUTPUT)
    kept = weakref.ref(a), weakref.ref(b.int_repr())
    del a, b
    gc.collect()
    assert kept[0]() is None and kept[1]() is None


def test_a_changed_tensor_is_read_anew():
    asked, a, b = Asked(), quantized(5), quantized(5)
    check(asked, a, b, OUTPUT)
    a.int_repr().add_(1)
    check(asked, a, b, OUTPUT)
    assert asked.times == 1


def test_modes_and_tracers_see_the_operator():
    q = quantized(1, 2, 4, 4)
    F.max_pool2d(q, 2)  # remembered

    def pooled(x):
        return F.max_pool2d(QTensor(x, q.qparams), 2).int_repr()

    graph = make_fx(pooled)(q.int_repr())
    assert any("qtensor.max_pool" in str(node.target) for node in graph.graph.nodes)
    compiled = torch.compile(pooled, backend="eager", fullgraph=True)
    assert torch.equal(compiled(q.int_repr()), F.max_pool2d(q, 2).int_repr())


def test_results_of_other_kinds_stay():
    per_channel = qtensor.quantize_per_channel(
        torch.randn(1, 2, 4, 4), torch.tensor([0.1, 0.2]), torch.tensor([0, 0]), 1, qtensor.qint8
    )
    with qtensor.fallback("silent"):
        for _ in range(2):
            assert type(F.max_pool2d(per_channel, 2)) is torch.Tensor
    packed = qtensor.quantize_per_tensor(torch.ones(4), 0.5, 0, qtensor.quint4x2)
    assert packed.int_repr().tolist() == [2, 2, 2, 2]
