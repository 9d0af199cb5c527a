"""What follows from a table: module mappings for swapping, and the support matrix."""

from collections.abc import Callable
from typing import Any

from torch import nn

from qgraph import BackendConfig, BackendPatternConfig, ObservationType, QuantType

from ._backends import get_backend_config

ModuleMapping = dict[type[nn.Module], type[nn.Module]]


def static_module_mapping(backend: str | BackendConfig = "x86") -> ModuleMapping:
    """Float (or fused float) module class → statically quantized class.

    Example:
        >>> from torch import nn
        >>> static_module_mapping()[nn.Conv2d].__module__.startswith("qtensor.nn.quantized")
        True
    """
    return _mapping(backend, lambda row: row.quantized_module)


def observed_types(backend: str | BackendConfig = "x86") -> set[type[nn.Module]]:
    """The float classes whose quantized form has output parameters of its own.

    Example:
        >>> from torch import nn
        >>> nn.Conv2d in observed_types(), nn.MaxPool2d in observed_types()
        (True, False)
    """
    shared = ObservationType.OUTPUT_SHARE_OBSERVER_WITH_INPUT
    return {
        *_mapping(
            backend, lambda row: None if row.observation_type is shared else row.quantized_module
        )
    }


def dynamic_module_mapping(backend: str | BackendConfig = "x86") -> ModuleMapping:
    """Float (or fused float) module class → dynamically quantized class."""
    return _mapping(backend, lambda row: row.dynamic_module, lambda row: row.dynamic_qat_module)


def qat_module_mapping(backend: str | BackendConfig = "x86") -> ModuleMapping:
    """Float (or fused float) module class → class for quantization-aware training."""
    return _trained(backend, lambda row: row.qat_module)


def dynamic_qat_module_mapping(backend: str | BackendConfig = "x86") -> ModuleMapping:
    """Float (or fused float) module class → class that trains for dynamic quantization.

    Example:
        >>> from torch import nn
        >>> dynamic_qat_module_mapping()[nn.Linear]
        <class 'qobserve.nn.qat.dynamic._linear.Linear'>
        >>> dynamic_qat_module_mapping()[nn.Conv2d]
        <class 'qobserve.nn.qat._conv.Conv2d'>
    """

    def trained(row: BackendPatternConfig) -> type[nn.Module] | None:
        return row.dynamic_qat_module or row.qat_module if row.dynamic_module else None

    return _trained(backend, trained)


def _trained(
    backend: str | BackendConfig,
    counterpart: Callable[[BackendPatternConfig], type[nn.Module] | None],
) -> ModuleMapping:
    mapping: ModuleMapping = {}
    for row in get_backend_config(backend).configs:
        float_module = row.fused_module or row.pattern
        trained = counterpart(row)
        if trained is not None and isinstance(float_module, type):
            mapping[float_module] = trained
    return mapping


def reference_module_mapping(backend: str | BackendConfig = "x86") -> ModuleMapping:
    """Float module class (not fused) → class that computes in float on quantized weights."""
    single = [row for row in get_backend_config(backend).configs if isinstance(row.pattern, type)]
    return {
        kind: row.reference_quantized_module
        for row in single
        for kind in (row.pattern, row.qat_module)
        if kind is not None and row.reference_quantized_module is not None
    }


def observed_module_mapping(backend: str | BackendConfig = "x86") -> ModuleMapping:
    """Float module class → class that is observed in its place, for modules taken apart."""
    return {
        row.pattern: row.observed_module
        for row in get_backend_config(backend).configs
        if isinstance(row.pattern, type) and row.observed_module is not None
    }


def weight_only_module_mapping(backend: str | BackendConfig = "x86") -> ModuleMapping:
    """Float module class → class with quantized weights only; activations stay as they are."""
    return _mapping(backend, lambda row: row.weight_only_module)


def table_module_mapping(backend: str | BackendConfig = "x86") -> ModuleMapping:
    """Float module class → class with quantized weights only, where there is no other form.

    Example:
        >>> from torch import nn
        >>> nn.Embedding in table_module_mapping(), nn.Linear in table_module_mapping()
        (True, False)
    """
    others = {*static_module_mapping(backend), *dynamic_module_mapping(backend)}
    mapping = weight_only_module_mapping(backend)
    return {kind: module for kind, module in mapping.items() if kind not in others}


def _mapping(
    backend: str | BackendConfig,
    quantized: Callable[[BackendPatternConfig], type[nn.Module] | None],
    trained: Callable[[BackendPatternConfig], type[nn.Module] | None] = lambda row: None,
) -> ModuleMapping:
    """``trained``: a class that is trained for this form alone."""
    mapping: ModuleMapping = {}
    for row in get_backend_config(backend).configs:
        module = quantized(row)
        # What is taken apart is not replaced before it has been observed.
        replaced = (*row.spellings, row.qat_module, trained(row))
        for spelling in replaced if row.observed_module is None else (row.observed_module,):
            if module is not None and isinstance(spelling, type):
                mapping.setdefault(spelling, module)
    return mapping


def support_matrix(backend: str | BackendConfig = "x86") -> list[tuple[str, ...]]:
    """What ``backend`` can quantize and how, for documents.

    Returns:
        a header, then one tuple of strings per row of the backend: the operator, its other
        spellings, and for static, dynamic and weight-only quantization the dtypes, or ``""``.

    Example:
        >>> support_matrix()[0]
        ('operator', 'also written', 'static', 'dynamic', 'weight only')
    """
    kinds = (QuantType.STATIC, QuantType.DYNAMIC, QuantType.WEIGHT_ONLY)
    header = ("operator", "also written", "static", "dynamic", "weight only")
    return [
        header,
        *(
            (_operator(row), _spellings(row), *(_dtypes(row, kind) for kind in kinds))
            for row in get_backend_config(backend).configs
        ),
    ]


def _operator(row: BackendPatternConfig) -> str:
    parts = row.pattern if isinstance(row.pattern, tuple) else (row.pattern,)
    return " + ".join(map(_name, parts))


def _spellings(row: BackendPatternConfig) -> str:
    ways = ", ".join(_name(way) for way in row.spellings if way is not row.pattern)
    return ways if row.fused_as is None else f"{ways}; fused as {_name(row.fused_as)}"


def _dtypes(row: BackendPatternConfig, kind: QuantType) -> str:
    texts = []
    for config in row.dtype_configs:
        if config.quant_type is not kind:
            continue
        constraint = config.input_dtype_with_constraints
        low, high = constraint.quant_min_lower_bound, constraint.quant_max_upper_bound
        text = _dtype(config.input_dtype)
        text += f" {low} … {high}" if low is not None and high is not None else ""
        weight = config.weight_dtype
        texts.append(text + (f" × {_dtype(weight)}" if weight is not None else ""))
    return ", ".join(texts)


def _name(pattern: Any) -> str:
    if isinstance(pattern, str):
        return f"Tensor.{pattern}"
    module = getattr(pattern, "__module__", None) or ""
    name = getattr(pattern, "__name__", str(pattern))
    if module.startswith("torch.nn.modules"):
        return f"nn.{name}"
    if module.startswith("qtensor.nn.intrinsic"):
        return f"nn.intrinsic.{name}"
    if module.startswith(("torch.nn.functional", "torch._jit_internal", "torch._C._nn")):
        return f"F.{name}"
    return f"operator.{name}" if module == "_operator" else f"torch.{name}"


def _dtype(dtype: Any) -> str:
    return getattr(dtype, "name", str(dtype).removeprefix("torch."))
