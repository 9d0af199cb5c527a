"""Zero points as training's kernels take them: of one of three kinds, without conversion."""

import torch
from torch import Tensor

# Which of three pointers of the C structures is given, the others being NULL.
ZERO_POINT_KINDS = {torch.int32: (1, 0, 0), torch.int64: (0, 1, 0), torch.float32: (0, 0, 1)}


def zero_point_addresses(zero_point: Tensor) -> tuple[int, int, int]:
    """The addresses of int32, int64 and real zero points, of which one is not 0.

    Args:
        zero_point: of one of these dtypes.
    """
    narrow, wide, real = ZERO_POINT_KINDS[zero_point.dtype]
    address = zero_point.data_ptr()
    return narrow * address, wide * address, real * address
