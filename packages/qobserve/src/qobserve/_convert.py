"""Replacing the modules of an eager model by their quantized counterparts."""

import copy
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from qtensor import (
    as_qscheme,
    per_channel_affine,
    per_channel_symmetric,
    per_tensor_affine,
    per_tensor_symmetric,
    warn_user,
)
from qtensor.nn.quantized import float_form

from ._base import ObserverBase
from ._passive import NoopObserver, PlaceholderObserver
from ._prepare import OBSERVER, is_activation_post_process, observe_input, observe_output

ModuleMapping = Mapping[type[nn.Module], Any]

# Once the zero point is known, a symmetric scheme is an affine one.
_AFFINE = {per_tensor_symmetric: per_tensor_affine, per_channel_symmetric: per_channel_affine}


def convert(
    module: nn.Module,
    mapping: ModuleMapping,
    inplace: bool = False,
    remove_qconfig: bool = True,
    custom_modules: ModuleMapping | None = None,
    *,
    strict: bool = False,
    use_precomputed_fake_quant: bool = False,
) -> nn.Module:
    """A copy of ``module`` with everything replaced that has a qconfig and a counterpart.

    A module is replaced if its exact type is in ``mapping`` and its ``qconfig`` is not ``None``;
    what is inside it then goes with it. A module used in several places is replaced once. Nothing
    inside a module that is observed as a whole, but has no counterpart, is replaced.

    Args:
        module: a model with ``qconfig`` attributes; for static quantization, one that ``prepare``
            made and that has seen data.
        mapping: for a module type, the class whose ``from_float`` makes the counterpart.
        inplace: change ``module`` itself instead of a copy.
        remove_qconfig: remove what is left of qconfigs and observers.
        custom_modules: for the type of an observed custom module, the class whose
            ``from_observed`` makes the counterpart.
        strict: raise if an observer has seen nothing.
        use_precomputed_fake_quant: do not show trained weights to their fake-quantize modules
            again; for counterparts whose ``from_float`` takes this too.

    Returns:
        the model: the counterpart of ``module`` itself, if it has one.

    Raises:
        ValueError: with ``strict``, an observer has seen nothing.

    Warns:
        UserWarning: observers have seen nothing, so that the modules they belong to get scale 1
            and zero point 0; once, with all their names.

    Example:
        >>> import torch
        >>> from qobserve import convert, default_dynamic_qconfig, propagate_qconfig_
        >>> class Doubled(torch.nn.Module):
        ...     @classmethod
        ...     def from_float(cls, module):
        ...         return cls()
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2))
        >>> propagate_qconfig_(model, {torch.nn.Linear: default_dynamic_qconfig})
        >>> convert(model, {torch.nn.Linear: Doubled})
        Sequential(
          (0): Doubled()
        )
    """
    if not inplace:
        module = copy.deepcopy(module)
    _report_unseen(module, strict)
    swap = partial(
        swap_module,
        mapping=mapping,
        custom_module_class_mapping=custom_modules,
        use_precomputed_fake_quant=use_precomputed_fake_quant,
    )
    module = _converted(module, swap, {})
    if remove_qconfig:
        _remove_qconfig(module)
    return module


def swap_module(
    mod: nn.Module,
    mapping: ModuleMapping,
    custom_module_class_mapping: ModuleMapping | None = None,
    use_precomputed_fake_quant: bool = False,
) -> nn.Module:
    """The counterpart of ``mod``, or ``mod`` itself if it has none or no qconfig.

    The counterpart is in the same mode (training or not) and has the same hooks, but for the
    observer's.

    Args:
        mod: the module.
        mapping: for a module type, the class whose ``from_float(mod)`` makes the counterpart. If
            that also takes ``weight_qparams``, as reference modules do, it is given those
            that the qconfig's weight observer finds.
        custom_module_class_mapping: for a module type, the class whose ``from_observed(mod)``
            makes the counterpart; stronger than ``mapping``.
        use_precomputed_fake_quant: given to ``from_float`` if that takes it.
    """
    if getattr(mod, "qconfig", None) is None:
        return mod
    kind = type_before_parametrizations(mod)
    custom = (custom_module_class_mapping or {}).get(kind)
    target = mapping.get(kind)
    swapped: nn.Module
    if custom is not None:
        swapped = custom.from_observed(mod)
    elif target is None:
        return mod
    else:
        swapped = _counterpart(target, mod, use_precomputed_fake_quant)
    if swapped is not mod:
        _copy_hooks(mod, swapped)
        swapped.train(mod.training)
    return swapped


def get_qparam_dict(observer: nn.Module) -> dict[str, Any]:
    """What an observer has chosen, as the dictionary that reference modules take.

    Args:
        observer: an observer, or anything with ``dtype``, ``qscheme`` and ``calculate_qparams``.

    Returns:
        ``qscheme`` (an affine one, or ``None`` where nothing is to be quantized), ``dtype``, and
        with a scheme ``scale``, ``zero_point``, ``quant_min`` and ``quant_max`` where there are,
        and per channel ``axis``.

    Example:
        >>> import torch
        >>> from qobserve import MinMaxObserver, get_qparam_dict
        >>> observer = MinMaxObserver()
        >>> _ = observer(torch.tensor([0.0, 2.55]))
        >>> get_qparam_dict(observer)["scale"]
        tensor([0.0100])
    """
    dtype: Any = observer.dtype
    # A user's own observer need not name a scheme: one scale and zero point is what it gives then.
    qscheme: Any = getattr(observer, "qscheme", per_tensor_affine)
    if qscheme is None or isinstance(observer, (PlaceholderObserver, NoopObserver)):
        return {"qscheme": None, "dtype": dtype}
    scale, zero_point = observer.calculate_qparams()  # type: ignore[operator]  # duck-typed
    scheme = as_qscheme(qscheme)
    qparams: dict[str, Any] = {
        "qscheme": _AFFINE.get(scheme, scheme),
        "dtype": dtype,
        "scale": scale,
        "zero_point": zero_point,
    }
    if scheme.per_channel:
        qparams["axis"] = observer.ch_axis
    for name in ("quant_min", "quant_max"):
        if hasattr(observer, name):
            qparams[name] = getattr(observer, name)
    return qparams


def get_weight_qparam_dict(
    module: Any, qconfig: Any = None, axis: int | None = None, name: str = ""
) -> dict[str, Any]:
    """How to quantize the weight of a layer, as the dictionary that reference modules take.

    Args:
        module: a float layer with a ``weight``; with its trained ``weight_fake_quant`` if it has
            one, which then says all.
        qconfig: whose ``weight`` makes the observer; the layer's own ``qconfig`` by default.
        axis: the weight's axis of output channels, for observers per channel; by default 1 for
            transposed convolutions and otherwise what the observer was made with.
        name: what the observer calls the weight where it reports something.

    Returns:
        what :func:`get_qparam_dict` returns.

    Example:
        >>> import torch
        >>> from qobserve import default_per_channel_qconfig, get_weight_qparam_dict
        >>> found = get_weight_qparam_dict(torch.nn.Linear(3, 2), default_per_channel_qconfig)
        >>> found["scale"].shape
        torch.Size([2])
    """
    trained: Any = getattr(module, "weight_fake_quant", None)
    if trained is not None and getattr(trained, "has_seen_data", True):
        return get_qparam_dict(trained)
    observer = (module.qconfig if qconfig is None else qconfig).weight()
    if name:
        observer.name = name
    if axis is None and getattr(module, "transposed", False):
        axis = 1
    if axis is not None and hasattr(observer, "ch_axis"):
        observer.ch_axis = axis  # a qconfig is for all layers
    observer(module.weight.detach())
    return get_qparam_dict(observer)


def unseen_observers(module: nn.Module) -> dict[str, ObserverBase]:
    """The observers inside ``module`` that have seen no data, by their qualified names."""
    return {
        name: inner
        for name, inner in module.named_modules()
        if isinstance(inner, ObserverBase) and not inner.has_seen_data
    }


def _report_unseen(module: nn.Module, strict: bool) -> None:
    unseen = unseen_observers(module)
    if not unseen:
        return
    names = ", ".join(name.replace(f".{OBSERVER}", "") for name in unseen)
    message = (
        f"no data was seen by the observers of {names}; run the prepared model on typical inputs "
        "before converting it"
    )
    if strict:
        raise ValueError(message)
    warn_user(
        f"{message}, unless saved parameters will be loaded into the result; until then these "
        "have scale 1 and zero point 0."
    )


def _converted(
    module: nn.Module,
    swap: Callable[[nn.Module], nn.Module],
    done: dict[nn.Module, nn.Module],
) -> nn.Module:
    """``done``: what has been converted already, for modules that are used in several places."""
    if module not in done:
        done[module] = swap(module)
        if done[module] is module and OBSERVER not in module._modules:
            for name, child in module._modules.items():
                if child is not None:
                    module._modules[name] = _converted(child, swap, done)
    return done[module]


def _counterpart(target: Any, mod: nn.Module, use_precomputed_fake_quant: bool) -> nn.Module:
    accepted = inspect.signature(target.from_float).parameters
    made: nn.Module
    if "weight_qparams" in accepted:
        layer = float_form(mod)
        made = target.from_float(layer, weight_qparams=get_weight_qparam_dict(layer))
    elif "use_precomputed_fake_quant" in accepted:
        made = target.from_float(mod, use_precomputed_fake_quant=use_precomputed_fake_quant)
    else:
        made = target.from_float(mod)
    return made


def _copy_hooks(source: nn.Module, target: nn.Module) -> None:
    for key, pre_hook in source._forward_pre_hooks.items():
        if pre_hook is not observe_input:
            with_kwargs = key in source._forward_pre_hooks_with_kwargs
            target.register_forward_pre_hook(pre_hook, with_kwargs=with_kwargs)
    for key, hook in source._forward_hooks.items():
        if hook is not observe_output:
            with_kwargs = key in source._forward_hooks_with_kwargs
            always_call = key in source._forward_hooks_always_called
            target.register_forward_hook(hook, with_kwargs=with_kwargs, always_call=always_call)


def _remove_qconfig(module: nn.Module) -> None:
    """Remove qconfigs, observers and the hooks that called them."""
    for inner in module.modules():
        inner.__dict__.pop("qconfig", None)
        observed = is_activation_post_process(inner._modules.get(OBSERVER))
        if not observed or is_activation_post_process(inner):  # a fake-quantize module has its own
            continue
        hooks: tuple[dict[int, Any], ...] = (inner._forward_hooks, inner._forward_pre_hooks)
        ours = [
            (of_kind, key)
            for of_kind in hooks
            for key, hook in of_kind.items()
            if hook is observe_output or hook is observe_input
        ]
        for of_kind, key in ours:
            del of_kind[key]
        if ours:
            del inner._modules[OBSERVER]
        else:  # the module brought one itself, and calls it
            inner._modules[OBSERVER] = nn.Identity()
