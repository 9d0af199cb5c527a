"""Quantization by swapping modules: static, trained, dynamic and weight-only."""

import copy
from collections.abc import Mapping
from typing import Any

from torch import nn

import qtensor
from qbackends import dynamic_module_mapping, table_module_mapping
from qobserve import (
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

ModuleMapping = Mapping[type[nn.Module], type[nn.Module]]


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
            them quantized.
        dtype: ``qtensor.qint8`` (default) for layers that multiply, ``qtensor.quint8`` or
            ``qtensor.quint4x2`` for embedding tables. Not used with a dictionary, whose qconfigs
            say it. torch's dtypes of the same names are accepted.
        mapping: float module type to quantized module type, by default what the x86 backend has.
        inplace: change ``model`` itself instead of a copy.

    Returns:
        The quantized model, in eval mode.

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
    if mapping is None:
        mapping = default_mapping("x86")
    spec = _spec(qconfig_spec, dtype)
    if not inplace:
        model = copy.deepcopy(model)
    model.eval()
    if qconfig_spec is not None:
        _warn_of_no_effect(model, spec, mapping)
    propagate_qconfig_(model, spec)
    convert(model, mapping, inplace=True)
    return model


def default_mapping(backend: str) -> dict[type[nn.Module], type[nn.Module]]:
    """What the backend's table can replace: the dynamic modules, and embedding tables."""
    return {**table_module_mapping(backend), **dynamic_module_mapping(backend)}


_OF_TABLES = {
    qtensor.quint8: float_qparams_weight_only_qconfig,
    qtensor.quint4x2: float_qparams_weight_only_qconfig_4bit,
}


def _spec(spec: Any, dtype: Any) -> dict[Any, QConfig | None]:
    if isinstance(spec, Mapping):
        return dict(spec)
    if spec is not None and not isinstance(spec, set | frozenset | list | tuple):
        raise TypeError(
            "expected qconfig_spec to be a set of module types and names, or a dictionary from "
            f"these to a QConfig, got {type(spec).__name__}"
        )
    kind = _as_qdtype_or_none(dtype)
    if kind is qtensor.qint8:
        # Who calls this without a spec has never had convolutions quantized by it. (Only those say
        # whether they are transposed.)
        dynamic = dynamic_module_mapping("x86")
        types = [kind for kind, made in dynamic.items() if not hasattr(made, "transposed")]
        qconfig = default_dynamic_qconfig
    elif kind in _OF_TABLES:
        types = list(table_module_mapping("x86"))
        qconfig = _OF_TABLES[kind]
    else:
        raise ValueError(
            "quantize_dynamic can quantize to qtensor.qint8, qtensor.quint8 or qtensor.quint4x2, "
            f"got dtype {dtype}"
        )
    return dict.fromkeys(types if spec is None else spec, qconfig)


def _as_qdtype_or_none(dtype: Any) -> qtensor.QDType | None:
    try:
        return qtensor.as_qdtype(dtype)
    except TypeError:
        return None


def _warn_of_no_effect(
    model: nn.Module, spec: Mapping[Any, QConfig | None], mapping: ModuleMapping
) -> None:
    modules = dict(model.named_modules())
    types = {type(module) for module in modules.values()}
    for key in spec:
        if isinstance(key, str):
            if key not in modules:
                qtensor.warn_user(f"qconfig_spec names {key!r}, but the model has no such module")
        elif key in types and spec[key] is not None and not _reaches(key, modules, mapping):
            layers = [kind for kind in mapping if not issubclass(kind, nn.Sequential)]
            known = sorted({kind.__name__ for kind in layers if not hasattr(kind, "to_float")})
            qtensor.warn_user(
                f"{key.__name__} stays float: there is no quantized module for it, only for "
                f"{', '.join(known)} and what is fused to these"
            )


def _reaches(kind: type, modules: Mapping[str, nn.Module], mapping: ModuleMapping) -> bool:
    """Whether a module of type ``kind``, or one inside it, can be replaced."""
    return any(
        type(inner) in mapping
        for module in modules.values()
        if type(module) is kind
        for inner in module.modules()
    )
