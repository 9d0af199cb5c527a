"""Marks in an eager model where quantization begins and ends."""

from torch import Tensor, nn

from ._qconfig import QConfigAny


class _Stub(nn.Module):
    """Passes its input on.

    Args:
        qconfig: its QConfig; without one, that of the module around it applies.
    """

    def __init__(self, qconfig: QConfigAny = None) -> None:
        super().__init__()
        if qconfig is not None:
            self.qconfig = qconfig

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x``, of any shape."""
        return x


class QuantStub(_Stub):
    """Where a float tensor becomes a quantized one: observed by ``prepare``, then replaced.

    Args:
        qconfig: its QConfig; without one, that of the module around it applies.
    """


class DeQuantStub(_Stub):
    """Where a quantized tensor becomes a float one: replaced by ``convert``.

    Args:
        qconfig: its QConfig; without one, that of the module around it applies.
    """


class QuantWrapper(nn.Module):
    """A module between a :class:`QuantStub` and a :class:`DeQuantStub`.

    Args:
        module: takes one tensor and returns one. Its ``qconfig``, if it has one, is the stubs' too.

    Example:
        >>> import torch
        >>> from qobserve import QuantWrapper
        >>> QuantWrapper(torch.nn.ReLU())(torch.tensor([-1.0, 1.0]))
        tensor([0., 1.])
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        qconfig = getattr(module, "qconfig", None)
        self.quant = QuantStub(qconfig)
        self.dequant = DeQuantStub(qconfig)
        self.module = module
        self.train(module.training)

    def forward(self, x: Tensor) -> Tensor:
        """Quantize ``x``, apply the module, dequantize."""
        y: Tensor = self.dequant(self.module(self.quant(x)))
        return y


def add_quant_dequant(module: nn.Module) -> nn.Module:
    """Put every module that has a qconfig and no children into a :class:`QuantWrapper`.

    Args:
        module: a model with qconfigs; its submodules are replaced in place.

    Returns:
        ``module``, or the wrapper around it if it has no children itself.
    """
    return _wrapped(module, {})


def _wrapped(module: nn.Module, done: dict[nn.Module, nn.Module]) -> nn.Module:
    """``done``: what has been wrapped already, for modules that are used in several places."""
    if module not in done:
        children = [(name, child) for name, child in module._modules.items() if child is not None]
        wrap = not children and getattr(module, "qconfig", None) is not None
        done[module] = QuantWrapper(module) if wrap else module
        for name, child in children:
            setattr(module, name, _wrapped(child, done))
    return done[module]
