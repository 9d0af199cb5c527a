"""Learned step size quantization: scale and zero point are trained with the model."""

from typing import Any, Self

import torch
from torch import Tensor, nn

import qtensor
from qtensor import as_qscheme, per_channel_affine_float_qparams

from ._fake_quantize import FakeQuantizeBase

_EPS = torch.finfo(torch.float32).eps


class _LearnableFakeQuantize(FakeQuantizeBase):
    """Fake-quantizes with a scale and a zero point that are parameters of the model.

    At first an observer estimates them; :meth:`enable_param_learning` then hands them to the
    optimizer. (Esser et al., "Learned Step Size Quantization", 2020; Bhalgat et al., "LSQ+:
    Improving low-bit quantization through learnable offsets and better initialization", 2020.)

    Args:
        observer: makes the observer: a class, or what its ``with_args`` returns.
        quant_min, quant_max: the integers to use, given to the observer too.
        scale, zero_point: what to begin with.
        channel_len: how many channels there are; -1 (default) for parameters per tensor.
        use_grad_scaling: multiply the gradients of scale and zero point by ``1 / sqrt(numel *
            quant_max)``, as the paper does, so that they learn no faster than weights.
        observer_kwargs: further arguments for the observer.

    Attributes:
        scale, zero_point: float32 parameters of shape ``(1,)`` or ``(channel_len,)``. They require
            gradients only while they learn: make the optimizer, and wrap the model for distributed
            training, after :meth:`enable_param_learning`.
        fake_quant_enabled, static_enabled, learning_enabled: whether to round, to follow the
            observer, and to learn; buffers of one integer.

    Raises:
        ValueError: an empty range, one that does not fit the dtype, a ``channel_len`` that does not
            fit the scheme, or real zero points.

    Example:
        >>> import torch
        >>> from qobserve import MinMaxObserver
        >>> from qobserve import _LearnableFakeQuantize as LearnableFakeQuantize
        >>> fake_quantize = LearnableFakeQuantize(MinMaxObserver, quant_min=0, quant_max=3)
        >>> x = torch.tensor([0.0, 0.4, 3.0])
        >>> fake_quantize(x)
        tensor([0., 0., 3.])
        >>> fake_quantize.enable_param_learning()(x).sum().backward()
        >>> fake_quantize.scale.grad
        tensor([-0.4000])
    """

    static_enabled: Tensor
    learning_enabled: Tensor
    eps: Tensor

    def __init__(
        self,
        observer: Any,
        quant_min: int = 0,
        quant_max: int = 255,
        scale: float = 1.0,
        zero_point: float = 0.0,
        channel_len: int = -1,
        use_grad_scaling: bool = False,
        **observer_kwargs: Any,
    ) -> None:
        super().__init__()
        self.quant_min, self.quant_max = quant_min, quant_max
        self.use_grad_scaling = use_grad_scaling
        self.activation_post_process: Any = observer(
            **observer_kwargs, quant_min=quant_min, quant_max=quant_max
        )
        self.dtype = self.activation_post_process.dtype
        self.qscheme = as_qscheme(self.activation_post_process.qscheme)
        self.ch_axis: int = getattr(self.activation_post_process, "ch_axis", -1)
        if self.qscheme == per_channel_affine_float_qparams:
            raise ValueError(f"zero points of {self.qscheme} are not learnt; use FakeQuantize")
        if (channel_len > 0) != self.qscheme.per_channel or channel_len == 0 or channel_len < -1:
            expected = "the number of channels" if self.qscheme.per_channel else "-1"
            raise ValueError(
                f"expected channel_len to be {expected} for {self.qscheme}, got {channel_len}"
            )
        size = abs(channel_len)
        self.scale = nn.Parameter(torch.full((size,), float(scale)))
        self.zero_point = nn.Parameter(torch.full((size,), float(zero_point)))
        self.register_buffer("static_enabled", torch.tensor([1], dtype=torch.uint8))
        self.register_buffer("learning_enabled", torch.tensor([0], dtype=torch.uint8))
        self.register_buffer("eps", torch.tensor([_EPS]))
        self.toggle_qparam_learning(False)

    @property
    def has_seen_data(self) -> bool:
        """Whether the parameters rest on data: learnt, or from an observer that has seen some."""
        learnt = not self.static_enabled.item()
        return learnt or bool(getattr(self.activation_post_process, "has_seen_data", True))

    def enable_param_learning(self) -> Self:
        """Round, and learn scale and zero point; no longer follow the observer."""
        return self.toggle_qparam_learning().toggle_fake_quant().toggle_observer_update(False)

    def enable_static_estimate(self) -> Self:
        """Round with the observer's parameters."""
        return self.toggle_qparam_learning(False).toggle_fake_quant().toggle_observer_update()

    def enable_static_observation(self) -> Self:
        """Only observe: values are passed on as they are."""
        return self.toggle_qparam_learning(False).toggle_fake_quant(False).toggle_observer_update()

    def toggle_observer_update(self, enabled: bool = True) -> Self:
        """Whether to observe, and to take the parameters from the observer."""
        self.static_enabled.fill_(int(enabled))
        return self

    def enable_observer(self, enabled: bool = True) -> None:
        """As :meth:`toggle_observer_update`."""
        self.toggle_observer_update(enabled)

    def toggle_qparam_learning(self, enabled: bool = True) -> Self:
        """Whether scale and zero point require gradients; a symmetric scheme's zero point never."""
        self.learning_enabled.fill_(int(enabled))
        self.scale.requires_grad_(enabled)
        self.zero_point.requires_grad_(enabled and not self.qscheme.symmetric)
        return self

    def toggle_fake_quant(self, enabled: bool = True) -> Self:
        """Whether to round."""
        self.fake_quant_enabled.fill_(int(enabled))
        return self

    def observe_quant_params(self) -> None:
        """Print scale and zero point."""
        print(f"{type(self).__name__} scale: {self.scale.detach()}")
        print(f"{type(self).__name__} zero point: {self.zero_point.detach()}")

    @torch.no_grad()
    def calculate_qparams(self) -> tuple[Tensor, Tensor]:
        """Scale (float32) and zero point (int64), of shape ``(1,)`` or ``(channel_len,)``."""
        self.scale.clamp_(min=self.eps.item())
        zero_point = self.zero_point.round().clamp(self.quant_min, self.quant_max)
        return self.scale.detach().clone(), zero_point.to(torch.int64)

    def forward(self, x: Tensor) -> Tensor:
        """Observe ``x``, of any shape, and return it fake-quantized, as far as enabled."""
        self._update(x)
        if not self.fake_quant_enabled.item():
            return x
        bounds = self.quant_min, self.quant_max
        factor = max(x.numel() * self.quant_max, 1) ** -0.5 if self.use_grad_scaling else 1.0
        if self.qscheme.per_channel:
            return qtensor.fake_quantize_learnable_per_channel_affine(
                x, self.scale, self.zero_point, self.ch_axis, *bounds, factor
            )
        return qtensor.fake_quantize_learnable_per_tensor_affine(
            x, self.scale, self.zero_point, *bounds, factor
        )

    @torch.no_grad()
    def _update(self, x: Tensor) -> None:
        """Take the observer's parameters, or keep learnt ones where they are valid."""
        if self.static_enabled.item():
            if self.name:
                self.activation_post_process.name = self.name
            self.activation_post_process(x.detach())
            scale, zero_point = self.activation_post_process.calculate_qparams()
            self.scale.copy_(scale)
            self.zero_point.copy_(zero_point)
        else:
            self.scale.clamp_(min=self.eps.item())
