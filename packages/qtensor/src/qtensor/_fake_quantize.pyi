Layout = tuple[tuple[int, int, int], int, int, int, int, int, int]

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
