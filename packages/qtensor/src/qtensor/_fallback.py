"""What happens when an operator without a quantized kernel is given a QTensor."""

import linecache
import warnings
from types import TracebackType
from typing import Literal, Self

import torch

from ._call_site import call_site

Mode = Literal["warn", "error", "silent"]
_MODES: tuple[Mode, ...] = ("warn", "error", "silent")

_mode: Mode = "warn"
_warned: set[tuple[str, int, str]] = set()


class FallbackWarning(UserWarning):
    """An operator on quantized tensors was computed in float, because it has no integer kernel."""


class fallback:
    """Chooses what an operator without a quantized kernel does with a quantized tensor.

    Such an operator is computed in float32 on the dequantized values. It takes effect at once,
    for the whole process; as a context manager it puts the previous choice back at the end.

    Args:
        mode: ``"warn"`` (the default of the library) warns once for each operator and line,
            ``"error"`` raises :class:`NotImplementedError`, ``"silent"`` says nothing.

    Raises:
        ValueError: for any other mode.

    Example:
        >>> import torch, qtensor
        >>> q = qtensor.quantize_per_tensor(torch.ones(2), 0.1, 0, qtensor.quint8)
        >>> with qtensor.fallback("silent"):
        ...     torch.tan(q)
        tensor([1.5574, 1.5574])
    """

    def __init__(self, mode: Mode) -> None:
        global _mode
        if mode not in _MODES:
            raise ValueError(f"expected one of {', '.join(map(repr, _MODES))}, got {mode!r}")
        self._previous = _mode
        _mode = mode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _mode
        _mode = self._previous


def report_fallback(operator: str) -> None:
    """Warns, raises or stays silent about ``operator``, as :class:`fallback` was told."""
    if _mode == "silent":
        return
    if torch.compiler.is_compiling():  # frames of the user's code cannot be seen here
        if _mode == "error":
            raise NotImplementedError(_message(operator, ""))
        return
    site = call_site()
    filename, line = site.f_code.co_filename, site.f_lineno
    source = linecache.getline(filename, line).strip()
    message = _message(operator, f" at {filename}:{line}" + (f" ({source})" if source else ""))
    if _mode == "error":
        raise NotImplementedError(message)
    if (filename, line, operator) not in _warned:
        _warned.add((filename, line, operator))
        warnings.warn_explicit(message, FallbackWarning, filename, line)


def _message(operator: str, place: str) -> str:
    return (
        f"{operator} has no quantized kernel; it dequantizes and computes in float32{place}. "
        'Call .dequantize() there to say so, or qtensor.fallback("silent") to accept it.'
    )
