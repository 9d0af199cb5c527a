Layout = tuple[tuple[int, int, int], int, int, int, int, int]

def use_isa(name: str) -> None: ...
def forward(x: int, y: int, layout: Layout, threads: int) -> bool: ...
def backward(grad: int, x: int, grad_x: int, layout: Layout, threads: int) -> bool: ...
def learn(
    grad: int,
    x: int,
    grad_x: int,
    grad_scale: int,
    grad_zero_point: int,
    grad_factor: float,
    layout: Layout,
    threads: int,
) -> bool: ...
def follow_range(
    lowest: int,
    highest: int,
    channels: int,
    averaging_constant: float,
    quant_min: int,
    quant_max: int,
    symmetric: bool,
    smallest_scale: float,
    running_min: int,
    running_max: int,
    scale: int,
    zero_point: int,
) -> None: ...
