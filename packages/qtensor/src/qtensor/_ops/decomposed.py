"""Further quantize and dequantize operators of exported graphs, and what chooses their parameters.

They are the operators of ``quantize``, taking their parameters in other forms: per tensor as
tensors, per token (each row of the last dimension), or per group of a row. Where there is a
kernel, they run the same one.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .._calls import Prepared
from .._elementwise import DequantizePerChannel, QuantizePerChannel
from ._checks import check_integers, check_quantizable, check_range
from ._registry import composite, operator
from .fake_quantize import fake_quantize
from .quantize import (
    dequantize_channels,
    dequantize_per_channel_reference,
    dequantize_per_tensor_cpu,
    dequantize_with,
    quantize_channels,
    quantize_per_channel_reference,
    quantize_per_tensor_cpu,
    quantize_with,
    written_as,
)
from .running_range import Parameters, RangeRule, RangeScheme, parameters_of
from .statistics import (
    aminmax_cpu,
    aminmax_per_row_cpu,
    aminmax_per_row_reference,
    aminmax_reference,
)

# ---- per tensor, parameters as tensors of one element --------------------------------------------
# ``tensor2`` has the range in tensors too.


def _check_scalars(**tensors: Any) -> None:
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            continue
        if tensor.numel() != 1:
            raise ValueError(f"expected {name} of one element, got shape {tuple(tensor.shape)}")
        if tensor.dtype == torch.bool or tensor.is_complex():
            raise TypeError(f"expected {name} to be a number, got {tensor.dtype}")


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


def _scalar(value: Any) -> Any:
    return value.reshape(()) if isinstance(value, Tensor) else value


def _quantize_tensor_cpu(
    input: Tensor, scale: Tensor, zero_point: Tensor, low: Any, high: Any, dtype: torch.dtype
) -> Tensor:
    _check_scalars(scale=scale, zero_point=zero_point, quant_min=low, quant_max=high)
    numbers = scale.item(), int(zero_point.item()), _number(low), _number(high)
    return quantize_per_tensor_cpu(input, *numbers, dtype)


def _quantize_tensor_reference(
    input: Tensor, scale: Tensor, zero_point: Tensor, low: Any, high: Any, dtype: torch.dtype
) -> Tensor:
    scalars = scale.float().reshape(()), zero_point.long().reshape(()), _scalar(low), _scalar(high)
    return quantize_with(input, *scalars, dtype)


def _quantize_tensor_fake(
    input: Tensor, scale: Tensor, zero_point: Tensor, low: Any, high: Any, dtype: torch.dtype
) -> Tensor:
    check_quantizable(input)
    _check_scalars(scale=scale, zero_point=zero_point, quant_min=low, quant_max=high)
    if not isinstance(low, Tensor):
        check_range(low, high, dtype)
    return torch.empty_like(input, dtype=dtype)


def _dequantize_tensor_cpu(
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    low: Any,
    high: Any,
    dtype: torch.dtype,
    *,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    _check_scalars(scale=scale, zero_point=zero_point)
    numbers = scale.item(), int(zero_point.item())
    return dequantize_per_tensor_cpu(input, *numbers, dtype=dtype, out_dtype=out_dtype)


def _dequantize_tensor_reference(
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    low: Any,
    high: Any,
    dtype: torch.dtype,
    *,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    scalars = scale.float().reshape(()), zero_point.long().reshape(())
    return dequantize_with(input, *scalars, out_dtype)


def _dequantize_tensor_fake(
    input: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    low: Any,
    high: Any,
    dtype: torch.dtype,
    *,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    check_integers(input, (dtype,))
    _check_scalars(scale=scale, zero_point=zero_point)
    return torch.empty_like(input, dtype=out_dtype or torch.float32)


for _overload, _bound in (("tensor", "int"), ("tensor2", "Tensor")):
    _arguments = (
        f"Tensor input, Tensor scale, Tensor zero_point, {_bound} quant_min, {_bound} quant_max, "
        "ScalarType dtype"
    )
    operator(
        f"quantize_per_tensor.{_overload}({_arguments}) -> Tensor",
        cpu=_quantize_tensor_cpu,
        reference=_quantize_tensor_reference,
        fake=_quantize_tensor_fake,
    )
    operator(
        f"dequantize_per_tensor.{_overload}({_arguments}, *, ScalarType? out_dtype=None) -> Tensor",
        cpu=_dequantize_tensor_cpu,
        reference=_dequantize_tensor_reference,
        fake=_dequantize_tensor_fake,
    )


# ---- per token and per group: each run of values has a scale and zero point of its own ----------


def _check_runs(input: Tensor, size: int, *parameters: Tensor) -> None:
    if not input.ndim or size < 1 or input.shape[-1] % size:
        raise ValueError(
            f"expected an input whose rows are whole groups of {size} values, got shape "
            f"{tuple(input.shape)}"
        )
    for tensor in parameters:
        if tensor.numel() * size != input.numel():
            raise ValueError(
                f"expected {input.numel() // size} scales and zero points, one for each {size} "
                f"values of input of shape {tuple(input.shape)}, got shape {tuple(tensor.shape)}"
            )


_GROUP = 128


def _run_size(input: Tensor, scales: Tensor, group_size: int | None) -> int:
    """The group size; absent, or larger than a row, it means the row."""
    columns = input.shape[-1] if input.ndim else 0
    if group_size is None or (group_size > columns and scales.shape[-1:] == (1,)):
        return columns
    return group_size


# torch leaves an argument out where it equals the default, so that is each function's own.
def _quantize_runs(run: Callable[..., Tensor], default: int | None) -> Callable[..., Tensor]:
    """``run`` takes as many scales and zero points as there are runs, and their size at the end."""

    def quantize(
        input: Tensor,
        scales: Tensor,
        zero_points: Tensor,
        quant_min: int,
        quant_max: int,
        dtype: torch.dtype,
        group_size: int | None = default,
    ) -> Tensor:
        size = _run_size(input, scales, group_size)
        _check_runs(input, size, scales, zero_points)
        parameters = scales.reshape(-1).float(), zero_points.reshape(-1).long()
        return run(input, *parameters, quant_min, quant_max, dtype, size)

    return quantize


def quantize_runs_reference(
    input: Tensor, scales: Tensor, zero_points: Tensor, low: int, high: int, dtype: Any, size: int
) -> Tensor:
    rows = input.reshape(-1, size)
    result = quantize_per_channel_reference(rows, scales, zero_points, 0, low, high, dtype)
    return result.reshape(input.shape)


def _quantize_runs_kernel(
    output: Tensor,
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
    size: int,
) -> QuantizePerChannel:
    shape = _shape_of_runs(output, size)
    return quantize_channels(output, input, scales, zero_points, shape, quant_min, quant_max)


def _shape_of_runs(output: Tensor, size: int) -> tuple[int, int, int]:
    return (1, output.numel() // size, size) if output.numel() else (0, 1, 1)


def _quantize_runs_fake(default: int | None) -> Callable[..., Tensor]:
    def fake(
        input: Tensor,
        scales: Tensor,
        zero_points: Tensor,
        quant_min: int,
        quant_max: int,
        dtype: torch.dtype,
        group_size: int | None = default,
    ) -> Tensor:
        check_quantizable(input)
        check_range(quant_min, quant_max, dtype)
        size = _run_size(input, scales, group_size)
        _check_runs(input, size, scales, zero_points)
        return input.new_empty(input.shape, dtype=dtype)

    return fake


def _dequantize_runs(run: Callable[..., Tensor], default: int | None) -> Callable[..., Tensor]:
    """As above; ``run`` takes a dtype to write, at the very end."""

    def dequantize(
        input: Tensor,
        scales: Tensor,
        zero_points: Tensor | None,
        quant_min: int,
        quant_max: int,
        dtype: torch.dtype,
        group_size: int | None = default,
        *,
        output_dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        size = _run_size(input, scales, group_size)
        _check_runs(input, size, scales, *([] if zero_points is None else [zero_points]))
        zeros = None if zero_points is None else zero_points.reshape(-1).long()
        parameters = scales.reshape(-1).float(), zeros, quant_min, quant_max, dtype, size
        return run(input, *parameters, written_as(output_dtype)).to(output_dtype)

    return dequantize


def dequantize_runs_reference(
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor | None,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
    size: int,
    out_dtype: torch.dtype | None,
) -> Tensor:
    rows = input.reshape(-1, size)
    result = dequantize_per_channel_reference(rows, scales, zero_points, 0, out_dtype=out_dtype)
    return result.reshape(input.shape)


def _dequantize_runs_kernel(
    output: Tensor,
    input: Tensor,
    scales: Tensor,
    zero_points: Tensor | None,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
    size: int,
    out_dtype: torch.dtype | None,
) -> DequantizePerChannel:
    return dequantize_channels(output, input, scales, zero_points, _shape_of_runs(output, size))


def _dequantize_runs_fake(default: int | None) -> Callable[..., Tensor]:
    def fake(
        input: Tensor,
        scales: Tensor,
        zero_points: Tensor | None,
        quant_min: int,
        quant_max: int,
        dtype: torch.dtype,
        group_size: int | None = default,
        output_dtype: torch.dtype | None = torch.float32,
    ) -> Tensor:
        check_integers(input, (dtype,))
        size = _run_size(input, scales, group_size)
        _check_runs(input, size, scales, *([] if zero_points is None else [zero_points]))
        return input.new_empty(input.shape, dtype=output_dtype or torch.float32)

    return fake


_quantized_runs = Prepared(_quantize_runs_fake(None), _quantize_runs_kernel)
_dequantized_runs = Prepared(_dequantize_runs_fake(None), _dequantize_runs_kernel)
_RUNS = "Tensor scales, {} zero_points, int quant_min, int quant_max, ScalarType dtype"

for _name, _default in (("token", None), ("channel_group", _GROUP)):
    _size = "" if _default is None else f", int group_size={_default}"
    operator(
        f"quantize_per_{_name}(Tensor input, {_RUNS.format('Tensor')}{_size}) -> Tensor",
        cpu=_quantize_runs(_quantized_runs, _default),
        reference=_quantize_runs(quantize_runs_reference, _default),
        fake=_quantize_runs_fake(_default),
    )
    operator(
        f"dequantize_per_{_name}(Tensor input, {_RUNS.format('Tensor?')}{_size}, *, "
        "ScalarType output_dtype=float) -> Tensor",
        cpu=_dequantize_runs(_dequantized_runs, _default),
        reference=_dequantize_runs(dequantize_runs_reference, _default),
        fake=_dequantize_runs_fake(_default),
    )


# ---- parameters from the values themselves -------------------------------------------------------
# Scales are float32, zero points int64. What is not finite has no part in a range.

_SMALLEST_PER_TOKEN = 1e-5


def affine_parameters(
    lowest: Tensor, highest: Tensor, quant_min: int, quant_max: int, eps: float
) -> Parameters:
    """Scale and zero point for a range, widened to have 0 in it."""
    rule = RangeRule(RangeScheme.AFFINE, quant_min, quant_max, eps=eps)
    return parameters_of(lowest.float(), highest.float(), rule)


def symmetric_parameters(
    lowest: Tensor, highest: Tensor, quant_min: int, quant_max: int, eps: float
) -> Parameters:
    """Scale for a range around 0, whose zero point is 0 or the middle of unsigned integers."""
    middle = 0 if quant_min < 0 else (quant_min + quant_max + 1) // 2
    rule = RangeRule(RangeScheme.SYMMETRIC, quant_min, quant_max, middle, eps)
    return parameters_of(lowest.float(), highest.float(), rule)


def _per_tensor(aminmax: Callable[..., Any], rule: Callable[..., Parameters]) -> Any:
    def choose(
        input: Tensor, quant_min: int, quant_max: int, eps: float, dtype: torch.dtype
    ) -> Parameters:
        _choose_fake(input, quant_min, quant_max, eps, dtype)
        lowest, highest, _ = aminmax(input)
        ends = (_or_zero(lowest).reshape(1), _or_zero(highest).reshape(1))
        return rule(*ends, quant_min, quant_max, eps)

    return choose


def _or_zero(bound: Tensor) -> Tensor:
    """Of nothing, the range is 0 alone."""
    return torch.where(bound.isinf(), 0.0, bound)


def _choose_fake(
    input: Tensor, quant_min: int, quant_max: int, eps: float, dtype: torch.dtype
) -> Parameters:
    check_quantizable(input)
    check_range(quant_min, quant_max, dtype)
    if not 0 <= eps <= torch.finfo(torch.float32).max:
        raise ValueError(f"expected eps, the least scale, to be a finite float32 from 0, got {eps}")
    return input.new_empty(1, dtype=torch.float32), input.new_empty(1, dtype=torch.int64)


def _per_token(aminmax_per_row: Callable[..., Any], symmetric: bool) -> Any:
    def choose(input: Tensor, dtype: torch.dtype) -> Parameters:
        _choose_per_token_fake(input, dtype)
        lowest, highest, _ = aminmax_per_row(input)
        lowest, highest = _or_zero(lowest).float(), _or_zero(highest).float()
        if symmetric:
            bound = torch.maximum(-lowest, highest)
            scale = bound.clamp(min=_SMALLEST_PER_TOKEN) / 127
            zero_point = torch.zeros_like(scale, dtype=torch.int64)
        else:
            eps = torch.finfo(torch.float32).eps
            scale, zero_point = affine_parameters(lowest, highest, -128, 127, eps)
        shape = (*input.shape[:-1], 1)
        return scale.reshape(shape), zero_point.reshape(shape)

    return choose


def _choose_per_token_fake(input: Tensor, dtype: torch.dtype) -> Parameters:
    check_quantizable(input)
    if not input.ndim:
        raise ValueError("expected an input of one dimension or more, got a scalar")
    if dtype != torch.int8:
        raise TypeError(f"expected torch.int8 to choose parameters per token for, got {dtype}")
    shape = (*input.shape[:-1], 1)
    return input.new_empty(shape, dtype=torch.float32), input.new_empty(shape, dtype=torch.int64)


def _choose(name: str, rule: Callable[..., Parameters]) -> Any:
    return operator(
        f"{name}.tensor(Tensor input, int quant_min, int quant_max, float eps, ScalarType dtype) "
        "-> (Tensor, Tensor)",
        cpu=_per_tensor(aminmax_cpu, rule),
        reference=_per_tensor(aminmax_reference, rule),
        fake=_choose_fake,
    )


choose_qparams = _choose("choose_qparams", affine_parameters)
choose_qparams_symmetric = _choose("choose_qparams_symmetric", symmetric_parameters)

for _name, _symmetric in (("", True), ("_asymmetric", False)):
    operator(
        f"choose_qparams_per_token{_name}(Tensor input, ScalarType dtype) -> (Tensor, Tensor)",
        cpu=_per_token(aminmax_per_row_cpu, _symmetric),
        reference=_per_token(aminmax_per_row_reference, _symmetric),
        fake=_choose_per_token_fake,
    )


# ---- others --------------------------------------------------------------------------------------


def _convert(input: Tensor, dtype: torch.dtype) -> Tensor:
    return input.to(dtype, copy=True)


convert_element_type = operator(
    "convert_element_type.no_fuse(Tensor input, ScalarType dtype) -> Tensor",
    cpu=_convert,
    reference=_convert,
    fake=lambda input, dtype: torch.empty_like(input, dtype=dtype),
)


def _fake_quant_per_channel(
    input: Tensor, scales: Tensor, zero_points: Tensor, axis: int, low: int, high: int
) -> Tensor:
    return fake_quantize(input, scales, zero_points, axis, low, high)


composite(
    "fake_quant_per_channel(Tensor input, Tensor scales, Tensor zero_points, int axis, "
    "int quant_min, int quant_max) -> Tensor",
    _fake_quant_per_channel,
)
