"""Checks of arguments that several flows take."""

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import Tensor, nn

from qtensor import warn_user

Config = TypeVar("Config")


def check_model(model: Any, caller: str) -> None:
    """Raise ``TypeError`` unless ``model`` is a module."""
    if not isinstance(model, nn.Module):
        hint = "; give an instance, not the class" if isinstance(model, type) else ""
        raise TypeError(f"{caller} expects a torch.nn.Module, got {_describe(model)}{hint}")


def as_example_inputs(example_inputs: Any, caller: str) -> tuple[Any, ...]:
    """``example_inputs`` as a tuple; ``TypeError`` unless it is a tuple, a list or a tensor.

    A tensor is the only argument: ``(x)`` is what people write where ``(x,)`` was meant.
    """
    if isinstance(example_inputs, Tensor):
        return (example_inputs,)
    if not isinstance(example_inputs, tuple | list):
        raise TypeError(
            f"{caller} expects example_inputs to be a tuple of the model's positional arguments, "
            f"such as (torch.randn(1, 3, 224, 224),), got {_describe(example_inputs)}"
        )
    return tuple(example_inputs)


def as_config(value: Any, kind: type[Config], parameter: str, caller: str) -> Config | None:
    """``value`` as a ``kind``, reading the dictionaries that were used before there was one.

    Args:
        value: a ``kind``, ``None``, or a dictionary as ``kind.to_dict()`` writes it.
        kind: a configuration class with ``from_dict``.
        parameter, caller: named in the messages.

    Raises:
        TypeError: ``value`` is none of these.

    Warns:
        FutureWarning: ``value`` is a dictionary.
    """
    if value is None or isinstance(value, kind):
        return value
    if isinstance(value, Mapping):
        warn_user(
            f"{caller} was given a dictionary as {parameter}; use a {kind.__name__} instead, or "
            f"{kind.__name__}.from_dict",
            FutureWarning,
        )
        config: Config = kind.from_dict(value)  # type: ignore[attr-defined]  # all of them have it
        return config
    raise TypeError(f"{caller} expects {parameter} to be a {kind.__name__}, got {_describe(value)}")


def _describe(value: Any) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
