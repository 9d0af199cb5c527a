from collections.abc import Sequence

def use_isa(name: str) -> None: ...

class PoolShape:
    def __init__(self, batch: int, channels: int, axes: Sequence[Sequence[int]]) -> None: ...

def max_pool(input: int, output: int, element: int, shape: PoolShape, threads: int) -> None: ...
def mean_pool(
    input: int,
    output: int,
    element: int,
    shape: PoolShape,
    zero_point: int,
    ratio: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    count_padding: bool,
    divisor_override: int,
    threads: int,
) -> None: ...

class InterpolateShape:
    def __init__(self, batch: int, channels: int, axes: Sequence[Sequence[int]]) -> None: ...

def interpolate_nearest(input: int, output: int, shape: InterpolateShape, threads: int) -> None: ...
def interpolate_linear(
    input: int, output: int, element: int, shape: InterpolateShape, zero_point: int, threads: int
) -> None: ...
