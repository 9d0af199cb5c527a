from collections.abc import Sequence

from torch import Tensor

_Under = tuple[Sequence[int], Sequence[int]]
Layout = tuple[tuple[int, int, int], int, int, int, int, int, int]

def use_isa(name: str) -> None: ...
def forward(
    type: int, x: int, x_layout: _Under | None, y: int, layout: Layout, threads: int
) -> bool: ...
def backward(
    type: int,
    grad: int,
    grad_layout: _Under | None,
    x: int,
    x_layout: _Under | None,
    grad_x: int,
    layout: Layout,
    threads: int,
) -> bool: ...
def learn(
    type: int,
    grad: int,
    grad_layout: _Under | None,
    x: int,
    x_layout: _Under | None,
    grad_x: int,
    grad_scale: int,
    grad_zero_point: int,
    grad_factor: float,
    layout: Layout,
    threads: int,
) -> bool: ...
def rounded(
    x: Tensor, scale: Tensor, zero_point: Tensor, axis: int | None, quant_min: int, quant_max: int
) -> Tensor | None: ...
def straight_through(
    grad: Tensor,
    x: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    axis: int | None,
    quant_min: int,
    quant_max: int,
) -> Tensor | None: ...
def follow(
    x: Tensor,
    axis: int | None,
    min_val: Tensor,
    max_val: Tensor,
    averaging_constant: float | None,
    rule: tuple[int, int, int, int, float, bool],
    scale: Tensor,
    zero_point: Tensor,
    count: Tensor,
) -> int | None: ...
