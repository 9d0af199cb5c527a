"""The channels of a tensor: the axis they lie along, and a value for each."""

from torch import Tensor


def check_axis(input: Tensor, axis: int, name: str = "input") -> None:
    """Raise ``ValueError`` if there is no such axis; a negative one counts from the end."""
    if not -input.ndim <= axis < input.ndim:
        raise ValueError(
            f"expected an axis of {name}, which has shape {tuple(input.shape)}, got {axis}"
        )


def channels_along(input: Tensor, axis: int | None, name: str = "input") -> int:
    """How many channels there are; 1 per tensor. Raise ``ValueError`` if there is no such axis."""
    if axis is None:
        return 1
    check_axis(input, axis, name)
    return input.shape[axis]


def along(axis: int, values: Tensor, dims: int) -> Tensor:
    """``values``, shape ``(channels,)``, so that they meet a tensor's channels.

    Args:
        axis: of the tensor; a negative one counts from the end.
        dims: how many dimensions it has.
    """
    sizes = [1] * dims
    sizes[axis] = -1
    return values.reshape(sizes)
