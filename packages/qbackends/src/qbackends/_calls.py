"""How the rows of the native table read calls of functions.

``*_from_call`` functions make the module that a function call stands for: they have the function's
own signature, with ``None`` for the activation (those of convolutions take the module's class
before it). ``*_refusal`` functions know the calls that cannot be quantized, and say why. None is
made inside another function: models remember their rows, and can be pickled.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from qtensor import QParams, QTensor, ops


def linear_from_call(input: None, weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """The ``nn.Linear`` that ``F.linear(input, weight, bias)`` stands for."""
    out_features, in_features = weight.shape
    linear = nn.Linear(in_features, out_features, bias is not None, "meta")
    _give(linear, weight, bias)
    return linear


def conv_from_call(
    kind: type[nn.Module],
    input: None,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> nn.Module:
    """The ``kind`` (``nn.Conv2d``, …) that a call of its function stands for."""
    out_channels, in_channels, *kernel_size = weight.shape
    sizes = (in_channels * groups, out_channels, tuple(kernel_size))
    geometry = (stride, padding, dilation, groups)
    conv = kind(*sizes, *geometry, bias is not None, device="meta")
    _give(conv, weight, bias)
    return conv


def conv_transpose_from_call(
    kind: type[nn.Module],
    input: None,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> nn.Module:
    """The ``kind`` (``nn.ConvTranspose2d``, …) that a call of its function stands for."""
    in_channels, out_channels, *kernel_size = weight.shape
    sizes = (in_channels, out_channels * groups, tuple(kernel_size))
    geometry = (stride, padding, output_padding, groups, bias is not None, dilation)
    conv = kind(*sizes, *geometry, device="meta")
    _give(conv, weight, bias)
    return conv


def prelu_from_call(input: None, weight: Tensor) -> nn.PReLU:
    """The ``nn.PReLU`` that ``F.prelu(input, weight)`` stands for."""
    prelu = nn.PReLU(weight.numel(), device="meta")
    _give(prelu, weight)
    return prelu


def embedding_from_call(
    input: None,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> nn.Embedding:
    """The ``nn.Embedding`` that a call of ``F.embedding`` stands for."""
    table = nn.Embedding(
        weight.shape[0],
        weight.shape[1],
        padding_idx,
        max_norm,
        norm_type,
        scale_grad_by_freq,
        sparse,
        device="meta",
    )
    _give(table, weight)
    return table


def _give(module: Any, weight: Tensor, bias: Tensor | None = None) -> None:
    module.weight = weight if isinstance(weight, nn.Parameter) else _frozen(weight)
    if bias is not None:
        module.bias = bias if isinstance(bias, nn.Parameter) else _frozen(bias)


def _frozen(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)


def relu_from_call(input: None, inplace: bool = False) -> nn.ReLU:
    """The ``nn.ReLU`` that ``F.relu(input)`` stands for."""
    return nn.ReLU()


def relu6_from_call(input: None, inplace: bool = False) -> nn.ReLU6:
    """The ``nn.ReLU6`` that ``F.relu6(input)`` stands for."""
    return nn.ReLU6()


def hardtanh_from_call(
    input: None, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> nn.Hardtanh:
    """The ``nn.Hardtanh`` that ``F.hardtanh(input, min_val, max_val)`` stands for."""
    return nn.Hardtanh(min_val, max_val)


def clamp_from_call(input: None, min: float | None = None, max: float | None = None) -> nn.Hardtanh:
    """The ``nn.Hardtanh`` that ``torch.clamp(input, min, max)`` stands for."""
    low, high = -math.inf if min is None else min, math.inf if max is None else max
    return nn.Hardtanh(low, high)


def clamp_min_from_call(input: None, min: float) -> nn.Hardtanh:
    """The ``nn.Hardtanh`` that ``torch.clamp_min(input, min)`` stands for."""
    return clamp_from_call(input, min)


def clamp_max_from_call(input: None, max: float) -> nn.Hardtanh:
    """The ``nn.Hardtanh`` that ``torch.clamp_max(input, max)`` stands for."""
    return clamp_from_call(input, max=max)


def quantized_matmul(a: QTensor, b: QTensor, *, output: QParams) -> QTensor:
    """``a @ b`` on integers."""
    return ops.matmul_to(a, b, output)


def conv_refusal(module: Any, args: Any, kwargs: Any) -> str | None:
    """Even kernels cannot be padded to the same size on both sides alike."""
    conv: Any = module[0] if isinstance(module, nn.Sequential) else module
    if getattr(conv, "padding", None) == "same":
        both = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        if any(total % 2 for total in both):
            return "padding='same' of an even kernel has no quantized form"
    return None


def conv_transpose_refusal(
    module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> str | None:
    """An output size of the call's own is another geometry than the module's."""
    return "it is called with output_size" if module and (len(args) > 1 or kwargs) else None


def batch_norm_refusal(module: Any, args: Any, kwargs: Any) -> str | None:
    """Batch norms on integers use their running statistics."""
    missing = module is not None and module.running_mean is None
    return "it has no running statistics" if missing else None


def unfolded_refusal(module: Any, args: Any, kwargs: Any) -> str | None:
    """A batch norm can stay beside its layer only in quantization-aware training."""
    if module is None or not module.training:
        return "its batch norm is not folded; give the layers one by one"
    return conv_refusal(module, args, kwargs)


def embedding_refusal(module: Any, args: Any, kwargs: Any) -> str | None:
    """Tables that change while they are read cannot be quantized."""
    return None if module is None or module.max_norm is None else "max_norm renormalizes its rows"


def lstm_refusal(module: Any, args: Any, kwargs: Any) -> str | None:
    """Projections of the hidden values have no quantized form."""
    return "it projects its hidden values" if module.proj_size else None


def quantized_softmax(
    input: QTensor, dim: int, _stacklevel: int = 3, dtype: None = None, *, output: QParams
) -> QTensor:
    """``softmax(input, dim)`` on integers."""
    return ops.softmax_to(input, dim, output)


def softmax_refusal(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Softmax along an axis that has to be guessed, or of another dtype."""
    if module is not None:
        return None
    if kwargs.get("dim", args[1] if len(args) > 1 else None) is None:
        return "it is called without dim"
    dtypes = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.dtype)]
    return "it is called with dtype" if dtypes else None


def clamp_refusal(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Bounds are numbers: integers of the input's parameters do not stand for tensors of them."""
    given = dict(zip(("min", "max"), args[1:], strict=False)) | kwargs
    bounds = [bound for bound in (given.get("min"), given.get("max")) if bound is not None]
    if given.keys() - {"min", "max"} or not all(isinstance(b, int | float) for b in bounds):
        return "it is called with tensors for bounds, or out"
    return None if len(bounds) < 2 or bounds[0] < bounds[1] else "its bounds leave no range"


def mean_refusal(module: Any, args: Any, kwargs: dict[str, Any]) -> str | None:
    """``dtype=`` and ``out=`` are of float results."""
    others = kwargs.keys() & {"dtype", "out"}
    return f"it is called with {', '.join(sorted(others))}" if others else None


def interpolate_refusal(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Only nearest and linear interpolation are computed on integers."""
    mode = getattr(module, "mode", None) or kwargs.get("mode")
    mode = mode or (args[3] if len(args) > 3 else "nearest")
    known = ("nearest", "nearest-exact", "linear", "bilinear", "trilinear")
    if kwargs.get("antialias") or mode not in known:
        return f"mode {mode!r}, or antialiasing, has no quantized form"
    return None


def max_pool_refusal(module: Any, args: Any, kwargs: dict[str, Any]) -> str | None:
    """Indices have no quantized form."""
    indices = kwargs.get("return_indices") or getattr(module, "return_indices", False)
    return "it returns indices too" if indices else None


def dropout_refusal(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Dropout is quantized as what it does in inference: nothing."""
    if module is not None:
        active = module.training
    else:
        active = kwargs.get("training", args[2] if len(args) > 2 else True)
    return "it drops values: it is in training mode" if active else None


def requantizing_cat(tensors: Sequence[QTensor], dim: int = 0, *, output: QParams) -> QTensor:
    """``torch.cat(tensors, dim)`` of tensors with different parameters."""
    return ops.cat_to(tensors, dim, output)


def requantizing_stack(tensors: Sequence[QTensor], dim: int = 0, *, output: QParams) -> QTensor:
    """``torch.stack(tensors, dim)`` of tensors with different parameters."""
    apart: Any = [torch.unsqueeze(tensor, dim) for tensor in tensors]
    return ops.cat_to(apart, dim, output)


def cat_refusal(module: Any, args: Any, kwargs: dict[str, Any]) -> str | None:
    """``out=`` writes into a tensor with parameters of its own; ``axis=`` is another ``dim=``."""
    others = kwargs.keys() - {"tensors", "dim"}
    return f"it is called with {', '.join(sorted(others))}" if others else None
