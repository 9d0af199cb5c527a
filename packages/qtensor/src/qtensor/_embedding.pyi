DONE: int
BAD_OFFSETS: int
MODES: tuple[str, ...]

def use_isa(name: str) -> None: ...
def embedding_bag(
    table: int,
    scales: int,
    zero_points: int,
    rows: int,
    columns: int,
    bits: int,
    indices: int,
    count: int,
    offsets: int,
    offset_count: int,
    bags: int,
    weights: int,
    padding: int,
    mode: int,
    output: int,
    threads: int,
) -> int: ...
