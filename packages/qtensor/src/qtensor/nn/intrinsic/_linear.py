"""Float linear layers with what follows them, kept together until they are quantized."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ._fused import _FusedModule


class LinearReLU(_FusedModule):
    """A linear layer and a ReLU."""

    _kinds = (nn.Linear, nn.ReLU)

    def __init__(self, linear: nn.Module, relu: nn.Module) -> None:
        super().__init__(linear, relu)


class LinearHardtanh(_FusedModule):
    """A linear layer and a Hardtanh, of which ReLU6 is one."""

    _kinds = (nn.Linear, nn.Hardtanh)

    def __init__(self, linear: nn.Module, hardtanh: nn.Module) -> None:
        super().__init__(linear, hardtanh)


class LinearLeakyReLU(_FusedModule):
    """A linear layer and a LeakyReLU."""

    _kinds = (nn.Linear, nn.LeakyReLU)

    def __init__(self, linear: nn.Module, leaky_relu: nn.Module) -> None:
        super().__init__(linear, leaky_relu)


class LinearTanh(_FusedModule):
    """A linear layer and a Tanh."""

    _kinds = (nn.Linear, nn.Tanh)

    def __init__(self, linear: nn.Module, tanh: nn.Module) -> None:
        super().__init__(linear, tanh)


class LinearGELU(_FusedModule):
    """A linear layer and a GELU."""

    _kinds = (nn.Linear, nn.GELU)

    def __init__(self, linear: nn.Module, gelu: nn.Module) -> None:
        super().__init__(linear, gelu)


class LinearBn1d(_FusedModule):
    """A linear layer and a batch norm, for quantization-aware training."""

    _kinds = (nn.Linear, nn.BatchNorm1d)

    def __init__(self, linear: nn.Module, bn: nn.Module) -> None:
        super().__init__(linear, bn)


class LinearAdd(_FusedModule):
    """A linear layer whose result is added to a second input.

    Args:
        linear: the linear layer.
        add: a function or module of two tensors.
    """

    _kinds = (nn.Linear,)

    def __init__(self, linear: nn.Module, add: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__(linear)
        self.add = add

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:  # type: ignore[override]  # two inputs
        """``linear(x1) + x2``."""
        result: Any = self.add(self[0](x1), x2)
        return result  # type: ignore[no-any-return]


class LinearAddReLU(_FusedModule):
    """A linear layer whose result is added to a second input, and a ReLU.

    Args:
        linear: the linear layer.
        add: a function or module of two tensors.
        relu: a function or module of one.
    """

    _kinds = (nn.Linear,)

    def __init__(
        self,
        linear: nn.Module,
        add: Callable[[Tensor, Tensor], Tensor],
        relu: Callable[[Tensor], Tensor],
    ) -> None:
        super().__init__(linear)
        self.add = add
        self.relu = relu

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:  # type: ignore[override]  # two inputs
        """``relu(linear(x1) + x2)``."""
        result: Any = self.relu(self.add(self[0](x1), x2))
        return result  # type: ignore[no-any-return]
