"""Saving what the observers of a model have seen, apart from its parameters."""

from collections import OrderedDict
from typing import Any

from torch import Tensor, nn

from ._prepare import OBSERVER


def get_observer_state_dict(mod: nn.Module) -> "OrderedDict[str, Tensor]":
    """The part of a prepared model's state dict that belongs to its observers.

    Args:
        mod: a model from ``prepare``, ``prepare_fx`` or their QAT forms.

    Returns:
        the entries whose names contain ``activation_post_process``, and the versions of all.

    Example:
        >>> import torch
        >>> from qobserve import QuantStub, default_qconfig, get_observer_state_dict, prepare
        >>> model = torch.nn.Sequential(QuantStub(), torch.nn.Linear(2, 2))
        >>> model.qconfig = default_qconfig
        >>> list(get_observer_state_dict(prepare(model, allow_list={QuantStub})))[-1]
        '0.activation_post_process.max_val'
    """
    everything: Any = mod.state_dict()
    observers: Any = OrderedDict(
        (name, value) for name, value in everything.items() if OBSERVER in name
    )
    observers._metadata = everything._metadata
    return observers  # type: ignore[no-any-return]  # Any only for the attribute


def load_observer_state_dict(mod: nn.Module, obs_dict: "OrderedDict[str, Tensor]") -> None:
    """Load what :func:`get_observer_state_dict` gave into the observers of a model.

    Args:
        mod: a model prepared like the one it came from; its parameters stay as they are.
        obs_dict: the statistics.

    Raises:
        ValueError: an observer of ``mod`` has no statistics there, or there are statistics of an
            observer that it does not have; all of them are named.
    """
    missing, unexpected = mod.load_state_dict(obs_dict, strict=False)
    missing = [name for name in missing if OBSERVER in name]
    if missing or unexpected:
        raise ValueError(
            "the statistics are those of a model prepared in another way; missing: "
            f"{', '.join(missing) or 'none'}; unexpected: {', '.join(unexpected) or 'none'}"
        )
