"""Which backend's conventions a program follows: ``qtensor.backends.quantized.engine``.

In torch's legacy stack the engine chose the kernels, and with them which activations were safe.
Here there is one set of kernels, exact for all, so no operator and no result depends on it. It
names the conventions that programs pass on to whatever takes a backend's name::

    qtensor.backends.quantized.engine = "fbgemm"
    qconfig = qflow.get_default_qconfig(qtensor.backends.quantized.engine)

``"fbgemm"`` keeps activations within 0 … 127, the others use 0 … 255; see the backends' default
qconfigs. ``engine`` is ``"x86"`` at first and is one value for the whole process;
``supported_engines`` lists what it may be. Setting it to anything else raises ``RuntimeError``.
"""

import sys
from types import ModuleType

_SUPPORTED = ("x86", "fbgemm", "onednn", "qnnpack")


class _Settings(ModuleType):
    """This module, whose attributes are checked when they are set."""

    _engine = _SUPPORTED[0]

    @property
    def engine(self) -> str:
        return self._engine

    @engine.setter
    def engine(self, name: str) -> None:
        if name not in _SUPPORTED:
            raise RuntimeError(
                f"expected a quantized engine out of {', '.join(_SUPPORTED)}, got {name!r}"
            )
        self._engine = name

    @property
    def supported_engines(self) -> list[str]:
        return list(_SUPPORTED)

    @supported_engines.setter
    def supported_engines(self, names: object) -> None:
        raise RuntimeError("supported_engines says what there is; it cannot be set")


# For type checkers: the properties above answer.
engine: str
supported_engines: list[str]

sys.modules[__name__].__class__ = _Settings
