"""Quantized batch norms, which use their running statistics only."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ..._arguments import quantized, requantization
from ..._ops import batch_norm
from ..._packing import PackedWeights
from ..._qparams import QParams
from ..._qtensor import QTensor, wrapped
from ._from_float import observed_qparams, unfused
from ._output import OutputModule
from ._weight import KeepsDtypes


class _BatchNorm(OutputModule, KeepsDtypes):
    """What batch norms on integers share."""

    _name: ClassVar[str]
    _operator: ClassVar[Callable[..., Tensor]]
    activation_min: ClassVar[float | None] = None
    weight: nn.Parameter
    bias: nn.Parameter
    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self._set_numbers(1.0, 0)
        floats: Any = {"dtype": torch.float32, "device": device}  # whatever torch's default is
        for name, value in (("weight", 1.0), ("bias", 0.0)):
            values = torch.full((num_features,), value, **floats)
            self.register_parameter(name, nn.Parameter(values, requires_grad=False))
        self.register_buffer("running_mean", torch.zeros(num_features, **floats))
        self.register_buffer("running_var", torch.ones(num_features, **floats))
        self.register_buffer("num_batches_tracked", torch.tensor(0, device=device))
        self._packed = PackedWeights()

    def forward(self, input: QTensor) -> QTensor:
        """Any shape that the class takes, to the same."""
        x, output = quantized(input, self._name), self._output_for(input)
        result = type(self)._operator(
            x._data,
            x._scale,
            x._zero_point,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            self.eps,
            *requantization(output),
            self.activation_min,
            cache=self._packed,
        )
        return wrapped(result, output)

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """From a calibrated float batch norm, or a container that begins with one."""
        return cls._made(mod, observed_qparams(mod))

    @classmethod
    def from_reference(
        cls,
        bn: nn.Module,
        output_scale: float = 1.0,
        output_zero_point: int = 0,
        *,
        output_qparams: QParams | None = None,
    ) -> Self:
        """From a float batch norm, or a container that begins with one, and its output's
        parameters: scale and zero point in the input's dtype, or all of them."""
        return cls._made(bn, output_qparams, output_scale, output_zero_point)

    @classmethod
    def _made(cls, mod: nn.Module, *output: Any) -> Self:
        source = unfused(mod)
        made = cls(source.num_features, source.eps, source.momentum)
        if source.affine:
            made.weight = nn.Parameter(source.weight.detach().float(), requires_grad=False)
            made.bias = nn.Parameter(source.bias.detach().float(), requires_grad=False)
        made.running_mean = source.running_mean.detach().float()
        made.running_var = source.running_var.detach().float()
        made._set_output(*output)
        return made.train(mod.training)

    def _get_name(self) -> str:
        return self._name

    def extra_repr(self) -> str:
        """The number of channels, eps and output parameters."""
        return f"{self.num_features}, eps={self.eps}, {super().extra_repr()}"


class BatchNorm2d(_BatchNorm):
    """:class:`torch.nn.BatchNorm2d` on integers, by running statistics.

    Args:
        num_features: the number of channels.
        eps: added to the running variance.
        momentum: ignored; the statistics stay.
        device: of the parameters.
        dtype: ignored; the parameters are float32.

    Shape:
        Input and output ``(N, num_features, H, W)``, quantized per tensor, of one dtype (unless
        ``output_qparams`` say otherwise).

    Raises:
        TypeError: (forward) the input is not quantized per tensor, or not of four dimensions.
        ValueError: (forward) the input has another number of channels.

    Example:
        >>> import torch, qtensor
        >>> layer = qtensor.nn.quantized.BatchNorm2d(3)
        >>> layer(qtensor.quantize_per_tensor(torch.ones(1, 3, 2, 2), 0.1, 0, qtensor.quint8)).shape
        torch.Size([1, 3, 2, 2])
    """

    _name, _operator = "QuantizedBatchNorm2d", batch_norm.batch_norm2d


class BatchNorm3d(_BatchNorm):
    """:class:`torch.nn.BatchNorm3d` on integers, by running statistics; see :class:`BatchNorm2d`.

    Shape:
        Input and output ``(N, num_features, D, H, W)``, quantized per tensor.
    """

    _name, _operator = "QuantizedBatchNorm3d", batch_norm.batch_norm3d
