"""Preparing an eager model for quantization-aware training."""

import copy
from collections.abc import Collection

from torch import nn

from ._convert import ModuleMapping, convert
from ._prepare import prepare
from ._propagate import propagate_qconfig_


def prepare_qat(
    model: nn.Module,
    mapping: ModuleMapping,
    inplace: bool = False,
    *,
    allow_list: Collection[type[nn.Module]] = (),
) -> nn.Module:
    """A copy of ``model`` that trains as it will be quantized.

    Give modules a ``qconfig`` with fake-quantize modules first. Modules with a counterpart for
    training are replaced by it; these, and the types in ``allow_list``, get the fake-quantize
    module of their output.

    Args:
        model: the float model, in training mode, with ``qconfig`` attributes.
        mapping: for a module type, the class whose ``from_float`` makes the counterpart.
        inplace: change ``model`` itself instead of a copy.
        allow_list: further types to observe, such as :class:`QuantStub`.

    Returns:
        the model to train. Make the optimizer from its parameters.

    Raises:
        ValueError: ``model`` is in eval mode.

    Warns:
        UserWarning: no module has a qconfig.

    Example:
        >>> import torch
        >>> from qobserve import QuantStub, QuantWrapper, default_qat_qconfig, prepare_qat
        >>> from qobserve.nn import qat
        >>> model = QuantWrapper(torch.nn.Linear(2, 2))
        >>> model.qconfig = default_qat_qconfig
        >>> prepared = prepare_qat(model, {torch.nn.Linear: qat.Linear}, allow_list={QuantStub})
        >>> type(prepared.module) is qat.Linear, prepared(torch.ones(1, 2)).requires_grad
        (True, True)
    """
    if not model.training:
        raise ValueError("prepare_qat expects a model in training mode; call model.train() first")
    if not inplace:
        model = copy.deepcopy(model)
    propagate_qconfig_(model)
    model = convert(model, mapping, inplace=True, remove_qconfig=False)
    return prepare(model, {*mapping.values(), *allow_list}, inplace=True)
