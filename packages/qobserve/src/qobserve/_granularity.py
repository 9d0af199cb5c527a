"""How finely a tensor is divided among quantization parameters, and kindred names of PT2E."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor, nn

from ._factory import WithArgs


class MappingType(Enum):
    """How a range of real values maps to integers.

    ``SYMMETRIC``: the same distance on both sides of zero. ``SYMMETRIC_NO_CLIPPING_ERR``: as that,
    with the larger of the scales that the negative and the positive side need. ``ASYMMETRIC``:
    from the smallest to the largest value.
    """

    SYMMETRIC = auto()
    SYMMETRIC_NO_CLIPPING_ERR = auto()
    ASYMMETRIC = auto()


class ZeroPointDomain(Enum):
    """What a zero point is: an integer, a real value, or nothing at all."""

    INT = auto()
    FLOAT = auto()
    NONE = auto()


class TorchAODType(Enum):
    """Names of integer types narrower than a byte, of 1 … 7 bits."""

    INT1 = auto()
    INT2 = auto()
    INT3 = auto()
    INT4 = auto()
    INT5 = auto()
    INT6 = auto()
    INT7 = auto()


@dataclass(frozen=True)
class Granularity:
    """How a tensor is divided into blocks with parameters of their own; see the subclasses."""


@dataclass(frozen=True)
class PerTensor(Granularity):
    """One block."""


@dataclass(frozen=True)
class PerAxis(Granularity):
    """A block for each index along ``axis``."""

    axis: int


@dataclass(frozen=True)
class PerBlock(Granularity):
    """Blocks of the shape ``block_size``."""

    block_size: tuple[int, ...]


@dataclass(frozen=True)
class PerGroup(Granularity):
    """A block for every ``group_size`` values in a row of a matrix."""

    group_size: int


@dataclass(frozen=True)
class PerRow(Granularity):
    """A block for each row: all that lies along ``dim``, the last by default."""

    dim: int = -1


@dataclass(frozen=True)
class PerToken(Granularity):
    """A block for each token: all that lies along the last dimension."""


def get_block_size(input_shape: tuple[int, ...], granularity: Granularity) -> tuple[int, ...]:
    """The shape of the blocks into which ``granularity`` divides a tensor.

    Args:
        input_shape: the shape of the tensor.
        granularity: an instance of one of the subclasses of :class:`Granularity`.

    Raises:
        TypeError: no instance of one of them.
        ValueError: the shape has no such axis, or is not that of a matrix for :class:`PerGroup`.

    Example:
        >>> from qobserve import PerAxis, get_block_size
        >>> get_block_size((2, 3, 4), PerAxis(1))
        (2, 1, 4)
    """
    shape = tuple(input_shape)
    if isinstance(granularity, (PerAxis, PerRow)):
        axis = granularity.axis if isinstance(granularity, PerAxis) else granularity.dim
        if not -len(shape) <= axis < len(shape):
            raise ValueError(f"{granularity} needs such an axis, got a tensor of shape {shape}")
    match granularity:
        case PerTensor():
            return shape
        case PerBlock(block_size):
            return tuple(block_size)
        case PerAxis(axis):
            return tuple(1 if i == axis % len(shape) else size for i, size in enumerate(shape))
        case PerRow(axis):
            return tuple(size if i == axis % len(shape) else 1 for i, size in enumerate(shape))
        case PerToken():
            return (1,) * (len(shape) - 1) + shape[-1:]
        case PerGroup(group_size):
            if len(shape) != 2:
                raise ValueError(f"{granularity} needs a matrix, got a tensor of shape {shape}")
            return (1, group_size)
    raise TypeError(
        f"expected an instance of PerTensor, PerAxis, PerBlock, PerGroup, PerRow or PerToken, "
        f"got {granularity!r}"
    )


class AffineQuantizedObserverBase(WithArgs, nn.Module, ABC):
    """An observer of a PT2E quantizer with parameters for blocks of any shape; to be subclassed.

    Args:
        mapping_type: how real values map to integers.
        target_dtype: the dtype of the integers.
        granularity: which values share parameters.
        quant_min, quant_max: the integers to use; the dtype's by default.
        eps: the smallest scale.
        scale_dtype, zero_point_dtype: the dtypes of the parameters.
        preserve_zero: whether zero must be exact.
        zero_point_domain: whether zero points are integers.
        **kwargs: left to subclasses, and ignored here.

    Attributes:
        block_size: the shape of the blocks, and
        original_dtype: that of what was observed; both set by :meth:`forward` of a subclass.

    Raises:
        TypeError: ``granularity`` is no instance of a :class:`Granularity`.
    """

    def __init__(
        self,
        mapping_type: MappingType,
        target_dtype: torch.dtype,
        granularity: Granularity,
        quant_min: int | None = None,
        quant_max: int | None = None,
        eps: float | None = None,
        scale_dtype: torch.dtype | None = None,
        zero_point_dtype: torch.dtype | None = None,
        preserve_zero: bool = True,
        zero_point_domain: ZeroPointDomain | None = ZeroPointDomain.INT,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if not isinstance(granularity, Granularity):
            raise TypeError(f"expected an instance of a Granularity, got {granularity!r}")
        self.mapping_type = mapping_type
        self.target_dtype = target_dtype
        self.granularity = granularity
        self.quant_min, self.quant_max = quant_min, quant_max
        self.eps = eps
        self.scale_dtype, self.zero_point_dtype = scale_dtype, zero_point_dtype
        self.preserve_zero = preserve_zero
        self.zero_point_domain = zero_point_domain
        self.block_size: tuple[int, ...] | None = None
        self.original_dtype: torch.dtype | None = None

    @abstractmethod
    def forward(self, input: Tensor) -> Tensor:
        """Look at ``input``, of any shape, and return it."""

    @abstractmethod
    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Scale and zero point, one for each block."""
