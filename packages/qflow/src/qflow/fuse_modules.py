"""Fusing the modules of an eager model, named one by one."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from qbackends import get_native_backend_config
from qgraph import Rows

__all__ = ["fuse_known_modules", "fuse_modules", "fuse_modules_qat"]

Names = Sequence[str]


def fuse_known_modules(
    mod_list: Sequence[nn.Module],
    is_qat: bool,
    additional_fuser_method_mapping: dict[Any, Callable[..., nn.Module]] | None = None,
) -> list[nn.Module]:
    """What stands in the places of ``mod_list``: the fused module first, then identities.

    Args:
        mod_list: modules that follow one another, such as a convolution, its batch norm and a ReLU.
            Their hooks before the first and after the last move to the fused module.
        is_qat: whether they are fused for quantization-aware training, so that a batch norm stays.
        additional_fuser_method_mapping: for a tuple of types, what makes the fused module:
            ``method(is_qat, *modules)``; stronger than what the native table has.

    Raises:
        NotImplementedError: nothing fuses these types.
        ValueError: a batch norm is to be folded in training mode.
    """
    kinds = tuple(map(type_before_parametrizations, mod_list))
    method = (additional_fuser_method_mapping or {}).get(kinds)
    # Taken off before fusing, which may copy a module with its hooks.
    pre_hooks, hooks = mod_list[0]._forward_pre_hooks.copy(), mod_list[-1]._forward_hooks.copy()
    mod_list[0]._forward_pre_hooks.clear()
    mod_list[-1]._forward_hooks.clear()
    fused = _fused(kinds, mod_list, is_qat) if method is None else method(is_qat, *mod_list)
    for pre_hook in pre_hooks.values():
        fused.register_forward_pre_hook(pre_hook)
    for hook in hooks.values():
        fused.register_forward_hook(hook)
    identities = [nn.Identity().train(mod_list[0].training) for _ in mod_list[1:]]
    return [fused, *identities]


def fuse_modules(
    model: nn.Module,
    modules_to_fuse: Names | Sequence[Names],
    inplace: bool = False,
    fuser_func: Callable[..., Sequence[nn.Module]] = fuse_known_modules,
    fuse_custom_config_dict: dict[str, Any] | None = None,
) -> nn.Module:
    """A copy of ``model`` with sequences of modules fused into one each, batch norms folded.

    Args:
        model: the float model, in eval mode.
        modules_to_fuse: names of modules that follow one another, or a list of such lists. The
            first of each becomes the fused module, the others identities.
        inplace: change ``model`` itself instead of a copy.
        fuser_func: called as :func:`fuse_known_modules` is, once for each list.
        fuse_custom_config_dict: its entry ``"additional_fuser_method_mapping"`` goes to
            ``fuser_func``.

    Raises:
        AttributeError: the model has no module of a name.
        NotImplementedError: nothing fuses these modules.
        ValueError: a batch norm is to be folded in training mode.

    Example:
        >>> import torch
        >>> from qflow.fuse_modules import fuse_modules
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()).eval()
        >>> [type(module).__name__ for module in fuse_modules(model, ["0", "1"])]
        ['ConvReLU2d', 'Identity']
    """
    return _fuse(model, modules_to_fuse, inplace, fuser_func, fuse_custom_config_dict, False)


def fuse_modules_qat(
    model: nn.Module,
    modules_to_fuse: Names | Sequence[Names],
    inplace: bool = False,
    fuser_func: Callable[..., Sequence[nn.Module]] = fuse_known_modules,
    fuse_custom_config_dict: dict[str, Any] | None = None,
) -> nn.Module:
    """As :func:`fuse_modules`, for quantization-aware training: batch norms stay, to be trained."""
    return _fuse(model, modules_to_fuse, inplace, fuser_func, fuse_custom_config_dict, True)


def _fuse(
    model: nn.Module,
    modules_to_fuse: Any,
    inplace: bool,
    fuser_func: Callable[..., Sequence[nn.Module]],
    custom: dict[str, Any] | None,
    is_qat: bool,
) -> nn.Module:
    if not inplace:
        model = copy.deepcopy(model)
    single = all(isinstance(name, str) for name in modules_to_fuse)
    methods = (custom or {}).get("additional_fuser_method_mapping", {})
    for names in [modules_to_fuse] if single else modules_to_fuse:
        parts = [model.get_submodule(name) for name in names]
        for name, module in zip(names, fuser_func(parts, is_qat, methods), strict=True):
            model.set_submodule(name, module)
    return model


def _fused(kinds: tuple[type, ...], modules: Sequence[nn.Module], is_qat: bool) -> nn.Module:
    rows = Rows(get_native_backend_config())
    row = rows.sequence(tuple(map(rows.canonical, kinds)))
    if row is None or (is_qat and row.qat_module is None):
        names = ", ".join(kind.__name__ for kind in kinds)
        why = " for quantization-aware training" if row is not None else ""
        raise NotImplementedError(f"nothing fuses {names}{why}; leave them as they are")
    return row.fuse(is_qat, *modules)
