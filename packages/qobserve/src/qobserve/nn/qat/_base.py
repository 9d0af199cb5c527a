"""What modules for quantization-aware training have in common."""

from typing import Any, ClassVar, Self

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import (
    is_parametrized,
    transfer_parametrizations_and_params,
    type_before_parametrizations,
)


class QATModule(nn.Module):
    """A float layer whose weight is fake-quantized as it is used.

    A subclass also derives from the float layer itself, calls :meth:`_fake_quantize_weight` at the
    end of its constructor, and uses :meth:`_quantized_weight` in ``forward``.

    Attributes:
        qconfig: the QConfig, whose ``weight()`` made
        weight_fake_quant: the fake-quantize module of the weight.
    """

    _FLOAT_MODULE: ClassVar[type[nn.Module]]
    """What ``from_float`` takes: the float layer, or a fused container that begins with it."""

    _FLOAT_LAYER: ClassVar[type[nn.Module]]
    """The float layer."""

    _HYPERPARAMETERS: ClassVar[tuple[str, ...]]
    """Attributes of the layer that its constructor takes by the same names."""

    qconfig: Any
    weight_fake_quant: nn.Module

    def _fake_quantize_weight(self, qconfig: Any) -> None:
        if not qconfig:
            raise ValueError(f"{type(self).__name__} needs a qconfig, got {qconfig}")
        self.qconfig = qconfig
        self.weight_fake_quant = qconfig.weight()
        weight: Any = self.weight
        self.weight_fake_quant.to(weight.device)

    def _quantized_weight(self) -> Tensor:
        weight: Tensor = self.weight_fake_quant(self.weight)
        return weight

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """Make one from a float module; it shares the parameters.

        Args:
            mod: the float module, with a ``qconfig``.
            use_precomputed_fake_quant: matters for quantized modules only.

        Raises:
            TypeError: another kind of module.
            ValueError: no ``qconfig``, or one that does not suit.
        """
        if type_before_parametrizations(mod) is not cls._FLOAT_MODULE:
            raise TypeError(
                f"{cls.__name__}.from_float expects a {cls._FLOAT_MODULE.__name__}, "
                f"got {type(mod).__name__}"
            )
        if not getattr(mod, "qconfig", None):
            raise ValueError(
                f"{cls.__name__}.from_float expects a {type(mod).__name__} with a qconfig; set "
                "its attribute qconfig"
            )
        layer: Any = mod[0] if isinstance(mod, nn.Sequential) else mod
        made = cls(**_hyperparameters(cls, layer), **cls._further_arguments(mod))
        for name in ("weight", "bias"):
            if is_parametrized(layer, name):
                transfer_parametrizations_and_params(layer, made, name)
            elif hasattr(layer, name):
                setattr(made, name, getattr(layer, name))
        made.weight_fake_quant.to(layer.weight.device)
        return made.train(mod.training)

    @classmethod
    def _further_arguments(cls, mod: Any) -> dict[str, Any]:
        """What else the constructor takes from the float module."""
        return {"qconfig": mod.qconfig}

    def to_float(self) -> nn.Module:
        """The float module that this one stands for, with copies of its parameters."""
        layer: Any = self._FLOAT_LAYER(**_hyperparameters(type(self), self))
        for name in dict(layer.named_parameters()):
            own: Any = getattr(self, name)
            setattr(layer, name, nn.Parameter(own.detach().clone()))
        made: nn.Module = layer.train(self.training)
        return made


def _hyperparameters(kind: type[QATModule], layer: Any) -> dict[str, Any]:
    arguments = {name: getattr(layer, name) for name in kind._HYPERPARAMETERS}
    if hasattr(layer, "bias"):
        arguments["bias"] = layer.bias is not None
    return arguments


class ThenReLU(QATModule):
    """Adds a ReLU to the module for quantization-aware training that follows in the bases."""

    _FLOAT_FUSED: ClassVar[type[nn.Module]]
    """The float container of the layer and a ReLU."""

    def forward(self, x: Tensor) -> Tensor:
        """``relu`` of what the layer gives for ``x``, of the same shape."""
        return F.relu(super().forward(x))

    def to_float(self) -> nn.Module:
        """The layer and a ReLU, in their float container."""
        return self._FLOAT_FUSED(super().to_float(), nn.ReLU()).train(self.training)
