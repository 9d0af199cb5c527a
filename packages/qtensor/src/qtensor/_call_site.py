"""The line of the user's code that a message is about."""

import sys
import warnings
from types import FrameType

_LIBRARIES = frozenset({"torch", "qtensor", "qobserve", "qgraph", "qbackends", "qflow"})


def call_site() -> FrameType:
    """The innermost frame that belongs neither to torch nor to these packages.

    The code that torch generates for a traced model, which lies in no module, is torch's too.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and _package(frame) in _LIBRARIES:
        frame = frame.f_back
    return frame


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, pointing at the line of the user's code that led here.

    That is the innermost one that belongs neither to torch nor to ``qtensor``, ``qobserve``,
    ``qgraph``, ``qbackends`` or ``qflow``, however many of their functions lie between.

    Args:
        message: what to say.
        category: the class of the warning.

    Example:
        >>> import warnings
        >>> import qtensor
        >>> with warnings.catch_warnings(record=True, action="always") as caught:
        ...     qtensor.warn_user("the scale is larger than the values")
        >>> str(caught[0].message)
        'the scale is larger than the values'
    """
    site = call_site()
    warnings.warn_explicit(
        message,
        category,
        site.f_code.co_filename,
        site.f_lineno,
        site.f_globals.get("__name__", "<unknown>"),
        site.f_globals.setdefault("__warningregistry__", {}),
    )


def _package(frame: FrameType) -> str:
    name: str = frame.f_globals.get("__name__", "torch")
    return name.partition(".")[0]
