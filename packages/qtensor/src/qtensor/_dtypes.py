"""The quantized dtypes and quantization schemes, under the names the field uses.

PyTorch is removing ``torch.quint8`` and its siblings, so these are objects of our own. Wherever
a caller may pass one, the torch object of the same name is accepted too, while torch has it.
"""

from dataclasses import dataclass, field
from typing import Any

import torch


class _Named:
    """A constant that equals, and hashes like, the torch object of the same name."""

    name: str

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _Named):  # torch's compiler makes copies, so identity is not enough
            return type(self) is type(other) and self.name == other.name
        return str(other) == f"torch.{self.name}" if isinstance(other, _TORCH_KINDS) else False

    def __hash__(self) -> int:
        return hash(getattr(torch, self.name, self.name))

    def __repr__(self) -> str:
        return f"qtensor.{self.name}"

    def __reduce__(self) -> str:  # pickled by name, so that identity survives
        return self.name


# torch.qscheme is itself one of the parts that may disappear.
_TORCH_KINDS: tuple[type, ...] = tuple(
    kind for kind in (torch.dtype, getattr(torch, "qscheme", None)) if isinstance(kind, type)
)


@dataclass(frozen=True, eq=False, repr=False)
class QDType(_Named):
    """A quantized dtype: how integers are stored and which of them may occur.

    Attributes:
        name: the field's name for it, such as ``"quint8"``.
        storage: the torch dtype of the integers, such as ``torch.uint8``.
        quant_min, quant_max: the full range, both ends included.
        bits: how many bits an integer takes. Those of less than 8 are packed several to a byte
            inside a tensor; ``storage`` is then what they are unpacked to.

    Example:
        >>> import qtensor
        >>> qtensor.quint8.storage, qtensor.quint8.quant_min, qtensor.quint8.quant_max
        (torch.uint8, 0, 255)
    """

    name: str
    storage: torch.dtype
    quant_min: int
    quant_max: int
    bits: int = 8


quint8 = QDType("quint8", torch.uint8, 0, 255)
qint8 = QDType("qint8", torch.int8, -128, 127)
qint32 = QDType("qint32", torch.int32, -(2**31), 2**31 - 1, bits=32)
quint4x2 = QDType("quint4x2", torch.uint8, 0, 15, bits=4)
quint2x4 = QDType("quint2x4", torch.uint8, 0, 3, bits=2)
qint4 = QDType("qint4", torch.int8, -8, 7, bits=4)

# A storage dtype alone means the first that has it.
QDTYPES = {dtype.name: dtype for dtype in (quint8, qint8, qint32, quint4x2, quint2x4, qint4)}


def as_qdtype(dtype: Any) -> QDType:
    """The :class:`QDType` that ``dtype`` stands for.

    Args:
        dtype: a ``QDType``, its storage dtype (``torch.uint8``, ``torch.int8``, ``torch.int32``),
            or torch's own quantized dtype of the same name.

    Raises:
        TypeError: ``dtype`` is none of these.
    """
    if isinstance(dtype, QDType):
        return dtype
    for qdtype in QDTYPES.values():
        if dtype == qdtype.storage or qdtype == dtype:
            return qdtype
    expected = ", ".join(map(repr, QDTYPES.values()))
    cast = "; a cast, .to(torch.float16), needs no parameters" if dtype == torch.float16 else ""
    raise TypeError(f"expected a quantized dtype ({expected}), got {dtype!r}{cast}")


@dataclass(frozen=True, eq=False, repr=False)
class QScheme(_Named):
    """How real values map to integers: per tensor or per channel, affine or symmetric."""

    name: str
    per_channel: bool = field(default=False)
    symmetric: bool = field(default=False)


per_tensor_affine = QScheme("per_tensor_affine")
per_tensor_symmetric = QScheme("per_tensor_symmetric", symmetric=True)
per_channel_affine = QScheme("per_channel_affine", per_channel=True)
per_channel_symmetric = QScheme("per_channel_symmetric", per_channel=True, symmetric=True)
per_channel_affine_float_qparams = QScheme("per_channel_affine_float_qparams", per_channel=True)

_QSCHEMES = (
    per_tensor_affine,
    per_tensor_symmetric,
    per_channel_affine,
    per_channel_symmetric,
    per_channel_affine_float_qparams,
)


def as_qscheme(qscheme: Any) -> QScheme:
    """The :class:`QScheme` that ``qscheme`` stands for: one of ours, or torch's of the same name.

    Raises:
        TypeError: ``qscheme`` is neither.
    """
    for candidate in _QSCHEMES:
        if candidate == qscheme:
            return candidate
    expected = ", ".join(map(repr, _QSCHEMES))
    raise TypeError(f"expected a quantization scheme ({expected}), got {qscheme!r}")
