from collections.abc import Sequence

def use_isa(name: str) -> None: ...
def aminmax(
    type: int,
    x: int,
    sizes: Sequence[int],
    strides: Sequence[int],
    lowest: int,
    highest: int,
    nonfinite: int,
    threads: int,
) -> None: ...
def aminmax_per_row(
    type: int,
    x: int,
    sizes: Sequence[int],
    strides: Sequence[int],
    lowest: int,
    highest: int,
    nonfinite: int,
    threads: int,
) -> None: ...
def aminmax_per_channel(
    type: int,
    x: int,
    sizes: Sequence[int],
    strides: Sequence[int],
    axis: int,
    lowest: int,
    highest: int,
    nonfinite: int,
    threads: int,
) -> None: ...
def count_bins(
    type: int,
    x: int,
    sizes: Sequence[int],
    strides: Sequence[int],
    exponent: int,
    first: int,
    size: int,
    counts: int,
    lowest: int,
    highest: int,
    nonfinite: int,
    threads: int,
) -> None: ...
def observe_range(
    type: int,
    x: int,
    sizes: Sequence[int],
    strides: Sequence[int],
    axis: int,
    minimum: int,
    maximum: int,
    averaging_constant: float | None,
    threads: int,
) -> int: ...
def affine_parameters(
    minimum: int,
    maximum: int,
    channels: int,
    rule: tuple[int, int, int, int, float, bool],
    scale: int,
    zero_points: int,
    wide_zero_points: int,
    real_zero_points: int,
) -> bool: ...
