"""What quantized modules share: output parameters, int8 weights, how both are saved and made."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..._arguments import weight_arguments
from ..._direct import direct
from ..._dtypes import QDTYPES, as_qdtype, as_qscheme, qint8
from ..._ops._checks import check_scales
from ..._packing import PackedWeights
from ..._qparams import QParams
from ..._qtensor import QTensor
from ..._quantize import quantize_per_channel, quantize_per_tensor

State = dict[str, Any]


class OutputModule(nn.Module):
    """A module whose output has the parameters ``output_qparams``.

    They are saved as ``scale`` (float64) and ``zero_point`` (of the output's integer dtype), and
    ``quant_min`` and ``quant_max`` where these are not the dtype's own. What is loaded replaces
    them all.
    """

    output_qparams: QParams

    @property
    def scale(self) -> float:
        """The scale of the output."""
        return self.output_qparams.scale  # type: ignore[return-value]  # per tensor: a float

    @scale.setter
    def scale(self, scale: float) -> None:
        self.output_qparams = self.output_qparams.replace(scale=scale)

    @property
    def zero_point(self) -> int:
        """The zero point of the output."""
        return self.output_qparams.zero_point  # type: ignore[return-value]  # per tensor: an int

    @zero_point.setter
    def zero_point(self, zero_point: int) -> None:
        self.output_qparams = self.output_qparams.replace(zero_point=zero_point)

    def extra_repr(self) -> str:
        """``scale=…, zero_point=…``, and the range where it is not the dtype's own."""
        output = self.output_qparams
        text = f"scale={output.scale}, zero_point={output.zero_point}"
        return text + (f", {_range_text(output)}" if _has_own_range(output) else "")

    def _save_to_state_dict(self, destination: State, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        output = self.output_qparams
        saved = {
            "scale": torch.tensor(output.scale, dtype=torch.float64),
            "zero_point": torch.tensor(output.zero_point, dtype=output.dtype.storage),
        }
        if _has_own_range(output):
            saved["quant_min"] = torch.tensor(output.quant_min)
            saved["quant_max"] = torch.tensor(output.quant_max)
        destination.update((prefix + name, value) for name, value in saved.items())

    def _load_from_state_dict(
        self,
        state_dict: State,
        prefix: str,
        local_metadata: State,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        state_dict = dict(state_dict)
        names = ("scale", "zero_point", "quant_min", "quant_max")
        found = {name: state_dict.pop(prefix + name, None) for name in names}
        absent = [prefix + name for name in names[:2] if found[name] is None]
        missing_keys.extend(absent)
        if not absent:
            try:
                self.output_qparams = _loaded(self.output_qparams, **found)
            except ValueError as error:
                error_msgs.append(f"output parameters of {prefix.removesuffix('.')}: {error}")
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )


def _has_own_range(output: QParams) -> bool:
    dtype = output.dtype
    return (output.quant_min, output.quant_max) != (dtype.quant_min, dtype.quant_max)


def _range_text(output: QParams) -> str:
    return f"quant_min={output.quant_min}, quant_max={output.quant_max}"


def _loaded(
    current: QParams,
    scale: Tensor,
    zero_point: Tensor,
    quant_min: Tensor | None,
    quant_max: Tensor | None,
) -> QParams:
    storages = {dtype.storage: dtype for dtype in reversed(QDTYPES.values())}  # the first counts
    return QParams(
        float(scale),
        int(zero_point),
        storages.get(zero_point.dtype, current.dtype),
        None,
        None if quant_min is None else int(quant_min),  # type: ignore[arg-type]  # the dtype's
        None if quant_max is None else int(quant_max),  # type: ignore[arg-type]  # likewise
    )


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
        channels = shape[self._channel_axis]
        self._out = out = out or channels
        self.register_buffer("qweight", torch.zeros(*shape, dtype=torch.int8, device=device))
        self.register_buffer("weight_scales", torch.ones(channels, device=device))
        self.register_buffer("weight_zero_points", None)
        self.register_buffer("float_bias", torch.zeros(out, device=device) if bias else None)
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
        self.qweight, self.weight_scales = integers.detach(), scales.detach()
        self.weight_zero_points = zero_points
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


class WeightedLayer(WeightModule):
    """A linear layer or convolution with an int8 weight.

    Subclasses may fuse an activation: a function, and bounds on the real values of the output.
    """

    _name: ClassVar[str]
    activation_min: float | None = None
    activation_max: float | None = None
    activation: str = ""  # as in torch.ops.qtensor.linear
    negative_slope: float = 0.01

    @classmethod
    def _weighted(cls, mod: nn.Module, qweight: QTensor) -> Self:
        """From ``mod``, a layer or a fused container of one, with the weight given."""
        made = cls._shaped_like(mod)
        made.set_weight_bias(qweight, unfused(mod).bias)
        return made.train(mod.training)

    @classmethod
    @abstractmethod
    def _shaped_like(cls, mod: nn.Module) -> Self:
        """A new layer with the sizes of ``mod``, a layer or a fused container of one."""

    def _get_name(self) -> str:
        return self._name


class QuantizedLayer(OutputModule, WeightedLayer):
    """A linear layer or convolution with quantized input, weight and output."""

    @classmethod
    def from_float(cls, mod: nn.Module, use_precomputed_fake_quant: bool = False) -> Self:
        """From a calibrated float layer, or a trained quantization-aware one.

        Args:
            mod: a layer, or a fused container that begins with one, with an
                ``activation_post_process`` and a ``qconfig`` (or a ``weight_fake_quant``).
            use_precomputed_fake_quant: do not show the weight to its ``weight_fake_quant`` again.

        Raises:
            ValueError: ``mod`` lacks one of these.
        """
        layer = float_form(mod)
        qweight = quantized_weight(layer, use_precomputed_fake_quant)
        return cls._made(layer, qweight, observed_qparams(mod))

    @classmethod
    def from_reference(
        cls,
        reference: nn.Module,
        output_scale: float = 1.0,
        output_zero_point: int = 0,
        *,
        output_qparams: QParams | None = None,
    ) -> Self:
        """From a reference layer (or a fused container of one) and its output's parameters.

        Args:
            reference: has ``get_quantized_weight()``.
            output_scale, output_zero_point: of the output, which is quint8 in full range;
            output_qparams: or all of its parameters.
        """
        output = output_qparams or QParams(output_scale, output_zero_point)
        return cls._made(reference, unfused(reference).get_quantized_weight(), output)

    @classmethod
    def _made(cls, mod: nn.Module, qweight: QTensor, output: QParams) -> Self:
        made = cls._weighted(mod, qweight)
        made.output_qparams = output
        return made


# ---- making quantized modules from float ones


def unfused(module: nn.Module) -> Any:
    """The linear or convolution of ``module``: its first part where it is a fused container."""
    return module[0] if isinstance(module, nn.Sequential) else module


def float_form(module: nn.Module) -> nn.Module:
    """``module``, or what it stands for if it is one for quantization-aware training.

    That is what its ``to_float()`` gives, a batch norm folded in, together with its ``qconfig``
    and with the ``weight_fake_quant`` that it was trained with.

    Raises:
        ValueError: a float container with a batch norm, which its layer's weight lacks.
    """
    parts = list(module) if isinstance(module, nn.Sequential) else []
    if any(isinstance(part, _BatchNorm) for part in parts[1:]):
        raise ValueError(
            f"{type(module).__name__} holds a batch norm that is not folded into its layer; fuse "
            "in eval mode, or prepare it for quantization-aware training"
        )
    if not hasattr(module, "to_float"):
        return module
    trained: Any = module
    made: nn.Module = trained.to_float()
    made.qconfig = trained.qconfig
    unfused(made).weight_fake_quant = trained.weight_fake_quant
    return made


def quantized_weight(module: nn.Module, use_precomputed_fake_quant: bool = False) -> QTensor:
    """The weight of a float module, quantized as its ``weight_fake_quant`` or ``qconfig`` says.

    Raises:
        ValueError: ``module`` has neither.
    """
    inner = unfused(module)
    observer: Any = getattr(inner, "weight_fake_quant", None)
    if observer is None:
        qconfig = getattr(module, "qconfig", None) or getattr(inner, "qconfig", None)
        if qconfig is None:
            raise ValueError(
                f"expected a {type(module).__name__} with a qconfig or a weight_fake_quant, which "
                "say how to quantize its weight; it has neither"
            )
        observer = qconfig.weight()
        if getattr(inner, "transposed", False) and hasattr(observer, "ch_axis"):
            observer.ch_axis = 1  # a qconfig is for all layers; here are this one's channels
        use_precomputed_fake_quant = False  # it has seen nothing yet
    weight = inner.weight.detach().to(torch.float32)
    if not use_precomputed_fake_quant:
        observer(weight)
    return quantize_as(weight, observer)


def take_parts(quantized: nn.Module, observed: nn.Module) -> None:
    """Make the quantized parts of a module from the observed ones of the same names.

    Args:
        quantized: of the structure of ``observed``; its parts with output parameters are replaced.
        observed: calibrated.
    """
    for path, part in list(quantized.named_modules()):
        if isinstance(part, OutputModule):
            kind: Any = type(part)
            quantized.set_submodule(path, kind.from_float(observed.get_submodule(path)))


def quantize_as(weight: Tensor, observer: Any) -> QTensor:
    """``weight`` (float32) quantized with the parameters that ``observer`` calculates."""
    scale, zero_point = observer.calculate_qparams()
    dtype = as_qdtype(observer.dtype)
    bounds = getattr(observer, "quant_min", None), getattr(observer, "quant_max", None)
    if as_qscheme(observer.qscheme).per_channel:
        return quantize_per_channel(weight, scale, zero_point, observer.ch_axis, dtype, *bounds)
    return quantize_per_tensor(weight, scale, zero_point, dtype, *bounds)


def observed_qparams(module: nn.Module) -> QParams:
    """The output parameters that a module's ``activation_post_process`` has calibrated.

    Raises:
        ValueError: ``module`` has none.
    """
    observer: Any = getattr(module, "activation_post_process", None)
    if observer is None:
        raise ValueError(
            f"expected a prepared and calibrated {type(module).__name__}: it has no "
            "activation_post_process to tell its output's scale and zero point"
        )
    scale, zero_point = observer.calculate_qparams()
    bounds: Any = getattr(observer, "quant_min", None), getattr(observer, "quant_max", None)
    return QParams(scale, zero_point, as_qdtype(observer.dtype), None, *bounds)
