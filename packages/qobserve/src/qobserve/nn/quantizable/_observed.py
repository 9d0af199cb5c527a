"""How modules that are taken apart are observed, or prepared for training, as a whole."""

from typing import Any

from torch import nn

from qtensor import as_qdtype

from ..._fake_quantize import FakeQuantizeBase, FixedQParamsFakeQuantize
from ..._passive import FixedQParamsObserver
from ..._prepare import prepare
from ..._prepare_qat import prepare_qat
from ..._qconfig import QConfig
from ..._stubs import QuantStub
from .. import qat

_OBSERVED = {nn.Linear, nn.Sigmoid, QuantStub}
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


def zero_to_one(qconfig: Any) -> QConfig:
    """For values that are known to lie in 0 … 1: fixed parameters, faked if ``qconfig`` fakes.

    Args:
        qconfig: of the module around; its activations' dtype is kept.
    """
    activation = qconfig.activation()
    dtype = as_qdtype(activation.dtype)
    observer = FixedQParamsObserver.with_args(
        scale=1 / 256,
        zero_point=dtype.quant_min,
        dtype=dtype,
        quant_min=dtype.quant_min,
        quant_max=dtype.quant_max,
    )
    if isinstance(activation, FakeQuantizeBase):
        observer = FixedQParamsFakeQuantize.with_args(observer=observer)
    return QConfig(activation=observer, weight=None)


def observed(module: nn.Module, training: bool) -> nn.Module:
    """``module``, with observers on its parts or, in training, with parts that train quantized."""
    if training:
        trained = {nn.Linear: qat.Linear}
        return prepare_qat(module.train(), trained, inplace=True, allow_list=_OBSERVED)
    return prepare(module.eval(), _OBSERVED, inplace=True)
