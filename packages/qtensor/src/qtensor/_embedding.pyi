def use_isa(name: str) -> None: ...
def embedding_bag(
    table: int,
    scales: int,
    zero_points: int,
    rows: int,
    columns: int,
    bits: int,
    indices: int,
    offsets: int,
    bags: int,
    weights: int,
    padding: int,
    mean: bool,
    output: int,
    threads: int,
) -> int: ...
