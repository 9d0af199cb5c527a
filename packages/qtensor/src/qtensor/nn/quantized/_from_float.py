"""What quantized modules take from the float ones that they are made from."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..._dtypes import as_qdtype, as_qscheme
from ..._qparams import QParams
from ..._qtensor import QTensor
from ..._quantize import quantize_per_channel, quantize_per_tensor
from ._output import OutputModule


def unfused(module: nn.Module) -> Any:
    """The linear or convolution of ``module``: its first part where it is a fused container."""
    return module[0] if isinstance(module, nn.Sequential) else module


def float_form(module: nn.Module) -> nn.Module:
    """``module``, or what it stands for if it is one for quantization-aware training.

    That is what its ``to_float()`` gives, a batch norm folded in, together with its ``qconfig``
    and with the ``weight_fake_quant`` that it was trained with.

    Raises:
        ValueError: a float container with a batch norm, which its layer's weight lacks.
    """
    parts = list(module) if isinstance(module, nn.Sequential) else []
    if any(isinstance(part, _BatchNorm) for part in parts[1:]):
        raise ValueError(
            f"{type(module).__name__} holds a batch norm that is not folded into its layer; fuse "
            "in eval mode, or prepare it for quantization-aware training"
        )
    if not hasattr(module, "to_float"):
        return module
    trained: Any = module
    made: nn.Module = trained.to_float()
    made.qconfig = trained.qconfig
    unfused(made).weight_fake_quant = trained.weight_fake_quant
    return made


def quantized_weight(module: nn.Module, use_precomputed_fake_quant: bool = False) -> QTensor:
    """The weight of a float module, quantized as its ``weight_fake_quant`` or ``qconfig`` says.

    Raises:
        ValueError: ``module`` has neither.
    """
    inner = unfused(module)
    observer: Any = getattr(inner, "weight_fake_quant", None)
    if observer is None:
        qconfig = getattr(module, "qconfig", None) or getattr(inner, "qconfig", None)
        if qconfig is None:
            raise ValueError(
                f"expected a {type(module).__name__} with a qconfig or a weight_fake_quant, which "
                "say how to quantize its weight; it has neither"
            )
        observer = qconfig.weight()
        if getattr(inner, "transposed", False) and hasattr(observer, "ch_axis"):
            observer.ch_axis = 1  # a qconfig is for all layers; here are this one's channels
        use_precomputed_fake_quant = False  # it has seen nothing yet
    weight = inner.weight.detach().to(torch.float32)
    if not use_precomputed_fake_quant:
        observer(weight)
    return quantize_as(weight, observer)


def take_parts(quantized: nn.Module, observed: nn.Module) -> None:
    """Make the quantized parts of a module from the observed ones of the same names.

    Args:
        quantized: of the structure of ``observed``; its parts with output parameters are replaced.
        observed: calibrated.
    """
    for path, part in list(quantized.named_modules()):
        if isinstance(part, OutputModule):
            kind: Any = type(part)
            quantized.set_submodule(path, kind.from_float(observed.get_submodule(path)))


def quantize_as(weight: Tensor, observer: Any) -> QTensor:
    """``weight`` (float32) quantized with the parameters that ``observer`` calculates."""
    scale, zero_point = observer.calculate_qparams()
    dtype = as_qdtype(observer.dtype)
    bounds = getattr(observer, "quant_min", None), getattr(observer, "quant_max", None)
    if as_qscheme(observer.qscheme).per_channel:
        return quantize_per_channel(weight, scale, zero_point, observer.ch_axis, dtype, *bounds)
    return quantize_per_tensor(weight, scale, zero_point, dtype, *bounds)


def observed_qparams(module: nn.Module) -> QParams:
    """The output parameters that a module's ``activation_post_process`` has calibrated.

    Raises:
        ValueError: ``module`` has none.
    """
    observer: Any = getattr(module, "activation_post_process", None)
    if observer is None:
        raise ValueError(
            f"expected a prepared and calibrated {type(module).__name__}: it has no "
            "activation_post_process to tell its output's scale and zero point"
        )
    scale, zero_point = observer.calculate_qparams()
    bounds: Any = getattr(observer, "quant_min", None), getattr(observer, "quant_max", None)
    return QParams(scale, zero_point, as_qdtype(observer.dtype), None, *bounds)
