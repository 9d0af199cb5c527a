from collections.abc import Sequence

from ._calls import Kernel

def use_isa(name: str) -> None:
    """Choose the kernels of this instruction set for all calls from now on."""

class RequantizePerChannel(Kernel):
    def __init__(
        self,
        shape: tuple[int, int, int],
        under: tuple[Sequence[int], Sequence[int]] | None,
        input: int,
        output: int,
        lowest: int,
        highest: int,
        quant_min: int,
        quant_max: int,
    ) -> None: ...
