"""Observing an eager model: observers on the outputs of its modules."""

import copy
from collections.abc import Collection
from itertools import chain
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from qtensor import warn_user

from ._base import ChoosesQParams
from ._propagate import propagate_qconfig_
from ._qconfig import QConfig
from ._stubs import DeQuantStub

OBSERVER = "activation_post_process"
"""The name under which a module holds the observer of its output."""


def is_activation_post_process(module: object) -> bool:
    """Whether ``module`` is an observer or a fake-quantize module."""
    return isinstance(module, ChoosesQParams)


def prepare(
    model: nn.Module, allow_list: Collection[type[nn.Module]], inplace: bool = False
) -> nn.Module:
    """A copy of ``model`` that observes what is to be quantized; run it on typical data next.

    Give modules a ``qconfig`` first: it holds for all inside them too. A module whose exact type is
    in ``allow_list`` is observed at its output, as one unit. One that brings an attribute
    ``activation_post_process`` of its own, as functional modules do, has it replaced by an
    observer. One with a true attribute ``observes_itself`` is left alone if it does so already.

    Args:
        model: the float model, with ``qconfig`` attributes.
        allow_list: the types to observe.
        inplace: change ``model`` itself instead of a copy.

    Returns:
        the model, each observer in the attribute ``activation_post_process`` of its module.

    Warns:
        UserWarning: no module has a qconfig.

    Example:
        >>> import torch
        >>> from qobserve import QuantStub, QuantWrapper, default_qconfig, prepare
        >>> model = QuantWrapper(torch.nn.Linear(2, 2))
        >>> model.qconfig = default_qconfig
        >>> prepared = prepare(model, allow_list={QuantStub, torch.nn.Linear})
        >>> _ = prepared(torch.ones(1, 2))
        >>> prepared.quant.activation_post_process.max_val
        tensor(1.)
    """
    if not inplace:
        model = copy.deepcopy(model)
    propagate_qconfig_(model)
    if not any(module.qconfig for module in model.modules()):
        warn_user(
            "no module has a qconfig, so nothing will be observed; set model.qconfig, or that of "
            "the submodules to quantize"
        )
    _observe(model, "", frozenset(allow_list))
    return model


def _observe(module: nn.Module, name: str, allow_list: frozenset[type[nn.Module]]) -> None:
    if getattr(module, "observes_itself", False) and _is_observed(module):
        return
    qconfig: Any = module.qconfig
    own = module._modules.get(OBSERVER)
    if qconfig is not None and not isinstance(module, DeQuantStub):
        if is_activation_post_process(own):  # a module used in two places, or prepared before
            return
        if own is not None:
            setattr(module, OBSERVER, _observer(qconfig, name, module))
            return
        if type_before_parametrizations(module) in allow_list:
            setattr(module, OBSERVER, _observer(qconfig, name, module))
            if is_memoryless(qconfig):  # it stands for quantization at run time, of the input
                module.register_forward_pre_hook(observe_input, prepend=True)
            elif type(module).forward is not nn.Sequential.forward:  # which runs what it holds
                module.register_forward_hook(observe_output, prepend=True)
            return
    for child_name, child in module.named_children():
        _observe(child, f"{name}.{child_name}" if name else child_name, allow_list)


def _is_observed(module: nn.Module) -> bool:
    outside = (part for part in module.modules() if not is_activation_post_process(part))
    return any(is_activation_post_process(part._modules.get(OBSERVER)) for part in outside)


def _observer(qconfig: QConfig, name: str, module: nn.Module) -> nn.Module:
    if qconfig.activation is None:
        raise ValueError(f"{name or 'the model'}: its qconfig has no activation observer")
    observer: nn.Module = qconfig.activation()
    if isinstance(observer, ChoosesQParams):
        observer.name = name
    where = next(chain(module.parameters(), module.buffers()), None)
    return observer if where is None else observer.to(where.device)


def is_memoryless(qconfig: QConfig) -> bool:
    """Whether activations are observed by each batch's own range: a moving average of constant 1.

    Args:
        qconfig: with an ``activation`` that makes an observer or a fake-quantize module.
    """
    observer: Any = qconfig.activation() if qconfig.activation is not None else None
    observer = getattr(observer, OBSERVER, observer)
    return getattr(observer, "averaging_constant", None) == 1


def observe_input(module: nn.Module, args: Any) -> Any:
    """A forward pre-hook: the observer sees the first input."""
    return (getattr(module, OBSERVER)(args[0]), *args[1:])


def observe_output(module: nn.Module, args: Any, output: Any) -> Any:
    """A forward hook: the observer sees the output."""
    return getattr(module, OBSERVER)(output)
