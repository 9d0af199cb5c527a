"""Calls every operator with each argument in turn replaced by bad ones; see ``test_misuse.py``.

A program of its own, so that a crash is seen as one: ``python -m tests.every.misuse``; arguments
pick operators by name. It prints a line for each fault it finds. What may come of a call is an
exception that a user can read, or a result; and a result must be the one that plain torch gives.
"""

import math
import os
import resource
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from .kernels import bits, tensors
from .operators import Example, examples

MEMORY = 8 << 30  # more is refused, so that a size gone wrong fails at once
READABLE = (TypeError, ValueError, IndexError)
INF, NAN, HUGE = math.inf, math.nan, 2**62


def bad_tensors(tensor: Tensor) -> dict[str, Any]:
    """The tensor with another dtype, shape, device or content, and what is no tensor."""
    dtypes = (torch.float32, torch.float64, torch.int64, torch.bool, torch.int8)
    bad: dict[str, Any] = {f"as {dtype}": tensor.to(dtype) for dtype in dtypes}
    bad |= {"complex": tensor.to(torch.complex64), "meta": tensor.to("meta"), "number": 3}
    bad |= {"one more dimension": tensor.unsqueeze(0), "flat": tensor.flatten()}
    if tensor.dim():
        bad |= {"of no rows": tensor[:0], "of no columns": tensor[..., :0]}
        bad |= {"shorter": tensor[..., :-1], "a scalar": tensor.flatten()[0]}
    if tensor.is_floating_point():
        values = (NAN, -INF, 0.0, -1.0)
    else:
        info = torch.iinfo(tensor.dtype)
        values = (info.min, info.max, 0)
    return bad | {f"full of {value}": torch.full_like(tensor, value) for value in values}


def bad_lists(given: list[Any] | None, values: tuple[Any, ...]) -> dict[str, Any]:
    length = len(given or ())
    lists = [[], *([value] * length for value in values), [values[-1]] * (length + 1)]
    return {str(bad): bad for bad in lists}


def bad_values(kind: str, given: Any) -> dict[str, Any]:
    """What to put in the place of an argument of this type of the schema, by name."""
    if kind == "Tensor":
        return bad_tensors(given) if given is not None else {"ones": torch.ones(3)}
    if kind == "List[Tensor]":
        mixed = [given[0].to(torch.uint8), given[1].to(torch.int8)]
        parts = {"meta": [given[0], given[1].to("meta")], "mixed dtypes": mixed, "none": []}
        return parts | {"float": [part.float() for part in given], "fewer": given[1:]}
    if kind == "List[int]":
        return bad_lists(given, (0, -1, HUGE, 2**40, 1))
    if kind == "List[float]":
        return bad_lists(given, (0.0, -1.0, NAN, INF, 1e-300, 1e300, 1.0))
    if kind == "ScalarType":
        dtypes = (torch.uint8, torch.int8, torch.int32, torch.float32, torch.complex64, torch.bool)
        return {str(dtype): dtype for dtype in dtypes}
    values = {
        "float": (0.0, -1.0, INF, NAN, 1e-300, 1e300, "x"),
        "int": (-1, 0, 256, 2**31, HUGE, -HUGE, 1.5),
        "str": ("", "unknown", 5),
        "bool": (),
    }
    return {str(bad): bad for bad in values[kind]}


def misused(example: Example) -> Iterator[tuple[str, tuple[Any, ...]]]:
    for i, argument in enumerate(example.op._schema.arguments[: len(example.arguments)]):
        kind = str(argument.type).removeprefix("Optional[")
        kind = kind if kind == str(argument.type) else kind[:-1]
        if argument.name in ("dtype", "out_dtype", "output_dtype"):
            kind = "ScalarType"  # which the schema calls int
        for name, bad in bad_values(kind, example.arguments[i]).items():
            arguments = (*example.arguments[:i], bad, *example.arguments[i + 1 :])
            yield f"{example} with {argument.name} {name}", arguments


def outcome(function: Any, arguments: tuple[Any, ...]) -> tuple[Tensor, ...] | Exception:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return tensors(function(*arguments))
    except Exception as error:
        return error


def fault_of(example: Example, arguments: tuple[Any, ...], mixed: bool) -> str | None:
    """What is wrong with how the operator took these arguments; ``None`` if nothing is."""
    result = outcome(example.op, arguments)
    if isinstance(result, Exception):
        torch_says = (
            *("Expected a value of type", "can't allocate memory", "not enough memory"),
            *("cannot be converted to Scalar", "without overflow", "not implemented for 'Complex"),
        )
        if isinstance(result, READABLE) or any(text in str(result) for text in torch_says):
            return None
        return f"raises {type(result).__name__}: {str(result).splitlines()[0]}"
    if mixed:
        return "is taken, though on another device than the others"
    expected = outcome(example.reference, arguments)
    if isinstance(expected, Exception):
        return f"gives a result, plain torch {type(expected).__name__}: {expected}"
    fake = outcome(example.op, tree_map_only(Tensor, on_meta, arguments))
    if isinstance(fake, Exception):
        return f"gives a result, a meta tensor {type(fake).__name__}: {fake}"
    for one, other, meta in zip(result, expected, fake, strict=True):
        if not (one.shape == other.shape == meta.shape and one.dtype == other.dtype == meta.dtype):
            return "has other shapes or dtypes in plain torch or on the meta device"
        if not torch.allclose(
            *(values.double().nan_to_num() for values in (one, other)), rtol=1e-5, atol=1e-3
        ):
            return f"gives {one.flatten()[:5]}, plain torch {other.flatten()[:5]}"
    return None


def on_meta(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def arity(example: Example) -> int:
    return len([argument for argument in example.arguments if argument is not None])


def main(names: list[str]) -> None:
    """Misuses these operators, or all."""
    if "asan" not in os.environ.get("LD_PRELOAD", ""):  # which needs all addresses
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    calls = 0
    of_operator = {example.operator: example for example in sorted(examples(), key=arity)}
    for example in of_operator.values():
        if names and example.operator not in names:
            continue
        before = tensors(example.op(*example.arguments))
        for name, arguments in misused(example):
            print(name, file=sys.stderr)  # the last line tells where it crashed
            leaves = [leaf for leaf in tree_leaves(arguments) if isinstance(leaf, Tensor)]
            devices = {leaf.device for leaf in leaves if leaf.dim() or not leaf.is_cpu}
            if devices == {torch.device("meta")}:
                continue
            fault = fault_of(example, arguments, len(devices) > 1)
            calls += 1
            if fault is not None:
                print(f"{name} {fault}", flush=True)
        after = tensors(example.op(*example.arguments))
        if any(bits(one) != bits(other) for one, other in zip(before, after, strict=True)):
            print(f"{example} gives another result after it was misused")
    print(f"{calls} calls")


if __name__ == "__main__":
    main(sys.argv[1:])
