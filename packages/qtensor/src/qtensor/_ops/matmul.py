"""Matrix products of two quantized tensors, requantized in the same pass."""

from typing import Any

import torch
from torch import Tensor

from .. import _kernels
from .._threads import num_threads
from ._product import Requantization, check_input, unsigned
from ._registry import operator


def matmul_reference(
    a: Tensor,
    a_scale: float,
    a_zero_point: int,
    b: Tensor,
    b_scale: float,
    b_zero_point: int,
    output_scale: float,
    output_zero_point: int,
    quant_min: int,
    quant_max: int,
    dtype: torch.dtype,
    activation_min: float | None = None,
    activation_max: float | None = None,
) -> Tensor:
    """The matrix product of two quantized tensors, as ``torch.matmul`` defines it.

    Args:
        a: uint8 or int8, ``(..., M, K)`` or ``(K,)``, quantized by ``a_scale``, ``a_zero_point``.
        b: uint8 or int8, ``(..., K, N)`` or ``(K,)``, quantized by ``b_scale``, ``b_zero_point``.
            Leading dimensions of ``a`` and ``b`` are broadcast.
        output_scale, output_zero_point: how the result is quantized.
        quant_min, quant_max: the integers the result may use, both included.
        dtype: of the result, ``torch.uint8`` or ``torch.int8``.
        activation_min, activation_max: bounds of the real result; ``None``, the default, for none.

    Returns:
        ``(..., M, N)``, without the dimension that a vector lacks. The integer sums are exact;
        ``qtensor._ops._product.Requantization`` says how they are requantized, with the product
        of both scales as the input's and 1 as the weight's.

    Raises:
        TypeError: a dtype is not as above.
        ValueError: shapes or devices do not fit, a scale is not positive and finite, or a zero
            point or the range does not fit its dtype.

    Example:
        >>> import torch, qtensor
        >>> a = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8)
        >>> torch.ops.qtensor.matmul(a, 1.0, 0, a, 1.0, 1, 1.0, 0, 0, 255, torch.uint8)
        tensor([[ 4,  7],
                [ 8, 15]], dtype=torch.uint8)
    """
    output = (output_scale, output_zero_point, quant_min, quant_max, dtype)
    finish = _finish(a_scale, b_scale, a.device, *output, activation_min, activation_max)
    sums = torch.matmul(a.double() - a_zero_point, b.double() - b_zero_point)
    return finish.reference(sums.unsqueeze(-1), -1).squeeze(-1)  # one channel: one multiplier


def _finish(a_scale: float, b_scale: float, device: torch.device, *output: Any) -> Requantization:
    return Requantization(
        a_scale * b_scale, torch.ones(1, dtype=torch.float32, device=device), None, *output
    )


def _check(
    a: Tensor,
    a_scale: float,
    a_zero_point: int,
    b: Tensor,
    b_scale: float,
    b_zero_point: int,
    *output: Any,
) -> tuple[tuple[int, ...], Requantization]:
    """Raise unless everything fits; returns the output's shape, and how it comes of the sums."""
    shape = _check_operands((a, a_scale, a_zero_point), (b, b_scale, b_zero_point))
    finish = _finish(a_scale, b_scale, a.device, *output)
    finish.check(shape)
    return shape, finish


def _check_operands(a: tuple[Tensor, float, int], b: tuple[Tensor, float, int]) -> tuple[int, ...]:
    """Raise unless two tensors and their parameters fit; returns the product's shape."""
    check_input(*a, "a")
    check_input(*b, "b")
    if a[0].device != b[0].device:
        raise ValueError(f"expected b on {a[0].device}, as a, got {b[0].device}")
    return matmul_shape(a[0], b[0])


def matmul_shape(a: Tensor, b: Tensor) -> tuple[int, ...]:
    """The output's shape; raises ``ValueError`` if there is none."""
    fitting = a.dim() and b.dim() and a.shape[-1] == b.shape[max(-2, -b.dim())]
    try:
        batch = _batch(a, b) if fitting else ()
    except RuntimeError:
        fitting = False
    if not fitting:
        raise ValueError(
            "expected matrices (..., M, K) and (..., K, N), whose leading dimensions can be "
            f"broadcast, got {tuple(a.shape)} and {tuple(b.shape)}"
        )
    return (*batch, *a.shape[-2:-1], *(b.shape[-1:] if b.dim() > 1 else ()))


def matmul_cpu(*arguments: Any) -> Tensor:
    shape, finish = _check(*arguments)
    a, _, a_zero_point, b, _, b_zero_point = arguments[:6]
    output: Tensor = a.new_empty(shape, dtype=finish.dtype)
    call = _sums_call(a, a_zero_point, b, b_zero_point)
    finish.configure(call)
    _multiply(call, a, b, output)
    return output


def _sums_call(a: Tensor, a_zero_point: int, b: Tensor, b_zero_point: int) -> _kernels.Product:
    """A kernel call, so far for the exact sums as int32."""
    zero_point = unsigned(b_zero_point, b.dtype) - 128  # the kernel reads b as int8
    columns = b.shape[-1] if b.dim() > 1 else 1
    zero_points = torch.full((columns,), zero_point, device="cpu") if zero_point else None
    return _kernels.Product(unsigned(a_zero_point, a.dtype), zero_points)


def _multiply(call: _kernels.Product, a: Tensor, b: Tensor, output: Tensor) -> None:
    if output.numel() == 0:
        return
    # Vectors become matrices; a single b is for all rows of a.
    a = a.unsqueeze(0) if a.dim() == 1 else a
    b = b.unsqueeze(1) if b.dim() == 1 else b
    if b.dim() > 2 and a.shape[:-2] != b.shape[:-2]:
        batch = _batch(a, b)
        a, b = a.expand(*batch, *a.shape[-2:]), b.expand(*batch, *b.shape[-2:])
    call.matmul(num_threads(), output, a, b)


def _batch(a: Tensor, b: Tensor) -> tuple[int, ...]:
    """The leading dimensions of both, broadcast."""
    shape: tuple[int, ...] = a.shape[:-2]
    if shape == b.shape[:-2]:  # torch's function takes as long as a small product
        return shape
    shape = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])  # type: ignore[no-untyped-call]  # torch's
    return shape


def matmul_fake(a: Tensor, *others: Any) -> Tensor:
    shape, finish = _check(a, *others)
    return a.new_empty(shape, dtype=finish.dtype)


matmul = operator(
    "matmul(Tensor a, float a_scale, int a_zero_point, Tensor b, float b_scale, int b_zero_point, "
    "float output_scale, int output_zero_point, int quant_min, int quant_max, ScalarType dtype, "
    "float? activation_min=None, float? activation_max=None) -> Tensor",
    cpu=matmul_cpu,
    reference=matmul_reference,
    fake=matmul_fake,
)


# ---- the sums themselves, without scales


def matmul_int32_reference(a: Tensor, a_zero_point: int, b: Tensor, b_zero_point: int) -> Tensor:
    """The exact integer sums of :func:`matmul`, modulo 2**32.

    Args:
        a, a_zero_point, b, b_zero_point: as there.

    Returns:
        int32, of the shape that :func:`matmul` gives: sums of ``(a - a_zero_point) * (b -
        b_zero_point)``.

    Raises:
        TypeError, ValueError: as :func:`matmul`.

    Example:
        >>> import torch
        >>> a = torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8)
        >>> torch.ops.qtensor.matmul_int32(a, 0, a, 1)
        tensor([[ 4,  7],
                [ 8, 15]], dtype=torch.int32)
    """
    sums = torch.matmul(a.double() - a_zero_point, b.double() - b_zero_point)
    return sums.long().int()


def matmul_int32_cpu(a: Tensor, a_zero_point: int, b: Tensor, b_zero_point: int) -> Tensor:
    shape = _check_operands((a, 1.0, a_zero_point), (b, 1.0, b_zero_point))
    output = a.new_empty(shape, dtype=torch.int32)
    _multiply(_sums_call(a, a_zero_point, b, b_zero_point), a, b, output)
    return output


def matmul_int32_fake(a: Tensor, a_zero_point: int, b: Tensor, b_zero_point: int) -> Tensor:
    return a.new_empty(
        _check_operands((a, 1.0, a_zero_point), (b, 1.0, b_zero_point)), dtype=torch.int32
    )


matmul_int32 = operator(
    "matmul_int32(Tensor a, int a_zero_point, Tensor b, int b_zero_point) -> Tensor",
    cpu=matmul_int32_cpu,
    reference=matmul_int32_reference,
    fake=matmul_int32_fake,
)
