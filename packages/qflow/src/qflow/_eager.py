"""The eager flow: modules are observed, or trained, and replaced where they stand."""

import copy
from collections.abc import Callable, Collection, Iterable
from typing import Any

from torch import nn

import qobserve
from qbackends import (
    dynamic_module_mapping,
    dynamic_qat_module_mapping,
    get_backend_config,
    observed_module_mapping,
    observed_types,
    qat_module_mapping,
    reference_module_mapping,
    static_module_mapping,
    weight_only_module_mapping,
)
from qgraph import ObserverSpec, QuantType, fixed_output
from qobserve import DeQuantStub, ModuleMapping, QConfig, QuantStub
from qtensor.nn import quantized as nnq

from ._checks import check_model

_BACKEND = "native"

_TO_OBSERVED = "float_to_observed_custom_module_class"
_TO_QUANTIZED = "observed_to_quantized_custom_module_class"

# What is no operator, and so in no backend's table.
_PLUMBING: dict[type[nn.Module], type[nn.Module]] = {
    QuantStub: nnq.Quantize,
    DeQuantStub: nnq.DeQuantize,
    nnq.FloatFunctional: nnq.QFunctional,
}


def get_default_custom_config_dict() -> dict[str, ModuleMapping]:
    """What :func:`prepare` and :func:`convert` do with modules that are taken apart.

    Returns:
        for a float module type the class that is observed in its place, and for that the quantized
        class, under the keys that both functions take.

    Example:
        >>> import qflow, torch
        >>> config = qflow.get_default_custom_config_dict()
        >>> config["float_to_observed_custom_module_class"][torch.nn.LSTM]
        <class 'qobserve.nn.quantizable._lstm.LSTM'>
    """
    observed, quantized = observed_module_mapping(_BACKEND), static_module_mapping(_BACKEND)
    return {
        _TO_OBSERVED: observed,
        _TO_QUANTIZED: {kind: quantized[kind] for kind in observed.values()},
    }


def prepare(
    model: nn.Module,
    inplace: bool = False,
    allow_list: Collection[type[nn.Module]] | None = None,
    observer_non_leaf_module_list: Collection[type[nn.Module]] | None = None,
    prepare_custom_config_dict: dict[str, Any] | None = None,
) -> nn.Module:
    """A copy of ``model`` that observes what is to be quantized; run it on typical data next.

    Give modules a ``qconfig`` first; it holds for all inside them too.

    Args:
        model: the float model, with ``qconfig`` attributes and quantize and dequantize stubs.
        inplace: change ``model`` itself instead of a copy.
        allow_list: the module types to observe; by default those that have a quantized form.
        observer_non_leaf_module_list: further types to observe as one unit.
        prepare_custom_config_dict: its entry ``"float_to_observed_custom_module_class"`` says for a
            module type the class whose ``from_float`` makes what is observed in its place; by
            default that of :func:`get_default_custom_config_dict`.

    Raises:
        TypeError: ``model`` is not a module.

    Warns:
        UserWarning: no module has a qconfig.

    Example:
        >>> import qflow, torch
        >>> model = qflow.QuantWrapper(torch.nn.Linear(4, 2)).eval()
        >>> model.qconfig = qflow.get_default_qconfig("x86")
        >>> prepared = qflow.prepare(model)
        >>> _ = prepared(torch.randn(8, 4))
        >>> type(qflow.convert(prepared).module)
        <class 'qtensor.nn.quantized._linear.Linear'>
    """
    check_model(model, "prepare")
    if not inplace:
        model = copy.deepcopy(model)
    if prepare_custom_config_dict is None:
        prepare_custom_config_dict = get_default_custom_config_dict()
    custom = prepare_custom_config_dict.get(_TO_OBSERVED, {})
    qobserve.propagate_qconfig_(model)
    if custom:
        model = qobserve.convert(model, custom, inplace=True, remove_qconfig=False)
    _fix_outputs(model, is_qat=False)
    observed = {*(_observed_types() if allow_list is None else allow_list), *custom.values()}
    return qobserve.prepare(
        model, observed.union(observer_non_leaf_module_list or ()), inplace=True
    )


def prepare_qat(
    model: nn.Module, mapping: ModuleMapping | None = None, inplace: bool = False
) -> nn.Module:
    """A copy of ``model`` that trains as it will be quantized.

    Give modules a ``qconfig`` first, such as :func:`get_default_qat_qconfig` makes, and fuse with
    :func:`fuse_modules_qat`. Make the optimizer from the parameters of the result.

    Args:
        model: the float model, in training mode.
        mapping: for a module type, its counterpart for training; by default what the native
            table has. Linear layers whose activations are to be quantized at run time, as
            ``default_dynamic_qat_qconfig`` says, are trained for that.
        inplace: change ``model`` itself instead of a copy.

    Raises:
        TypeError: ``model`` is not a module.
        ValueError: it is in eval mode.

    Warns:
        UserWarning: no module has a qconfig.
    """
    check_model(model, "prepare_qat")
    trained: dict[type[nn.Module], Any] = {**get_default_custom_config_dict()[_TO_OBSERVED]}
    trained |= _trained_types() if mapping is None else mapping
    if not inplace:
        model = copy.deepcopy(model)
    qobserve.propagate_qconfig_(model)
    _fix_outputs(model, is_qat=True)
    allow_list = {*_observed_types(), *dynamic_qat_module_mapping(_BACKEND).values()}
    return qobserve.prepare_qat(model, trained, inplace=True, allow_list=allow_list)


def convert(
    module: nn.Module,
    mapping: ModuleMapping | None = None,
    inplace: bool = False,
    remove_qconfig: bool = True,
    is_reference: bool = False,
    convert_custom_config_dict: dict[str, Any] | None = None,
    use_precomputed_fake_quant: bool = False,
    *,
    strict: bool = False,
) -> nn.Module:
    """A copy of ``module`` with its observed or trained modules replaced by quantized ones.

    Args:
        module: what :func:`prepare` or :func:`prepare_qat` made, calibrated or trained.
        mapping: for a module type, its quantized counterpart; by default what the native table has.
        inplace: change ``module`` itself instead of a copy.
        remove_qconfig: remove what is left of qconfigs and observers.
        is_reference: by default, map to reference modules: float arithmetic on quantized weights.
        convert_custom_config_dict: its entry ``"observed_to_quantized_custom_module_class"`` says
            for an observed custom module's type the class whose ``from_observed`` quantizes it; by
            default that of :func:`get_default_custom_config_dict`.
        use_precomputed_fake_quant: do not show trained weights to their fake-quantize modules
            again.
        strict: raise if an observer has seen nothing.

    Raises:
        TypeError: ``module`` is not a module.
        ValueError: see ``strict``; or a batch norm has to be folded first.

    Warns:
        UserWarning: observers have seen nothing; once, with all their names.
    """
    check_model(module, "convert")
    if mapping is None:
        mapping = reference_module_mapping(_BACKEND) if is_reference else _quantized_types()
    if convert_custom_config_dict is None:
        convert_custom_config_dict = get_default_custom_config_dict()
    custom = convert_custom_config_dict.get(_TO_QUANTIZED)
    return qobserve.convert(
        module,
        mapping,
        inplace,
        remove_qconfig,
        custom,
        strict=strict,
        use_precomputed_fake_quant=use_precomputed_fake_quant,
    )


def quantize(
    model: nn.Module,
    run_fn: Callable[..., Any],
    run_args: Collection[Any],
    mapping: ModuleMapping | None = None,
    inplace: bool = False,
) -> nn.Module:
    """Prepare, calibrate and convert in one call.

    Args:
        model: the float model, with ``qconfig`` attributes and stubs.
        run_fn: called as ``run_fn(prepared, *run_args)``, to run it on typical data.
        run_args: see ``run_fn``.
        mapping: as for :func:`convert`.
        inplace: change ``model`` itself instead of a copy.

    Raises:
        TypeError: ``model`` is not a module.
    """
    check_model(model, "quantize")
    prepared = prepare(model, inplace).eval()
    run_fn(prepared, *run_args)
    return convert(prepared, mapping, inplace=True)


def quantize_qat(
    model: nn.Module, run_fn: Callable[..., Any], run_args: Collection[Any], inplace: bool = False
) -> nn.Module:
    """Prepare for quantization-aware training, train, and convert, in one call.

    Args:
        model: the float model, with ``qconfig`` attributes and stubs.
        run_fn: called as ``run_fn(prepared, *run_args)``, to train it.
        run_args: see ``run_fn``.
        inplace: change ``model`` itself instead of a copy.

    Returns:
        the quantized model, in eval mode.

    Raises:
        TypeError: ``model`` is not a module.
    """
    check_model(model, "quantize_qat")
    if not inplace:
        model = copy.deepcopy(model)
    prepared = prepare_qat(model.train(), inplace=True)
    run_fn(prepared, *run_args)
    return convert(prepared.eval(), inplace=True)


class _ByQConfig:
    """A counterpart for static quantization, and one for each other kind that there is.

    ``from_float`` makes the one that the module's qconfig asks for.
    """

    def __init__(self, static: Any, others: dict[QuantType, Any]) -> None:
        self._static, self._others = static, others

    def from_float(self, mod: Any, use_precomputed_fake_quant: bool = False) -> nn.Module:
        kind = self._others.get(_quant_type(mod.qconfig), self._static)
        made: nn.Module = kind.from_float(mod, use_precomputed_fake_quant)
        return made


def _quant_type(qconfig: QConfig) -> QuantType:
    if qobserve.is_memoryless(qconfig):
        return QuantType.DYNAMIC
    return ObserverSpec.of(qconfig.activation).quant_type


def _by_qconfig(
    static: dict[type[nn.Module], type[nn.Module]],
    others: dict[QuantType, dict[type[nn.Module], type[nn.Module]]],
) -> dict[type[nn.Module], Any]:
    """``static``, with the choice wherever there is one."""

    def choice(kind: type[nn.Module]) -> Any:
        known = {quant_type: mapping.get(kind) for quant_type, mapping in others.items()}
        found = {quant_type: made for quant_type, made in known.items() if made is not None}
        return _ByQConfig(static[kind], found) if found else static[kind]

    return {kind: choice(kind) for kind in static}


def _trained_types() -> dict[type[nn.Module], Any]:
    dynamic = {QuantType.DYNAMIC: dynamic_qat_module_mapping(_BACKEND)}
    return _by_qconfig(qat_module_mapping(_BACKEND), dynamic)


def _quantized_types() -> dict[type[nn.Module], Any]:
    static, dynamic = static_module_mapping(_BACKEND), dynamic_module_mapping(_BACKEND)
    trained = {kind: dynamic[kind] for kind in dynamic_qat_module_mapping(_BACKEND).values()}
    weight_only = weight_only_module_mapping(_BACKEND)
    others = {QuantType.DYNAMIC: dynamic, QuantType.WEIGHT_ONLY: weight_only}
    return {**weight_only, **trained, **_by_qconfig(static, others), **_PLUMBING}


def _observed_types() -> set[type[nn.Module]]:
    """What has a quantized output; a dequantizing stub and embeddings give floats."""
    return {*observed_types(_BACKEND), QuantStub}


def _fix_outputs(model: nn.Module, is_qat: bool) -> None:
    """Let nothing be calibrated where the range of a module's output is known beforehand."""
    rows = {row.pattern: row for row in get_backend_config(_BACKEND).configs}
    modules: Iterable[Any] = model.modules()
    for module in modules:
        qconfig, row = getattr(module, "qconfig", None), rows.get(type(module))
        if not qconfig or row is None:
            continue
        given = ObserverSpec.of(qconfig.activation)
        fixed = fixed_output(row, given, is_qat)
        if fixed is not None and given.scale is None:  # else its qconfig fixes them itself
            module.qconfig = QConfig(fixed, qconfig.weight)
