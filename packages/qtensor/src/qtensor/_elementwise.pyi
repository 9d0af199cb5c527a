from collections.abc import Sequence

from torch import Tensor

from ._calls import Kernel

def use_isa(name: str) -> None: ...

_Layout = tuple[Sequence[int], Sequence[int]]

class Quantize(Kernel):
    def __init__(
        self,
        type: int,
        element: int,
        count: int,
        layout: _Layout | None,
        scale: float,
        zero_point: int,
        quant_min: int,
        quant_max: int,
    ) -> None: ...

class Dequantize(Kernel):
    def __init__(
        self,
        type: int,
        element: int,
        count: int,
        layout: _Layout | None,
        scale: float,
        zero_point: int,
    ) -> None: ...

class QuantizePerChannel(Kernel):
    def __init__(
        self,
        type: int,
        element: int,
        shape: Sequence[int],
        layout: _Layout | None,
        zero_points: Tensor | None,
        lowest: int,
        highest: int,
    ) -> None: ...

class DequantizePerChannel(QuantizePerChannel): ...

class Clamp(Kernel):
    def __init__(
        self, element: int, count: int, layout: _Layout | None, low: int, high: int
    ) -> None: ...

class Shuffle(Kernel):
    def __init__(
        self, name: str, shape: tuple[int, int, int, int], factor: int, channels_last: bool
    ) -> None: ...

class RequantizeParams:
    def __init__(
        self,
        multiplier: float,
        zero_point: int,
        signed: bool,
        output_zero_point: int,
        lo: float,
        hi: float,
        output_signed: bool,
    ) -> None: ...
    @property
    def in_fixed_point(self) -> bool: ...

class Binary(Kernel):
    def __init__(
        self,
        name: str,
        element: int,
        count: int,
        a_layout: _Layout | None,
        b_layout: _Layout | None,
        a_multiplier: float,
        a_zero_point: int,
        b_multiplier: float,
        b_zero_point: int,
        zero_point: int,
        lo: float,
        hi: float,
    ) -> None: ...
    @property
    def in_fixed_point(self) -> bool: ...

class Join(Kernel):
    def __init__(
        self, parts: Sequence[tuple[RequantizeParams | None, int, int, int, int, _Layout | None]]
    ) -> None: ...

def prelu(
    q: int,
    layout: _Layout | None,
    out: int,
    shape: Sequence[int],
    params: RequantizeParams,
    slopes: int,
    threads: int,
) -> None: ...

class Lookup(Kernel):
    def __init__(self, count: int, layout: _Layout | None, table: bytes) -> None: ...

def softmax(
    q: int,
    out: int,
    element: int,
    shape: Sequence[int],
    exponentials: bytes,
    inverse_scale: float,
    zero_point: int,
    lo: float,
    hi: float,
    threads: int,
) -> None: ...
def attention_weights(
    scores: Tensor,
    mask: Tensor | None,
    steps: Tensor,
    scales: Tensor,
    scale: float,
    threads: int,
) -> None: ...
def embedding_lookup(
    table: int,
    scales: int,
    zero_points: int,
    rows: int,
    columns: int,
    indices: int,
    n: int,
    output: int,
    threads: int,
) -> int: ...
