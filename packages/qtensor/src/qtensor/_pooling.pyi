from collections.abc import Sequence

from ._calls import Kernel

def use_isa(name: str) -> None: ...

class MaxPool(Kernel):
    def __init__(
        self, element: int, batch: int, channels: int, axes: Sequence[Sequence[int]]
    ) -> None: ...

class MeanPool(Kernel):
    def __init__(
        self,
        element: int,
        batch: int,
        channels: int,
        axes: Sequence[Sequence[int]],
        zero_point: int,
        ratio: float,
        output_zero_point: int,
        quant_min: int,
        quant_max: int,
        count_padding: bool,
        divisor_override: int,
    ) -> None: ...

class InterpolateShape:
    def __init__(self, batch: int, channels: int, axes: Sequence[Sequence[int]]) -> None: ...

def interpolate_nearest(input: int, output: int, shape: InterpolateShape, threads: int) -> None: ...
def interpolate_linear(
    input: int, output: int, element: int, shape: InterpolateShape, zero_point: int, threads: int
) -> None: ...
