"""Float layers that a backend computes in one step, kept together until they are quantized."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class _FusedModule(nn.Sequential):
    """Runs its parts one after the other; ``_kinds`` says which parts it takes."""

    _kinds: tuple[type[nn.Module], ...]

    def __init__(self, *parts: nn.Module) -> None:
        fitting = len(parts) == len(self._kinds) and all(map(isinstance, parts, self._kinds))
        if not fitting:
            raise TypeError(
                f"{type(self).__name__} expects ({', '.join(k.__name__ for k in self._kinds)}), "
                f"got ({', '.join(type(part).__name__ for part in parts)})"
            )
        super().__init__(*parts)


class _ConvReLU(_FusedModule):
    def __init__(self, conv: nn.Module, relu: nn.Module) -> None:
        super().__init__(conv, relu)


class _ConvHardtanh(_FusedModule):
    def __init__(self, conv: nn.Module, hardtanh: nn.Module) -> None:
        super().__init__(conv, hardtanh)


class _ConvBn(_FusedModule):
    def __init__(self, conv: nn.Module, bn: nn.Module) -> None:
        super().__init__(conv, bn)


class _ConvBnReLU(_FusedModule):
    def __init__(self, conv: nn.Module, bn: nn.Module, relu: nn.Module) -> None:
        super().__init__(conv, bn, relu)


class _BNReLU(_FusedModule):
    def __init__(self, batch_norm: nn.Module, relu: nn.Module) -> None:
        super().__init__(batch_norm, relu)


class ConvReLU1d(_ConvReLU):
    """A one-dimensional convolution and a ReLU."""

    _kinds = (nn.Conv1d, nn.ReLU)


class ConvReLU2d(_ConvReLU):
    """A two-dimensional convolution and a ReLU."""

    _kinds = (nn.Conv2d, nn.ReLU)


class ConvReLU3d(_ConvReLU):
    """A three-dimensional convolution and a ReLU."""

    _kinds = (nn.Conv3d, nn.ReLU)


class ConvHardtanh1d(_ConvHardtanh):
    """A one-dimensional convolution and a Hardtanh, of which ReLU6 is one."""

    _kinds = (nn.Conv1d, nn.Hardtanh)


class ConvHardtanh2d(_ConvHardtanh):
    """A two-dimensional convolution and a Hardtanh, of which ReLU6 is one."""

    _kinds = (nn.Conv2d, nn.Hardtanh)


class ConvHardtanh3d(_ConvHardtanh):
    """A three-dimensional convolution and a Hardtanh, of which ReLU6 is one."""

    _kinds = (nn.Conv3d, nn.Hardtanh)


class ConvBn1d(_ConvBn):
    """A one-dimensional convolution and a batch norm, for quantization-aware training."""

    _kinds = (nn.Conv1d, nn.BatchNorm1d)


class ConvBn2d(_ConvBn):
    """A two-dimensional convolution and a batch norm, for quantization-aware training."""

    _kinds = (nn.Conv2d, nn.BatchNorm2d)


class ConvBn3d(_ConvBn):
    """A three-dimensional convolution and a batch norm, for quantization-aware training."""

    _kinds = (nn.Conv3d, nn.BatchNorm3d)


class ConvBnReLU1d(_ConvBnReLU):
    """A one-dimensional convolution, a batch norm and a ReLU, for training."""

    _kinds = (nn.Conv1d, nn.BatchNorm1d, nn.ReLU)


class ConvBnReLU2d(_ConvBnReLU):
    """A two-dimensional convolution, a batch norm and a ReLU, for training."""

    _kinds = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU)


class ConvBnReLU3d(_ConvBnReLU):
    """A three-dimensional convolution, a batch norm and a ReLU, for training."""

    _kinds = (nn.Conv3d, nn.BatchNorm3d, nn.ReLU)


class BNReLU2d(_BNReLU):
    """A batch norm of images and a ReLU."""

    _kinds = (nn.BatchNorm2d, nn.ReLU)


class BNReLU3d(_BNReLU):
    """A batch norm of volumes and a ReLU."""

    _kinds = (nn.BatchNorm3d, nn.ReLU)


class ConvAdd2d(_FusedModule):
    """A convolution whose result is added to a second input.

    Args:
        conv: the convolution.
        add: a function or module of two tensors.
    """

    _kinds = (nn.Conv2d,)

    def __init__(self, conv: nn.Module, add: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__(conv)
        self.add = add

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:  # type: ignore[override]  # two inputs
        """``conv(x1) + x2``."""
        result: Any = self.add(self[0](x1), x2)
        return result  # type: ignore[no-any-return]


class ConvAddReLU2d(_FusedModule):
    """A convolution whose result is added to a second input, and a ReLU.

    Args:
        conv: the convolution.
        add: a function or module of two tensors.
        relu: a function or module of one.
    """

    _kinds = (nn.Conv2d,)

    def __init__(
        self,
        conv: nn.Module,
        add: Callable[[Tensor, Tensor], Tensor],
        relu: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__(conv)
        self.add = add
        self.relu = relu

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:  # type: ignore[override]  # two inputs
        """``relu(conv(x1) + x2)``."""
        result: Any = self.relu(self.add(self[0](x1), x2))
        return result  # type: ignore[no-any-return]
