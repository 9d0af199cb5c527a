"""How modules that are taken apart are observed, or prepared for training, as a whole."""

from typing import Any

from torch import nn

from ..._convert import ModuleMapping
from ..._prepare import prepare
from ..._prepare_qat import prepare_qat
from ..._stubs import QuantStub
from .. import qat

_OBSERVED = {nn.Linear, QuantStub}
"""The types of parts that get an observer; functional modules bring their own."""


def qconfig_of(module: nn.Module, kind: type[nn.Module]) -> Any:
    """The qconfig of a float module that is to be taken apart.

    Raises:
        TypeError: the module is not a ``kind``.
        ValueError: it has no qconfig, or one without an observer of activations.
    """
    if not isinstance(module, kind):
        raise TypeError(f"expected a {kind.__name__} to take apart, got a {type(module).__name__}")
    qconfig: Any = getattr(module, "qconfig", None)
    if qconfig is None or qconfig.activation is None:
        raise ValueError(
            f"expected a {kind.__name__} whose qconfig observes activations; set its attribute "
            f"qconfig, now {qconfig}"
        )
    return qconfig


def observed(module: nn.Module, training: bool) -> nn.Module:
    """``module``, with observers on its parts or, in training, with parts that train quantized."""
    if training:
        trained: ModuleMapping = {nn.Linear: qat.Linear}
        return prepare_qat(module.train(), trained, inplace=True, allow_list=_OBSERVED)
    return prepare(module.eval(), _OBSERVED, inplace=True)
