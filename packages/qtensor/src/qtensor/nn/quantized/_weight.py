"""Modules with an int8 weight: how they hold it, save it and load it."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from ..._arguments import weight_arguments
from ..._direct import direct
from ..._dtypes import qint8
from ..._ops._checks import check_scales
from ..._packing import PackedWeights
from ..._qparams import QParams
from ..._qtensor import QTensor
from ._output import State


class KeepsDtypes(nn.Module):
    """A module that is moved, but not cast: ``model.half()`` must not round its scales."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def moved(tensor: Tensor) -> Tensor:
            result = fn(tensor)
            return result if result.dtype == tensor.dtype else tensor.to(result.device)

        super()._apply(moved, recurse)  # type: ignore[no-untyped-call]  # torch's
        return self


class WeightModule(KeepsDtypes):
    """A module with an int8 weight, quantized per tensor or per output channel, and a float bias.

    ``weight()`` and ``bias()`` are methods, as they have always been on quantized modules. The
    buffers behind them, which are also the names in a state dict, are ordinary tensors:

    - ``qweight``: int8, ``(out, …)``; of a transposed convolution ``(in, out / groups, …)``
    - ``weight_scales``: float32, one for each index of the axis with ``out``, or ``(1,)``
    - ``weight_zero_points``: int64, one for each index, or ``None`` where all are zero
    - ``float_bias``: float32, ``(out,)``, or ``None``

    What kernels use of them is a cache: never saved or copied, and made anew when a buffer is
    replaced or written to. A write through ``.data`` or NumPy cannot be seen: call
    :func:`qtensor.repack` after one.
    """

    qweight: Tensor
    weight_scales: Tensor
    weight_zero_points: Tensor | None
    float_bias: Tensor | None

    _channel_axis: ClassVar[int] = 0  # of the weight: the axis of output channels

    def _init_weight(
        self, shape: Sequence[int], bias: bool, device: Any = None, out: int | None = None
    ) -> None:
        """Zeros, until there is a weight.

        Args:
            shape: of the weight.
            bias: whether there is one.
            device: of both.
            out: how many output channels there are, where groups share the weight's channel axis.
        """
        floats: Any = {"dtype": torch.float32, "device": device}  # whatever torch's default is
        channels = shape[self._channel_axis]
        self._out = out = channels if out is None else out
        self.register_buffer("qweight", torch.zeros(*shape, dtype=torch.int8, device=device))
        self.register_buffer("weight_scales", torch.ones(channels, **floats))
        self.register_buffer("weight_zero_points", None)
        self.register_buffer("float_bias", torch.zeros(out, **floats) if bias else None)
        self._packed = PackedWeights()
        self._keep_versions()

    def _keep_versions(self) -> None:
        """Puts copies that count changes in the place of inference tensors, which do not.

        The packed form of a weight that does not count them would have to be compared with it in
        every call.
        """
        for name, tensor in self._buffers.items():
            if tensor is not None and tensor.is_inference():
                with torch.inference_mode(False):
                    self._buffers[name] = tensor.clone()

    def _weight_arguments(self) -> tuple[Any, ...]:
        """What kernels take; looking buffers up as attributes would cost a microsecond each."""
        buffers = self._buffers
        try:
            return (
                buffers["qweight"],
                buffers["weight_scales"],
                buffers["weight_zero_points"],
                buffers["float_bias"],
            )
        except KeyError:  # parametrized, and computed when asked for
            return self.qweight, self.weight_scales, self.weight_zero_points, self.float_bias

    def weight(self) -> QTensor:
        """The weight as a quantized tensor, sharing memory with this module."""
        scales, zeros = self.weight_scales, self.weight_zero_points
        if zeros is None:
            zeros = torch.zeros_like(scales, dtype=torch.int64)
        if len(scales) == 1:
            return QTensor(self.qweight, QParams(scales, zeros[:1], qint8))
        return QTensor(self.qweight, QParams(scales, zeros, qint8, axis=self._channel_axis))

    def bias(self) -> Tensor | None:
        """The bias: float32, shape ``(out,)``, or ``None``."""
        return self.float_bias

    def set_weight_bias(self, w: QTensor, b: Tensor | None) -> None:
        """Replaces weight and bias.

        Args:
            w: qint8, the shape of this module's weight; per tensor, or per channel along
                its axis of output channels (0, of transposed convolutions 1).
            b: float, shape ``(out,)``, or ``None``.

        Raises:
            TypeError: ``w`` is not quantized so.
            ValueError: a shape is not this module's.
        """
        integers, scales, zero_points = weight_arguments(w, type(self).__name__, self._channel_axis)
        if w.qdtype is not qint8:
            raise TypeError(f"{type(self).__name__} expects a weight of {qint8}, got {w.qdtype}")
        out = (self._out,)
        for name, given, expected in (
            ("weight", w.shape, self.qweight.shape),
            ("bias", out if b is None else b.shape, out),
        ):
            if given != expected:
                raise ValueError(
                    f"{type(self).__name__} expects a {name} of shape {tuple(expected)}, "
                    f"got {tuple(given)}"
                )
        self.qweight, self.weight_scales = integers.detach(), scales.detach().clone()
        self.weight_zero_points = None if zero_points is None else zero_points.detach().clone()
        self.float_bias = None if b is None else b.detach().to(torch.float32)
        self._keep_versions()

    def _load_from_state_dict(self, state_dict: State, prefix: str, *rest: Any) -> None:
        # How the weight is quantized is a property of what is loaded, not of this module.
        if prefix + "qweight" in state_dict:
            self.weight_zero_points = None
        for name in ("weight_scales", "weight_zero_points"):
            loaded = state_dict.get(prefix + name)
            channels = (self.qweight.shape[self._channel_axis],)
            if loaded is not None and loaded.shape in ((1,), channels):
                setattr(self, name, torch.empty_like(loaded, device=self.qweight.device))
        report_scales(state_dict, prefix, *rest)
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._keep_versions()

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._keep_versions()
        return self


def report_scales(state_dict: State, prefix: str, *rest: Any) -> None:
    """Adds an error to those of loading (the last argument) if a weight's scales are unsound."""
    scales = state_dict.get(prefix + "weight_scales")
    if scales is not None and direct(scales):
        try:
            check_scales(scales, f"{prefix}weight_scales")
        except ValueError as error:
            rest[-1].append(str(error))


def repack(module: nn.Module) -> nn.Module:
    """Forgets every packed weight in ``module``, so that kernels pack anew on their next call.

    Needed only after writing to a weight, its scales or a bias through ``.data``, NumPy or a raw
    pointer, which torch does not count as a change.

    Args:
        module: any module; all its submodules are visited.

    Returns:
        ``module``.
    """
    for submodule in module.modules():
        packed = getattr(submodule, "_packed", None)
        if isinstance(packed, PackedWeights):
            packed.clear()
    return module
