"""Which qconfig applies where: the mapping, and the default one of each backend."""

from qobserve import (
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

    The backend's default qconfig applies everywhere. Operators whose range of output is known
    beforehand, such as sigmoid, get exactly that range all the same: the backend's rows tell it.

    Args:
        backend: ``"x86"`` (default; activations use 0…255), ``"fbgemm"`` (0…127, faster on
            machines without VNNI), ``"onednn"`` or ``"qnnpack"``; see :func:`get_default_qconfig`.
        version: the version of the defaults; there is only 0.

    Raises:
        ValueError: an unknown backend or version; the message lists those there are.

    Example:
        >>> import qflow
        >>> mapping = qflow.get_default_qconfig_mapping("x86").set_module_name("head", None)
    """
    return QConfigMapping().set_global(get_default_qconfig(backend, version))


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
    return QConfigMapping().set_global(get_default_qat_qconfig(backend, version))
