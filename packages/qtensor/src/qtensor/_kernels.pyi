from collections.abc import Sequence

from torch import Tensor

from ._ops._conv_axes import Phase
from ._packing import PackedForms

def supports_isa(name: str) -> bool: ...
def use_isa(name: str) -> None: ...
def or_bytes(data: int, count: int) -> int: ...

class Packed:
    @property
    def counts(self) -> tuple[int, int, int, int]: ...
    @property
    def nbytes(self) -> int: ...

def pack_weights(
    weights: int,
    groups: int,
    channels: int,
    runs: int,
    run_length: int,
    group_stride: int,
    amax: int,
    row_sums: bool,
    orders: bool,
) -> Packed: ...
def pack_depthwise_weights(
    weights: int, channels: int, multiplier: int, taps: Sequence[int]
) -> Packed: ...
def pack_one_row(weights: int, channels: int, k: int) -> Packed: ...

LONGEST_ROW: int
PADDING_MODES: tuple[str, ...]

class ConvShape:
    def __init__(self, image: Sequence[int], axes: Sequence[Sequence[int]], mode: str) -> None: ...

class LSTMCell:
    def __init__(
        self, tables: tuple[bytes, ...], binaries: Sequence[tuple[float, ...]], signed: bool
    ) -> None: ...

class Product:
    def __init__(
        self,
        input_zero_point: int,
        weight_zero_points: Tensor | None,
    ) -> None: ...
    def scale(
        self,
        multipliers: Tensor,
        bias: Tensor | None,
        lowest: float,
        highest: float,
    ) -> None: ...
    def requantize(
        self,
        output_scale: float,
        output_zero_point: int,
        signed: bool,
        residual_multiplier: float,
        residual_zero_point: int,
    ) -> None: ...
    def dequantize(self) -> None: ...
    def activate(self, code: int, negative_slope: float) -> None: ...
    def linear(
        self,
        forms: PackedForms,
        weight: Tensor,
        weight_zero_points: Tensor | None,
        threads: int,
        output: Tensor,
        residual: Tensor | None,
        input: Tensor,
    ) -> None: ...
    def linear_dynamic(
        self,
        forms: PackedForms,
        weight: Tensor,
        weight_zero_points: Tensor | None,
        threads: int,
        output: Tensor,
        input: Tensor,
        quant_max: int,
        per_row: bool,
        amax: int,
    ) -> None: ...
    def conv(
        self,
        forms: PackedForms,
        weight: Tensor,
        weight_zero_points: Tensor | None,
        depthwise: bool,
        phases: tuple[Phase, ...],
        threads: int,
        output: Tensor,
        residual: Tensor | None,
        input: Tensor,
    ) -> None: ...
    def weight_only(
        self,
        threads: int,
        output: int,
        input: int,
        panels: int,
        rows: int,
        k: int,
        channels: int,
    ) -> None: ...
    def matmul(self, threads: int, output: Tensor, a: Tensor, b: Tensor) -> None: ...
    def conv_dynamic(
        self,
        weights: Packed,
        threads: int,
        output: int,
        input: int,
        shape: ConvShape,
        quant_max: int,
        per_image: bool,
    ) -> None: ...
    def lstm(
        self,
        weights: Packed,
        cell: LSTMCell,
        threads: int,
        sizes: Sequence[int],
        input_gates: int,
        hidden: int,
        cells: int,
        outputs: int,
    ) -> None: ...
