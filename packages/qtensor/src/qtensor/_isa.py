"""The instruction set that the kernels use: chosen once, when qtensor is imported.

``scalar`` is the specification, and every other choice equals it bit for bit. Setting
``QTENSOR_ISA`` before the import forces one, for tests and for finding faults.
"""

import os

from . import _kernels

KNOWN = ("scalar", "avx2")  # from the slowest to the fastest
"""The names ``QTENSOR_ISA`` may have."""


def available() -> tuple[str, ...]:
    """The instruction sets this machine can run, slowest first."""
    return tuple(name for name in KNOWN if _kernels.supports_isa(name))


def choose(requested: str | None) -> str:
    """The instruction set to use: the requested one, or the fastest this machine has.

    Args:
        requested: what ``QTENSOR_ISA`` says; ``None`` or empty for the fastest.

    Raises:
        ValueError: the name is not known.
        RuntimeError: the name is known, but this machine cannot run it.
    """
    if not requested:
        return available()[-1]
    if requested not in KNOWN:
        raise ValueError(
            f"QTENSOR_ISA={requested!r} is unknown; expected one of {', '.join(KNOWN)}"
        )
    if requested not in available():
        raise RuntimeError(
            f"QTENSOR_ISA={requested!r} is not available on this machine, which has "
            f"{', '.join(available())}; unset it to use the fastest"
        )
    return requested


ISA = choose(os.environ.get("QTENSOR_ISA"))
"""The instruction set in use."""
_kernels.use_isa(ISA)
