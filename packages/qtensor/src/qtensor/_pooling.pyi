from collections.abc import Sequence

from torch import Tensor

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

class Interpolate(Kernel):
    def __init__(
        self,
        element: int,
        batch: int,
        channels: int,
        axes: Sequence[tuple[int, Tensor, Tensor, Tensor]],
        linear: bool,
        zero_point: int,
    ) -> None: ...
