"""What holds for every function of ``qtensor.ops``: right on good input, clear about bad."""

import copy
import inspect
import math

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

import qtensor
from qtensor import QParams, QTensor

from .functions import functions, public
from .kernels import assert_same, isa

each_function = pytest.mark.parametrize("function", functions(), ids=str)


@pytest.fixture(autouse=True)
def no_fallback():
    with qtensor.fallback("error"):
        yield


def real(x):
    return x.dequantize() if isinstance(x, QTensor) else x


def plain(result):
    return result.int_repr() if isinstance(result, QTensor) else result


def test_every_function_has_an_example():
    assert {function.name for function in functions()} == public()


@each_function
def test_a_result_is_the_real_one_rounded_once(function):
    result = function(*function.arguments)
    if function.name == "fitting":
        assert isinstance(result, QParams)
        return
    expected = function.real(*tree_map(real, function.arguments))
    if not isinstance(result, QTensor):
        # Dynamic ones round their input, to half a step of its range.
        steps = 12 if function.name.endswith("_dynamic") else 0
        largest = max(x.abs().max() for x in function.arguments if type(x) is Tensor)
        assert (result - expected).abs().max() <= steps * largest / 255 + 1e-5
        return
    scale, zero_point = result.q_scale(), result.q_zero_point()
    low, high = ((bound - zero_point) * scale for bound in (0, 255))
    error = (result.dequantize() - expected.clamp(low, high)).abs().max()
    # A number is added by moving the zero point, and for that rounded to a step.
    assert error <= scale * (1.01 if "scalar" in function.name else 0.501)
    assert result.int_repr().unique().numel() > 2


@each_function
def test_instruction_sets_and_memory_make_no_difference(function):
    if function.name == "fitting":
        return
    before = copy.deepcopy(function.arguments)
    expected = plain(function(*function.arguments))
    if not function.name.endswith("_out"):
        for given, kept in zip(tree_leaves(function.arguments), tree_leaves(before), strict=True):
            assert given is kept or not isinstance(given, Tensor) or torch.equal(
                plain(given), plain(kept)
            )  # fmt: skip
    with isa("scalar"):
        assert_same(plain(function(*before)), expected)


NO_TENSORS = {
    "None": lambda x: None,
    "numbers": lambda x: [1.0, 2.0],
    "a number": lambda x: 3.5,
    "an array": lambda x: x.dequantize().numpy(),
    "sparse": lambda x: x.dequantize().to_sparse(),
    "floats": lambda x: x.dequantize(),
}
TAKEN = {  # what functions are made to take beside quantized tensors
    *((f, q, "a number") for f in ("add", "add_relu", "mul", "mul_relu") for q in ("qa", "qb")),
}


def replaced(function, kind):
    """For each argument of a kind: its name, and the arguments before and after it."""
    names = list(inspect.signature(getattr(qtensor.ops, function.name)).parameters)
    for i, given in enumerate(function.arguments):
        if isinstance(given, kind):
            name = names[min(i, len(names) - 1)]
            yield name, given, function.arguments[:i], function.arguments[i + 1 :]


@each_function
def test_what_is_not_quantized_is_refused_by_name(function):
    for name, given, before, after in replaced(function, QTensor):
        for what, bad in NO_TENSORS.items():
            if (function.name, name, what) in TAKEN:
                continue
            with pytest.raises(TypeError) as refused:
                function(*before, bad(given), *after)
            message = str(refused.value)
            said = "gelu" if function.name == "apply" else function.name.split("_")[0]
            assert "got" in message and said in message, (name, what, message)


READABLE = (TypeError, ValueError, IndexError, NotImplementedError)
OF_TORCH = ("alpha cannot be 0", "can't allocate memory")
BAD_NUMBERS = (0.0, -1.0, 1.5, math.nan, math.inf, -1e300, 2**40, "x", None)


PER_CHANNEL = QParams(torch.ones(2), torch.zeros(2).long(), axis=0)


def bad_tensors(given: Tensor):
    wrong = given.dequantize() if isinstance(given, QTensor) else given
    yield from (wrong[:0], wrong[..., :-1], wrong.unsqueeze(0), wrong.to("meta"), wrong.bool())
    if isinstance(given, QTensor):
        if given.qparams.axis is None:
            yield from (given[:0], given[..., :-1], given.unsqueeze(0))
        yield given.to("meta")
        channels = given.shape[0]
        per_channel = torch.ones(channels), torch.zeros(channels).long(), 0, qtensor.qint8
        yield qtensor.quantize_per_channel(wrong, *per_channel)
        for dtype in (qtensor.qint32, qtensor.qint8, qtensor.quint4x2):
            yield qtensor.quantize_per_tensor(wrong, 0.1, 0, dtype)


@each_function
def test_bad_arguments_are_refused_or_harmless(function):
    """Whatever is given: an exception for people to read, or a result of finite numbers."""
    expected = plain(function(*function.arguments))
    for kind, bads in (
        (Tensor, bad_tensors),
        ((float, int), lambda _: BAD_NUMBERS),
        (QParams, lambda _: (QParams(1.0, 0, qtensor.qint32), PER_CHANNEL)),
        ((list, str), lambda _: ([], [None], "unknown", 7)),
    ):
        for name, given, before, after in replaced(function, kind):
            for bad in bads(given):
                arguments = copy.deepcopy((*before, bad, *after))
                try:
                    result = function(*arguments)
                except Exception as error:
                    of_torch = any(text in str(error) for text in OF_TORCH)
                    assert of_torch or isinstance(error, READABLE), (name, bad, error)
                    continue
                leaves = tree_map_only(QTensor, real, tree_leaves(result))
                for leaf in leaves:
                    if isinstance(leaf, Tensor) and not leaf.is_meta:
                        assert bool(leaf.isfinite().all()), (name, bad)
    after_all = plain(function(*function.arguments))
    assert function.name == "fitting" or torch.equal(after_all, expected)
