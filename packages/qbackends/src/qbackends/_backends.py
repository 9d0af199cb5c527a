"""The backends: variations of the native table."""

import copy
from collections.abc import Callable
from typing import Any

from qgraph import BackendConfig, DTypeConfig, DTypeWithConstraints
from qtensor import qint8, quint8

from ._native import get_native_backend_config

_SEVEN_BITS = {
    quint8: DTypeWithConstraints(quint8, quant_min_lower_bound=0, quant_max_upper_bound=127),
    qint8: DTypeWithConstraints(qint8, quant_min_lower_bound=-64, quant_max_upper_bound=63),
}


def get_x86_backend_config() -> BackendConfig:
    """The default backend: activations use all of 0 … 255, since the kernels are exact there."""
    return get_native_backend_config().set_name("x86")


def get_onednn_backend_config() -> BackendConfig:
    """The native table, for who names this engine: one set of kernels serves all."""
    return get_native_backend_config().set_name("onednn")


def get_qnnpack_backend_config() -> BackendConfig:
    """The native table, for who names this engine: one set of kernels serves all."""
    return get_native_backend_config().set_name("qnnpack")


def get_fbgemm_backend_config() -> BackendConfig:
    """The native table with the documented activations of 0 … 127.

    Seven bits are the fast configuration on x86 processors without VNNI. An operator whose qconfig
    asks for more stays in float; :func:`qgraph.plan_of` says so.
    """
    return with_activations(get_native_backend_config(), "fbgemm", _SEVEN_BITS)


def with_activations(
    backend: BackendConfig, name: str, constraints: dict[Any, DTypeWithConstraints]
) -> BackendConfig:
    """A variation of ``backend`` whose static activations are restricted.

    Args:
        backend: the backend to vary. It is not changed.
        name: what to call the variation.
        constraints: for each activation dtype, what replaces it.
    """

    def varied(config: DTypeConfig) -> DTypeConfig:
        if config.is_dynamic:
            return config
        return DTypeConfig(
            constraints.get(config.input_dtype, config.input_dtype_with_constraints),
            constraints.get(config.output_dtype, config.output_dtype_with_constraints),
            config.weight_dtype_with_constraints,
            config.bias_dtype,
            config.is_dynamic,
        )

    rows = [
        copy.copy(row).set_dtype_configs(map(varied, row.dtype_configs)) for row in backend.configs
    ]
    return BackendConfig(name).set_backend_pattern_configs(rows)


_BACKENDS: dict[str, Callable[[], BackendConfig]] = {
    "native": get_native_backend_config,
    "x86": get_x86_backend_config,
    "fbgemm": get_fbgemm_backend_config,
    "onednn": get_onednn_backend_config,
    "qnnpack": get_qnnpack_backend_config,
}


def get_backend_config(backend: str | BackendConfig) -> BackendConfig:
    """The backend called ``backend``; a config is returned as it is.

    Raises:
        ValueError: no backend is called so; the message lists those there are.

    Example:
        >>> get_backend_config("x86").name
        'x86'
    """
    if isinstance(backend, BackendConfig):
        return backend
    if backend not in _BACKENDS:
        raise ValueError(f"expected a backend among {', '.join(_BACKENDS)}, got {backend!r}")
    return _BACKENDS[backend]()
