"""Which qconfig applies where: the mapping, and the default one of each backend."""

from qbackends import get_backend_config
from qgraph import BackendConfig
from qobserve import (
    FixedQParamsFakeQuantize,
    FixedQParamsObserver,
    QConfig,
    QConfigMapping,
    get_default_qat_qconfig,
    get_default_qconfig,
)

__all__ = [
    "QConfigMapping",
    "get_default_qat_qconfig_mapping",
    "get_default_qconfig_mapping",
]


def get_default_qconfig_mapping(backend: str = "x86", version: int = 0) -> QConfigMapping:
    """The mapping for static quantization that suits ``backend``.

    The backend's default qconfig applies everywhere, except that operators whose range of output
    is known beforehand get exactly that range.

    Args:
        backend: ``"x86"`` (default; activations use 0…255) or ``"fbgemm"`` (0…127, faster on
            machines without VNNI).
        version: the version of the defaults; there is only 0.

    Raises:
        ValueError: an unknown backend or version; the message lists those there are.

    Example:
        >>> import qflow
        >>> mapping = qflow.get_default_qconfig_mapping("x86").set_module_name("head", None)
    """
    return default_qconfig_mapping(get_backend_config(backend), version)


def get_default_qat_qconfig_mapping(backend: str = "x86", version: int = 1) -> QConfigMapping:
    """The mapping for quantization-aware training that suits ``backend``.

    Args:
        backend: as for :func:`get_default_qconfig_mapping`.
        version: the version of the defaults, 0 or 1; see :func:`get_default_qat_qconfig`.

    Raises:
        ValueError: an unknown backend or version; the message lists those there are.

    Example:
        >>> import qflow
        >>> mapping = qflow.get_default_qat_qconfig_mapping("x86").set_module_name("head", None)
    """
    table = get_backend_config(backend)
    return _with_fixed(table, get_default_qat_qconfig(table.name, version), is_qat=True)


def default_qconfig_mapping(table: BackendConfig, version: int = 0) -> QConfigMapping:
    """The same for a backend's table, by its name."""
    return _with_fixed(table, get_default_qconfig(table.name, version), is_qat=False)


def _with_fixed(table: BackendConfig, qconfig: QConfig, is_qat: bool) -> QConfigMapping:
    mapping = QConfigMapping().set_global(qconfig)
    for row in table.configs:
        if row.fixed_qparams is None:
            continue
        observer = FixedQParamsObserver.with_args(
            scale=row.fixed_qparams.scale,
            zero_point=row.fixed_qparams.zero_point,
            dtype=row.fixed_qparams.dtype,
            quant_min=row.fixed_qparams.quant_min,
            quant_max=row.fixed_qparams.quant_max,
        )
        if is_qat:
            observer = FixedQParamsFakeQuantize.with_args(observer=observer)
        for spelling in row.spellings:
            mapping.set_object_type(spelling, QConfig(observer, qconfig.weight))
    return mapping
