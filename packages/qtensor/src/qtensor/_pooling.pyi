from collections.abc import Sequence

from torch import Tensor

from ._calls import Kernel
from ._ops._images import Images

def use_isa(name: str) -> None: ...

class MaxPool(Kernel):
    def __init__(self, element: int, images: Images, axes: Sequence[Sequence[int]]) -> None: ...

class MeanPool(Kernel):
    def __init__(
        self,
        element: int,
        images: Images,
        axes: Sequence[Sequence[int]],
        zero_point: int,
        ratio: float,
        output_zero_point: int,
        quant_min: int,
        quant_max: int,
        count_padding: bool,
        divisor_override: int,
    ) -> None: ...

class MeanOfElements(Kernel):
    def __init__(
        self,
        element: int,
        layout: tuple[list[int], list[int]] | None,
        count: int,
        size: int,
        zero_point: int,
        ratio: float,
        output_zero_point: int,
        quant_min: int,
        quant_max: int,
    ) -> None: ...

class Interpolate(Kernel):
    def __init__(
        self,
        element: int,
        images: Images,
        axes: Sequence[tuple[Tensor, Tensor, Tensor]],
        linear: bool,
        zero_point: int,
    ) -> None: ...
