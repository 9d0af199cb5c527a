"""FX graph mode quantization: prepare, calibrate, convert."""

from typing import Any

from torch import nn

import qgraph
from qbackends import get_native_backend_config
from qgraph import (
    BackendConfig,
    ConvertCustomConfig,
    FuseCustomConfig,
    PrepareCustomConfig,
    UntraceableError,
)
from qobserve import QConfigMapping

from ._checks import as_config, as_example_inputs, check_model

__all__ = [
    "BackendConfig",
    "ConvertCustomConfig",
    "FuseCustomConfig",
    "PrepareCustomConfig",
    "QConfigMapping",
    "UntraceableError",
    "convert_fx",
    "convert_to_reference_fx",
    "fuse_fx",
    "prepare_fx",
    "prepare_qat_fx",
]


def prepare_fx(
    model: nn.Module,
    qconfig_mapping: QConfigMapping | dict[str, Any],
    example_inputs: tuple[Any, ...],
    prepare_custom_config: PrepareCustomConfig | dict[str, Any] | None = None,
    _equalization_config: None = None,
    backend_config: BackendConfig | dict[str, Any] | None = None,
    *,
    strict: bool = False,
) -> nn.Module:
    """A copy of ``model``, traced and fused, that observes the values flowing through it.

    Run it on representative data, then give it to :func:`convert_fx`.

    Args:
        model: the float model, in eval mode.
        qconfig_mapping: how to observe which parts of the model, such as
            :func:`~qflow.get_default_qconfig_mapping` gives.
        example_inputs: a tuple of positional arguments that ``model`` accepts, such as one batch;
            a tensor alone is taken for the only one.
        prepare_custom_config: what to leave out of tracing, custom module classes, and the like.
        backend_config: which operators can be quantized, and how. By default what qtensor's own
            kernels can run.
        strict: raise where a part of the model cannot be traced. By default it stays float and
            :func:`qgraph.plan_of` names it, with the line that stopped the tracer.

    Returns:
        The observed model, which still computes in float.

    Raises:
        TypeError: an argument is of the wrong type.
        UntraceableError: with ``strict``, a part cannot be traced.
        ValueError: a part to be fused is in training mode.

    Warns:
        FutureWarning: a configuration is given as a dictionary, the form of old.

    Example:
        >>> import qflow, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()).eval()
        >>> batch = torch.rand(2, 3, 8, 8)
        >>> mapping = qflow.get_default_qconfig_mapping("x86")
        >>> prepared = qflow.prepare_fx(model, mapping, (batch,))
        >>> _ = prepared(batch)
        >>> quantized = qflow.convert_fx(prepared)
        >>> quantized(batch).shape
        torch.Size([2, 8, 6, 6])
    """
    if _equalization_config is not None:
        raise ValueError("prepare_fx cannot equalize; leave out _equalization_config")
    return _prepare(
        "prepare_fx",
        model,
        qconfig_mapping,
        example_inputs,
        prepare_custom_config,
        backend_config,
        is_qat=False,
        strict=strict,
    )


def prepare_qat_fx(
    model: nn.Module,
    qconfig_mapping: QConfigMapping | dict[str, Any],
    example_inputs: tuple[Any, ...],
    prepare_custom_config: PrepareCustomConfig | dict[str, Any] | None = None,
    backend_config: BackendConfig | dict[str, Any] | None = None,
    *,
    strict: bool = False,
) -> nn.Module:
    """``model``, traced and fused, that trains as it will be quantized.

    Train it, put it in eval mode, then give it to :func:`convert_fx`. It shares the parameters of
    ``model``, which is therefore trained along: give a copy to keep the float model.

    Args:
        model: the float model, in training mode.
        qconfig_mapping: which parts to fake-quantize and how, such as
            :func:`~qflow.get_default_qat_qconfig_mapping` gives.
        example_inputs, prepare_custom_config, backend_config, strict: as for :func:`prepare_fx`.

    Returns:
        The model to train. Make the optimizer from its parameters.

    Raises:
        TypeError: an argument is of the wrong type.
        UntraceableError: with ``strict``, a part cannot be traced.
        ValueError: ``model`` is in eval mode.

    Warns:
        FutureWarning: a configuration is given as a dictionary, the form of old.

    Example:
        >>> import qflow, torch
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).train()
        >>> batch = torch.rand(2, 3, 8, 8)
        >>> mapping = qflow.get_default_qat_qconfig_mapping("x86")
        >>> prepared = qflow.prepare_qat_fx(model, mapping, (batch,))
        >>> prepared(batch).sum().backward()
        >>> qflow.convert_fx(prepared.eval())(batch).shape
        torch.Size([2, 8, 6, 6])
    """
    caller = "prepare_qat_fx"
    check_model(model, caller)
    if not model.training:
        raise ValueError(f"{caller} expects a model in training mode; call model.train() first")
    return _prepare(
        caller,
        model,
        qconfig_mapping,
        example_inputs,
        prepare_custom_config,
        backend_config,
        is_qat=True,
        strict=strict,
    )


def convert_fx(
    graph_module: nn.Module,
    convert_custom_config: ConvertCustomConfig | dict[str, Any] | None = None,
    _remove_qconfig: bool = True,
    qconfig_mapping: QConfigMapping | dict[str, Any] | None = None,
    backend_config: BackendConfig | dict[str, Any] | None = None,
    keep_original_weights: bool = False,
    *,
    strict: bool = False,
) -> nn.Module:
    """The int8 model that a calibrated model describes.

    Args:
        graph_module: what :func:`prepare_fx` returned, after calibration.
        convert_custom_config: custom module classes and attributes to keep.
        _remove_qconfig: take the ``qconfig`` attributes off the modules.
        qconfig_mapping: the mapping given to :func:`prepare_fx`, with ``None`` for what shall
            stay float after all.
        backend_config: the one given to :func:`prepare_fx`.
        keep_original_weights: must be false. It kept the float weights' names beside packed
            weights; here weights are not packed, and ``module.weight()`` shows them.
        strict: raise where an observer has seen no data. By default one warning names them all.

    Returns:
        The quantized model: float tensors in and out, integers between its quantized operators.

    Raises:
        TypeError: an argument is of the wrong type.
        ValueError: ``graph_module`` was not prepared; ``keep_original_weights``; or see ``strict``.
    """
    if keep_original_weights:
        raise ValueError(
            "convert_fx packs no weights, so it has no original ones to keep; leave out "
            "keep_original_weights and read a layer's weight() instead"
        )
    return _convert(
        "convert_fx",
        graph_module,
        convert_custom_config,
        _remove_qconfig,
        qconfig_mapping,
        backend_config,
        to_reference=False,
        strict=strict,
    )


def convert_to_reference_fx(
    graph_module: nn.Module,
    convert_custom_config: ConvertCustomConfig | dict[str, Any] | None = None,
    _remove_qconfig: bool = True,
    qconfig_mapping: QConfigMapping | dict[str, Any] | None = None,
    backend_config: BackendConfig | dict[str, Any] | None = None,
    *,
    strict: bool = False,
) -> nn.Module:
    """The reference model: float operators between explicit quantize and dequantize steps.

    It is what a backend that brings its own kernels lowers further, and computes the numbers that
    :func:`convert_fx`'s model should give. Arguments and errors are those of :func:`convert_fx`.
    """
    return _convert(
        "convert_to_reference_fx",
        graph_module,
        convert_custom_config,
        _remove_qconfig,
        qconfig_mapping,
        backend_config,
        to_reference=True,
        strict=strict,
    )


def fuse_fx(
    model: nn.Module,
    fuse_custom_config: FuseCustomConfig | dict[str, Any] | None = None,
    backend_config: BackendConfig | dict[str, Any] | None = None,
) -> nn.Module:
    """A traced copy of ``model`` with BatchNorm folded and fusible sequences made one module each.

    It computes what ``model`` does, in float.

    Args:
        model: the float model, in eval mode.
        fuse_custom_config: attributes to keep.
        backend_config: which sequences can be fused. By default what qtensor's own kernels can run.

    Raises:
        TypeError: an argument is of the wrong type.
        UntraceableError: the model cannot be traced.
        ValueError: a part to be fused is in training mode.

    Example:
        >>> import qflow, torch
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8)).eval()
        >>> [type(module).__name__ for module in qflow.fuse_fx(model).children()]
        ['Conv2d']
    """
    check_model(model, "fuse_fx")
    return qgraph.fuse(
        model,
        as_config(fuse_custom_config, FuseCustomConfig, "fuse_custom_config", "fuse_fx"),
        _backend(backend_config, "fuse_fx"),
    )


def _prepare(
    caller: str,
    model: nn.Module,
    qconfig_mapping: Any,
    example_inputs: Any,
    prepare_custom_config: Any,
    backend_config: Any,
    *,
    is_qat: bool,
    strict: bool,
) -> nn.Module:
    check_model(model, caller)
    mapping = as_config(qconfig_mapping, QConfigMapping, "qconfig_mapping", caller)
    if mapping is None:
        raise TypeError(f"{caller} needs a qconfig_mapping, got None")
    return qgraph.prepare(
        model,
        mapping,
        as_example_inputs(example_inputs, caller),
        as_config(prepare_custom_config, PrepareCustomConfig, "prepare_custom_config", caller),
        _backend(backend_config, caller),
        is_qat=is_qat,
        strict=strict,
    )


def _convert(
    caller: str,
    graph_module: nn.Module,
    convert_custom_config: Any,
    remove_qconfig: bool,
    qconfig_mapping: Any,
    backend_config: Any,
    *,
    to_reference: bool,
    strict: bool,
) -> nn.Module:
    check_model(graph_module, caller)
    return qgraph.convert(
        graph_module,
        as_config(convert_custom_config, ConvertCustomConfig, "convert_custom_config", caller),
        as_config(qconfig_mapping, QConfigMapping, "qconfig_mapping", caller),
        _backend(backend_config, caller),
        to_reference=to_reference,
        strict=strict,
        remove_qconfig=remove_qconfig,
    )


def _backend(backend_config: Any, caller: str) -> BackendConfig:
    given = as_config(backend_config, BackendConfig, "backend_config", caller)
    return get_native_backend_config() if given is None else given
