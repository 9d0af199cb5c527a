from collections.abc import Sequence

def use_isa(name: str) -> None: ...
def max_pool(
    input: int,
    output: int,
    element: int,
    batch: int,
    channels: int,
    height: Sequence[int],
    width: Sequence[int],
    threads: int,
) -> None: ...
def mean_pool(
    input: int,
    output: int,
    element: int,
    batch: int,
    channels: int,
    height: Sequence[int],
    width: Sequence[int],
    zero_point: int,
    count_padding: bool,
    divisor_override: int,
    threads: int,
) -> None: ...
