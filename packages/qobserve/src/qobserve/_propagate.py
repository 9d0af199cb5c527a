"""Giving every module of an eager model the QConfig that applies to it."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from ._qconfig import QConfigAny

_UNSET = object()


def propagate_qconfig_(
    module: nn.Module,
    qconfig_dict: Mapping[type | str, QConfigAny] | None = None,
    prepare_custom_config_dict: Mapping[str, Any] | None = None,
) -> None:
    """Set the attribute ``qconfig`` of ``module`` and of everything inside it.

    From the strongest to the weakest: the ``qconfig`` a module has already; its name in the
    dictionary; the same of the nearest module around it; its exact type in the dictionary; what
    the module around it has, the outermost that of the name ``""``, or ``None``. So what is said of
    a module by name holds inside it even where a type says otherwise, as in graph flows.

    Args:
        module: the model; only its attributes change.
        qconfig_dict: a :class:`QConfig`, or ``None`` for float, for module types and qualified
            names.
        prepare_custom_config_dict: its entries ``"non_traceable_module_name"`` and
            ``"non_traceable_module_class"`` list submodules, by the names they have in the module
            around them or by their exact types, that get no ``qconfig``, nor what is inside them.

    Example:
        >>> import torch
        >>> from qobserve import default_dynamic_qconfig, propagate_qconfig_
        >>> model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
        >>> propagate_qconfig_(model, {torch.nn.Linear: default_dynamic_qconfig, "1": None})
        >>> model[0].qconfig is default_dynamic_qconfig, model[1].qconfig
        (True, None)
    """
    custom = prepare_custom_config_dict or {}
    left_alone = frozenset(
        (
            *custom.get("non_traceable_module_name", ()),
            *custom.get("non_traceable_module_class", ()),
        )
    )
    _propagate(module, "", qconfig_dict or {}, None, False, left_alone)


def _propagate(
    module: nn.Module,
    name: str,
    qconfigs: Mapping[Any, QConfigAny],
    inherited: QConfigAny,
    by_choice: bool,
    left_alone: frozenset[type | str],
) -> None:
    """``by_choice``: whether ``inherited`` was chosen for the module around, not by its type."""
    own: Any = getattr(module, "qconfig", _UNSET)
    if own is not _UNSET:
        qconfig, by_choice = own, True
    elif name in qconfigs:
        qconfig, by_choice = qconfigs[name], name != ""
    elif not by_choice:
        qconfig = qconfigs.get(type_before_parametrizations(module), inherited)
    else:
        qconfig = inherited
    module.qconfig = qconfig
    for child_name, child in module.named_children():
        if child_name in left_alone or type(child) in left_alone:
            continue
        path = f"{name}.{child_name}" if name else child_name
        _propagate(child, path, qconfigs, qconfig, by_choice, left_alone)
