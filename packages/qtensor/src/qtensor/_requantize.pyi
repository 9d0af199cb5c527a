def use_isa(name: str) -> None:
    """Choose the kernels of this instruction set for all calls from now on."""

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
    threads: int,
) -> None:
    """``shape``: outer, channels, inner; the parameters: as many numbers as channels, float32
    where bytes become bytes, else float64."""
