"""Modules that stand for functions, so that eager models can hold their observers."""

from collections.abc import Sequence
from typing import Any, NoReturn, Self

import torch
from torch import Tensor, nn

from ... import ops
from ..._qtensor import QTensor
from ._from_float import observed_qparams
from ._output import OutputModule


class FXFloatFunctional(nn.Module):
    """The functions of :class:`FloatFunctional` without an observer; FX graphs have their own."""

    def forward(self, x: Any) -> NoReturn:
        """Not meant to be called: use one of the methods."""
        raise RuntimeError(
            f"{type(self).__name__} is not called itself; call one of its methods, such as add"
        )

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """``x + y``."""
        return self._observed(torch.add(x, y))

    def add_scalar(self, x: Tensor, y: float) -> Tensor:
        """``x + y`` for a number; not observed, since quantizing it needs no new scale."""
        return torch.add(x, y)

    def mul(self, x: Tensor, y: Tensor) -> Tensor:
        """``x * y``."""
        return self._observed(torch.mul(x, y))

    def mul_scalar(self, x: Tensor, y: float) -> Tensor:
        """``x * y`` for a number; not observed, since quantizing it needs no new scale."""
        return torch.mul(x, y)

    def cat(self, x: list[Tensor], dim: int = 0) -> Tensor:
        """The tensors joined along ``dim``."""
        return self._observed(torch.cat(x, dim))

    def add_relu(self, x: Tensor, y: Tensor) -> Tensor:
        """``relu(x + y)``."""
        return self._observed(torch.relu(torch.add(x, y)))

    def matmul(self, x: Tensor, y: Tensor) -> Tensor:
        """``x @ y``."""
        return self._observed(torch.matmul(x, y))

    def _observed(self, x: Tensor) -> Tensor:
        return x


class FloatFunctional(FXFloatFunctional):
    """Use its methods instead of ``torch.add`` and the like in a model to be quantized.

    An observer can then be attached to each use, and the module be swapped for
    :class:`QFunctional`.

    Example:
        >>> import torch, qtensor
        >>> plus = qtensor.nn.quantized.FloatFunctional()
        >>> plus.add(torch.tensor(3.0), torch.tensor(4.0))
        tensor(7.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.activation_post_process: nn.Module = nn.Identity()

    def _observed(self, x: Tensor) -> Tensor:
        observed: Tensor = self.activation_post_process(x)
        return observed


class QFunctional(OutputModule):
    """The functions of :class:`FloatFunctional` on quantized tensors.

    Results have the parameters ``scale`` and ``zero_point`` and the dtype of the input (or all of
    ``output_qparams``, if these are set), but for those of the ``_scalar`` functions, which follow
    from their input's.

    Raises:
        TypeError: (each function) an input is not quantized per tensor, or its dtype is not that
            of the output.
        ValueError: (each function) shapes do not fit.

    Example:
        >>> import torch, qtensor
        >>> plus = qtensor.nn.quantized.QFunctional()
        >>> plus.scale = 0.5
        >>> q = qtensor.quantize_per_tensor(torch.ones(2), 0.1, 0, qtensor.quint8)
        >>> plus.add(q, q).dequantize()
        tensor([2., 2.])
    """

    def __init__(self) -> None:
        super().__init__()
        self._set_numbers(1.0, 0)
        self.activation_post_process: nn.Module = nn.Identity()

    def forward(self, x: Any) -> NoReturn:
        """Not meant to be called: use one of the methods."""
        raise RuntimeError("QFunctional is not called itself; call one of its methods, such as add")

    def add(self, x: QTensor, y: QTensor) -> QTensor:
        """``x + y``."""
        return self._processed(ops.add_to(x, y, self._output_for(x)))

    def add_relu(self, x: QTensor, y: QTensor) -> QTensor:
        """``relu(x + y)``."""
        return self._processed(ops.add_to(x, y, self._output_for(x), 0.0))

    def add_scalar(self, x: QTensor, y: float) -> QTensor:
        """``x + y`` for a number."""
        return ops.add_scalar(x, y)

    def mul(self, x: QTensor, y: QTensor) -> QTensor:
        """``x * y``."""
        return self._processed(ops.mul_to(x, y, self._output_for(x)))

    def mul_scalar(self, x: QTensor, y: float) -> QTensor:
        """``x * y`` for a number."""
        return ops.mul_scalar(x, y)

    def cat(self, x: Sequence[QTensor], dim: int = 0) -> QTensor:
        """The tensors joined along ``dim``."""
        return self._processed(ops.cat_to(x, dim, self._output_for(next(iter(x), None))))

    def matmul(self, x: QTensor, y: QTensor) -> QTensor:
        """``x @ y``."""
        return self._processed(ops.matmul_to(x, y, self._output_for(x)))

    def _processed(self, x: QTensor) -> QTensor:
        process: Any = self._modules["activation_post_process"]
        if type(process) is nn.Identity and not process._forward_hooks:
            return x  # calling it would take as long as adding a few numbers
        processed: QTensor = process(x)
        return processed

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """From a calibrated :class:`FloatFunctional`."""
        made = cls()
        made.output_qparams = observed_qparams(mod)
        return made
