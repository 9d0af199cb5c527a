"""Every method of torch's tensors, called on a QTensor.

Each is called with the first arguments, out of a list of such as methods take, that a float tensor
accepts. Then on a QTensor it gives what the float method gives of the dequantized values (as a
quantized tensor: within half a step of its own), or it raises an error that Python programmers
understand, without having written anything.
"""

import re
import warnings

import pytest
import torch

import qtensor
from qtensor import QTensor

SHAPE = (3, 4)

# What is no computation: Python's and torch's protocols, devices, storage, names of dimensions; and
# the vocabulary of quantized tensors, which has tests of its own.
LEFT_OUT = set(dir(object)) - {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"}
LEFT_OUT |= {
    "__annotations__", "__array__", "__array_priority__", "__array_wrap__", "__contains__",
    "__cuda_array_interface__", "__deepcopy__", "__dict__", "__dlpack__", "__dlpack_device__",
    "__iter__", "__module__", "__setstate__", "__torch_dispatch__", "__torch_function__",
    "__weakref__", "align_as", "align_to", "apply_", "as_subclass", "backward", "const_data_ptr",
    "cuda", "data_ptr", "dequantize", "has_names", "hpu", "imag", "index", "int_repr", "ipu",
    "is_distributed", "is_floating_point", "is_pinned", "is_quantized", "is_set_to", "istft",
    "map2_", "map_", "module_load", "mtia", "mutable_data_ptr", "names", "new", "new_tensor",
    "numpy", "pin_memory", "q_per_channel_axis", "q_per_channel_scales",
    "q_per_channel_zero_points", "q_scale", "q_zero_point", "qscheme", "record_stream",
    "refine_names", "register_hook",
    "register_post_accumulate_grad_hook", "reinforce", "rename", "rename_", "resize", "retain_grad",
    "set_", "share_memory_", "stft", "storage", "storage_type", "to_mkldnn", "type",
    "untyped_storage", "xpu",
}  # fmt: skip

# Filled with values that depend on nothing.
RANDOM = {
    "bernoulli", "multinomial", "cauchy", "exponential", "geometric", "log_normal", "normal",
    "random", "uniform", "empty", "new_empty", "new_empty_strided", "resize", "resize_as",
}  # fmt: skip


# Different integers, so that every order of them is certain.
NUMBERS = torch.tensor([[103, 92, 75, 128], [111, 83, 70, 97], [88, 119, 71, 105]])
SCALE, ZERO_POINT = 0.125, 90


def values():
    qparams = qtensor.QParams(SCALE, ZERO_POINT, qtensor.quint8)
    return QTensor(NUMBERS.to(torch.uint8), qparams)


def floats():
    return (NUMBERS - ZERO_POINT).float() * SCALE


def arguments():
    """Argument lists to try, the simplest first."""
    other, mask = torch.full(SHAPE, 1.5), torch.arange(12).reshape(SHAPE) % 2 == 0
    index = torch.tensor([[0, 1, 2, 0], [1, 1, 0, 2], [2, 0, 1, 1]])
    return [
        (), (1.5,), (0,), (1,), (other,), (1.5, 2.5), (0, 1), (1, 0), (mask,), (mask, 1.5),
        (mask, other), (torch.tensor([0, 2]),), (0, torch.tensor([0, 2])), (0, index),
        (0, index, 1.5), (0, index, other), (0, index, other, "sum"),
        (0, torch.tensor([0, 2]), torch.ones(2, 4)), (0, torch.tensor([0, 2]), 1.5),
        (0, torch.tensor([0, 2]), torch.ones(2, 4), "mean"),
        ((torch.tensor([0, 2]),), torch.ones(2, 4)), (index, other), ((4, 3),), ((3, 4),),
        (2, 0), (2, 0, 1), (1, 1, 2), ((0, 1), (1, 0)), (other, other), (other.T,), (other[0],),
        (other[:, 0],), (other, other.T @ other), (other[:, 0], other[0]),
        (torch.ones(3, 3), other),
        (2, 1, 0, 2.0), ((2, 2), (4, 1)), (other.double(),), (torch.float64,), ("sum",),
        (0, 0, 1), (torch.ones(3, dtype=torch.int64),), (1, (2, 2)), ((1, 2),), (other > 0,),
        (other[:2].unsqueeze(0), other.unsqueeze(0)), (torch.ones(4), 0), (other[1], 0, 1),
        (slice(0, 2), other[:2]), ((0, 1), 1.5),
    ]  # fmt: skip


# Of torch's inner workings, not of what was asked for.
OBSCURE = re.compile(
    r"Could not run|[Dd]ispatch|backend key|__torch_function__|no kernel|not implemented for '|"
    r"wrapper|internal assert|recursion",
    re.IGNORECASE,
)


def call(name, x, args):
    """The result; of what returns nothing, the tensor that it wrote into."""
    torch.manual_seed(0)
    attribute = getattr(x, name)
    result = attribute(*args) if callable(attribute) else attribute
    if result is NotImplemented:
        raise TypeError(f"{name} does not take {args}")
    return x if result is None else result


def accepted(name):
    """Arguments with which a float tensor can do it, or None."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for args in arguments():
            try:
                call(name, floats(), args)
            except Exception:  # whatever a tensor makes of arguments that it does not take
                continue
            return args
    return None


def public(name):
    return name not in LEFT_OUT and not re.match(r"_[^_]", name)


CALLS = {name: accepted(name) for name in sorted(dir(torch.Tensor)) if public(name)}
CALLS = {name: args for name, args in CALLS.items() if args is not None}


def parts(result):
    if isinstance(result, (tuple, list)) and not isinstance(result, torch.Size):
        return [x for part in result for x in parts(part)]
    return [result]


def assert_agrees(result, expected):
    for ours, theirs in zip(parts(result), parts(expected), strict=True):
        if not isinstance(theirs, torch.Tensor):
            assert ours == theirs
            continue
        rounding = 0.0
        if isinstance(ours, QTensor):
            rounding = ours.q_scale() / 2
            ours, qparams = ours.dequantize(), ours.qparams
            bounds = torch.tensor([qparams.quant_min, qparams.quant_max]) - qparams.zero_point
            theirs = theirs.clamp(*(bounds * qparams.scale).tolist())
        options = {"rtol": 1e-5, "atol": rounding + 1e-5, "equal_nan": True}
        torch.testing.assert_close(ours, theirs, **options)


def test_nearly_all_methods_are_called():
    assert len(CALLS) > 450  # of some 550; the others need arguments of other kinds


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.filterwarnings("ignore")  # torch's, about old names
def test_method(name):
    q, args = values(), CALLS[name]
    try:
        with qtensor.fallback("silent"):
            result = call(name, q, args)
    except (TypeError, ValueError, RuntimeError, IndexError) as error:
        assert not OBSCURE.search(str(error)), f"{args}: {error}"
        assert torch.equal(q.int_repr(), values().int_repr())
        return
    if name.strip("_") in RANDOM:
        return
    x = floats()
    assert_agrees(result, call(name, x, args))
    assert_agrees(q, x)  # what wrote into one wrote into the other


# Those that write and may refuse to; all others write what they would write into floats.
REFUSING = """
    acos acosh addcdiv addcmul addmm addr arccos arccosh arcsin arcsinh arctan arctan2 arctanh
    as_strided asin asinh atan atan2 atanh ceil conj_physical copysign cosh cumprod cumsum deg2rad
    digamma erfc erfinv exp2 fix floor floor_divide fmod frac heaviside hypot i0 igamma igammac
    index_add index_reduce ldexp lerp lgamma log log10 log1p log2 logical_and logical_not logical_or
    logical_xor logit mvlgamma nan_to_num nextafter polygamma pow rad2deg reciprocal remainder
    renorm requires_grad round rsqrt scatter_add scatter_reduce sgn sign sinc sinh sqrt squeeze
    swapaxes swapdims t tan transpose trunc unsqueeze xlogy absolute negative eq ne lt le gt ge
    greater greater_equal less less_equal not_equal
"""


@pytest.mark.parametrize("name", [n for n in CALLS if n.endswith("_") and not n.endswith("__")])
@pytest.mark.filterwarnings("ignore")
def test_who_writes(name):
    q = values()
    if name[:-1] not in {*REFUSING.split(), *RANDOM}:
        assert call(name, q, CALLS[name]) is q
        return
    with pytest.raises((NotImplementedError, RuntimeError), match="cannot"):
        call(name, q, CALLS[name])
    assert torch.equal(q.int_repr(), values().int_repr())
