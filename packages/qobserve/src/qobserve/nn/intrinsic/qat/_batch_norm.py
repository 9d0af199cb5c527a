"""Training with a batch norm that will be folded into the weight.

What is quantized in the end is the folded weight, ``w · γ / σ`` with the running ``σ``; so that is
what training has to round. The batch norm itself still needs the layer's own output, with the
statistics of the batch. So the rounded folded weight is used, the output divided by ``γ / σ``
again, and the batch norm applied to that: in evaluation this is exactly the folded layer, and in
training the weight does not jitter with the statistics of the batch, whose correction is in the
output (Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference: A
whitepaper", 2018, section 3.2.2).
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ...qat._base import QATModule

# Names in the first version of saved models, when there was no module ``bn``.
_FIRST_NAMES = {
    "bn.weight": "gamma",
    "bn.bias": "beta",
    "bn.running_mean": "running_mean",
    "bn.running_var": "running_var",
    "bn.num_batches_tracked": "num_batches_tracked",
}


class WithBatchNorm(QATModule):
    """A layer and a batch norm after it, of which the folded weight is fake-quantized.

    A subclass also derives from the float layer, calls :meth:`_add_batch_norm` at the end of its
    constructor, and defines :meth:`_product`.

    Attributes:
        bn: the batch norm.
        freeze_bn: whether the batch norm keeps to its running statistics.
    """

    _version = 2

    _BATCH_NORM: ClassVar[type[nn.modules.batchnorm._BatchNorm]]
    _fold: ClassVar[Callable[..., tuple[nn.Parameter, nn.Parameter]]]

    bn: nn.modules.batchnorm._BatchNorm
    weight: Tensor

    def _add_batch_norm(
        self, eps: float, momentum: float | None, freeze_bn: bool, qconfig: Any
    ) -> None:
        self._fake_quantize_weight(qconfig)
        self.bn = self._BATCH_NORM(self.weight.shape[0], eps, momentum)
        self.freeze_bn = freeze_bn
        self.train(self.training)

    @abstractmethod
    def _product(self, x: Tensor, weight: Tensor) -> Tensor:
        """The layer's output with this weight, without a bias."""

    def forward(self, x: Tensor) -> Tensor:
        """What the layer and the batch norm give for ``x``, of the layer's output shape."""
        deviation = torch.sqrt(_known(self.bn.running_var) + self.bn.eps)
        # A channel with a γ of 0, as residual blocks begin with, needs its own output all the same,
        # for the gradient of γ; then its weight is rounded as if γ were 1.
        gamma = torch.where(self.bn.weight == 0, 1.0, self.bn.weight)
        factor = gamma / deviation
        by_output = (-1, *(1,) * (self.weight.ndim - 1))
        weight = self.weight_fake_quant(self.weight * factor.reshape(by_output))
        channels = (1, *by_output[: self.weight.ndim - 1])
        product = self._product(x, weight) / factor.reshape(channels)
        bias: Any = self.bias
        if bias is not None:
            product = product + bias.reshape(channels)
        normalized: Tensor = self.bn(product)
        return normalized

    def reset_running_stats(self) -> None:
        """Forget the batch norm's statistics."""
        self.bn.reset_running_stats()

    def reset_bn_parameters(self) -> None:
        """Give the batch norm the statistics and parameters that it began with."""
        self.bn.reset_parameters()

    def update_bn_stats(self) -> Self:
        """Normalize by the statistics of the batch in training, and update the running ones."""
        self.freeze_bn = False
        self.bn.train(self.training)
        return self

    def freeze_bn_stats(self) -> Self:
        """Normalize by the running statistics, in training too, and leave them as they are."""
        self.freeze_bn = True
        self.bn.eval()
        return self

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a frozen batch norm stays in eval mode."""
        super().train(mode)
        if self.freeze_bn:
            self.bn.eval()
        return self

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """Make one from a float container; it shares parameters and statistics.

        A batch norm that is in eval mode within a container in training mode is frozen.

        Raises:
            TypeError: another kind of module.
            ValueError: no ``qconfig``, or a batch norm without parameters or statistics.
        """
        made = super().from_float(mod, use_precomputed_fake_quant)
        container: Any = mod  # or from_float had raised
        bn = container[1]
        if bn.weight is None or bn.running_var is None:
            raise ValueError(
                f"{cls.__name__}.from_float expects a batch norm with affine=True and "
                f"track_running_stats=True, got {bn}"
            )
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(made.bn, name, getattr(bn, name))
        if mod.training and not bn.training:
            made.freeze_bn_stats()
        return made

    @classmethod
    def _further_arguments(cls, mod: Any) -> dict[str, Any]:
        return {"qconfig": mod.qconfig, "eps": mod[1].eps, "momentum": mod[1].momentum}

    def to_float(self) -> nn.Module:
        """The float layer with the batch norm folded in."""
        layer: Any = super().to_float()
        bn = self.bn
        weight, bias = type(self)._fold(
            layer.weight,
            layer.bias,
            _known(bn.running_mean),
            _known(bn.running_var),
            bn.eps,
            bn.weight.detach(),
            bn.bias.detach(),
        )
        layer.weight, layer.bias = weight, bias
        return layer  # type: ignore[no-any-return]  # a module

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, *args: Any
    ) -> None:
        if local_metadata.get("version", 1) < 2:
            for name, first in _FIRST_NAMES.items():
                if prefix + first in state_dict:
                    state_dict[prefix + name] = state_dict.pop(prefix + first)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


def _known(statistic: Tensor | None) -> Tensor:
    if statistic is None:
        raise ValueError("expected a batch norm that tracks its running statistics, got none")
    return statistic


def freeze_bn_stats(mod: nn.Module) -> None:
    """Freeze ``mod``'s batch norm, if it is fused with one: ``model.apply(freeze_bn_stats)``."""
    if isinstance(mod, WithBatchNorm):
        mod.freeze_bn_stats()


def update_bn_stats(mod: nn.Module) -> None:
    """Let ``mod``'s batch norm update its statistics again, if it is fused with one."""
    if isinstance(mod, WithBatchNorm):
        mod.update_bn_stats()
