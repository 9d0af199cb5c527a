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


class ConvReLU2d(_FusedModule):
    """A convolution and a ReLU."""

    _kinds = (nn.Conv2d, nn.ReLU)

    def __init__(self, conv: nn.Module, relu: nn.Module) -> None:
        super().__init__(conv, relu)


class ConvHardtanh2d(_FusedModule):
    """A convolution and a Hardtanh, of which ReLU6 is one."""

    _kinds = (nn.Conv2d, nn.Hardtanh)

    def __init__(self, conv: nn.Module, hardtanh: nn.Module) -> None:
        super().__init__(conv, hardtanh)


class ConvBn2d(_FusedModule):
    """A convolution and a batch norm, for quantization-aware training."""

    _kinds = (nn.Conv2d, nn.BatchNorm2d)

    def __init__(self, conv: nn.Module, bn: nn.Module) -> None:
        super().__init__(conv, bn)


class ConvBnReLU2d(_FusedModule):
    """A convolution, a batch norm and a ReLU, for quantization-aware training."""

    _kinds = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU)

    def __init__(self, conv: nn.Module, bn: nn.Module, relu: nn.Module) -> None:
        super().__init__(conv, bn, relu)


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
