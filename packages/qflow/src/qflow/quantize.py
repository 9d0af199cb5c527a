"""Quantization by swapping modules: static, trained, dynamic and weight-only."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

import qtensor
from qbackends import dynamic_module_mapping, table_module_mapping
from qobserve import (
    ModuleMapping,
    QConfig,
    add_quant_dequant,
    default_dynamic_qconfig,
    float_qparams_weight_only_qconfig,
    float_qparams_weight_only_qconfig_4bit,
    propagate_qconfig_,
    swap_module,
)

from ._checks import check_model
from ._eager import (
    convert,
    get_default_custom_config_dict,
    prepare,
    prepare_qat,
    quantize,
    quantize_qat,
)

__all__ = [
    "add_quant_dequant",
    "convert",
    "get_default_custom_config_dict",
    "prepare",
    "prepare_qat",
    "propagate_qconfig_",
    "quantize",
    "quantize_dynamic",
    "quantize_qat",
    "swap_module",
]


def quantize_dynamic(
    model: nn.Module,
    qconfig_spec: Mapping[Any, QConfig | None] | set[Any] | None = None,
    dtype: Any = qtensor.qint8,
    mapping: ModuleMapping | None = None,
    inplace: bool = False,
) -> nn.Module:
    """Replace modules by ones with int8 weights that quantize their activations as they run.

    No data is needed, and the model need not be traceable. A module is replaced if its exact
    type is in ``mapping``; a subclass is not, since its ``forward`` may do something else.

    Args:
        model: the float model.
        qconfig_spec: what to replace. A set of module types and names; or a dictionary from these
            to the :class:`~qflow.QConfig` to use, ``None`` meaning "leave float". What is said of
            a module holds for its children too, unless something is said of them. By default all
            types that can be quantized with ``dtype``, but for convolutions: name them to have
            them quantized. What ``dtype`` is not for, within a module that is named, stays float.
            ``{torch.nn.Linear: qflow.per_channel_dynamic_qconfig}`` is more accurate than a set: a
            scale for each row of the weight.
        dtype: ``qtensor.qint8`` (default) for layers that multiply, ``qtensor.quint8`` or
            ``qtensor.quint4x2`` for embedding tables. Not used with a dictionary, whose qconfigs
            say it. torch's dtypes of the same names are accepted.
        mapping: float module type to quantized module type, by default what the x86 backend has.
        inplace: change ``model`` itself instead of a copy.

    Returns:
        The quantized model, in eval mode; another module if ``model`` itself is replaced.

    Raises:
        TypeError: ``model`` is not a module, or ``qconfig_spec`` neither set nor dictionary.
        ValueError: ``dtype`` is not one of the three.

    Warns:
        UserWarning: a name or type in ``qconfig_spec`` had no effect.

    Example:
        >>> import qflow, torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(8, 4))
        >>> quantized = qflow.quantize_dynamic(model, {torch.nn.Linear})
        >>> quantized(torch.ones(2, 8)).shape
        torch.Size([2, 4])
    """
    check_model(model, "quantize_dynamic")
    if isinstance(qconfig_spec, Mapping):
        spec, suited = dict(qconfig_spec), default_mapping("x86")
    else:
        spec, suited = _of_dtype(qconfig_spec, dtype)
    mapping = suited if mapping is None else mapping
    if not inplace:
        model = copy.deepcopy(model)
    model.eval()
    if qconfig_spec is not None:
        _check_effect(model, spec, mapping)
    propagate_qconfig_(model, spec)
    return convert(model, mapping, inplace=True)


def default_mapping(backend: str) -> dict[type[nn.Module], type[nn.Module]]:
    """What the backend's table can replace: the dynamic modules, and embedding tables."""
    return {**table_module_mapping(backend), **dynamic_module_mapping(backend)}


_OF_TABLES = {
    qtensor.quint8: float_qparams_weight_only_qconfig,
    qtensor.quint4x2: float_qparams_weight_only_qconfig_4bit,
}


def _of_dtype(
    spec: Any, dtype: Any
) -> tuple[dict[Any, QConfig | None], dict[type[nn.Module], type[nn.Module]]]:
    """What a set (or nothing) and a dtype ask for: qconfigs, and what that dtype can replace."""
    if spec is not None and not isinstance(spec, set | frozenset | list | tuple):
        raise TypeError(
            "expected qconfig_spec to be a set of module types and names, or a dictionary from "
            f"these to a QConfig, got {type(spec).__name__}"
        )
    kind = _as_qdtype_or_none(dtype)
    if kind is qtensor.qint8:
        mapping, qconfig = dynamic_module_mapping("x86"), default_dynamic_qconfig
        # Who calls this without a spec has never had convolutions quantized by it. (Only those say
        # whether they are transposed.)
        types = [kind for kind, made in mapping.items() if not hasattr(made, "transposed")]
    elif kind in _OF_TABLES:
        mapping, qconfig = table_module_mapping("x86"), _OF_TABLES[kind]
        types = list(mapping)
    else:
        raise ValueError(
            "quantize_dynamic can quantize layers to qtensor.qint8 and embedding tables to "
            f"qtensor.quint8 or qtensor.quint4x2, got dtype {dtype}"
        )
    return dict.fromkeys(types if spec is None else spec, qconfig), mapping


def _as_qdtype_or_none(dtype: Any) -> qtensor.QDType | None:
    try:
        return qtensor.as_qdtype(dtype)
    except TypeError:
        return None


def _check_effect(
    model: nn.Module, spec: Mapping[Any, QConfig | None], mapping: ModuleMapping
) -> None:
    """Say which keys of ``spec`` do nothing, though a module of ``model`` is meant by them."""
    modules = dict(model.named_modules())
    for key, qconfig in spec.items():
        if isinstance(key, str):
            meant = [modules[key]] if key in modules else []
            if not meant:
                qtensor.warn_user(f"qconfig_spec names {key!r}, but the model has no such module")
        else:
            meant = [module for module in modules.values() if type(module) is key]
        inside = {type(inner) for module in meant for inner in module.modules()}
        if meant and qconfig is not None and inside.isdisjoint(mapping):
            what = type(meant[0]).__name__ + (f" {key!r}" if isinstance(key, str) else "")
            qtensor.warn_user(f"{what} stays float: {_why_not(type(meant[0]), mapping)}")


def _why_not(kind: type, mapping: ModuleMapping) -> str:
    if kind in table_module_mapping("x86"):
        return (
            "its table can be quantized with dtype=qtensor.quint8 or qtensor.quint4x2, or with a "
            "dictionary that gives it qflow.float_qparams_weight_only_qconfig"
        )
    if kind in dynamic_module_mapping("x86"):
        return "it can be quantized with dtype=qtensor.qint8"
    layers = [kind for kind in mapping if not issubclass(kind, nn.Sequential)]
    known = sorted({kind.__name__ for kind in layers if not hasattr(kind, "to_float")})
    return (
        f"there is no quantized module for it, only for {', '.join(known)} and what is fused to "
        "these"
    )
