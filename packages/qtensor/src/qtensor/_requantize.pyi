def requantize(
    q: int,
    out: int,
    shape: tuple[int, int, int],
    ratios: int,
    zero_points: int,
    output_zero_points: int,
    quant_min: float,
    quant_max: float,
    input: int,
    output: int,
    single: bool,
    threads: int,
) -> None:
    """``shape``: outer, channels, inner; the parameters: as many doubles as channels."""
