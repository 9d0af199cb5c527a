"""``QTensor``: integers that stand for real numbers, usable wherever a tensor is."""

import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.nn import Parameter
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.data._utils.collate import default_collate_fn_map

from ._calls import wrap
from ._dtypes import QDTYPES, QDType, QScheme
from ._fallback import report_fallback
from ._ops.pack_bits import pack_bits, unpack_bits
from ._ops.quantize import dequantize_per_channel, dequantize_per_tensor
from ._qparams import QParams, qparams_of
from ._recalled import Recalled

# What torch's functions do with a QTensor; ``_functions`` and ``_overrides`` fill these.
functions: dict[Any, Callable[..., Any]] = {}  # a function of torch → its integer counterpart
recalled: dict[Any, Recalled] = {}  # of those that are one call of an operator, the short way
metadata: dict[Any, bool] = {}  # functions that only ask for shape, device and the like
dispatched: dict[str, Callable[..., Any]] = {}  # an aten operator's name → (op, *args) -> result


class QTensor(Tensor):
    """A quantized tensor: ``(integer - zero_point) * scale`` for each element.

    Outside it looks like a float32 tensor of the real values; inside it holds plain integers.
    Shape operators, ReLU, pooling and the like work on the integers and keep the parameters.
    Operators without an integer kernel dequantize and warn once per line (see
    :class:`qtensor.fallback`). In-place operators write integers with the tensor's own
    parameters, or raise. Gradients do not flow through integers.

    Args:
        data: the integers, of ``qparams.dtype``'s storage dtype, any shape.
        qparams: the scale and zero point, per tensor or along one axis of ``data``.

    Raises:
        TypeError: ``data`` is not a tensor of the storage dtype.
        ValueError: per-channel parameters do not fit the shape of ``data``.

    Example:
        >>> import torch
        >>> from qtensor import QParams, QTensor, quint8
        >>> q = QTensor(torch.tensor([10, 20], dtype=torch.uint8), QParams(0.5, 10, quint8))
        >>> q.dequantize()
        tensor([0., 5.])
    """

    _data: Tensor
    _qparams: QParams
    # The parameters once more, as plain attributes: of a tensor made inside its graph, the
    # compiler can read nothing else.
    _scale: float | Tensor
    _zero_point: int | Tensor
    _axis: int | None
    _format: tuple[str, int, int]  # the dtype's name, quant_min, quant_max

    @staticmethod
    def __new__(cls, data: Tensor, qparams: QParams) -> "QTensor":
        if not isinstance(qparams, QParams):
            raise TypeError(f"expected QParams, got {type(qparams).__name__}: QParams(scale, …)")
        dense = isinstance(data, Tensor) and data.layout == torch.strided
        if not dense or data.dtype is not qparams.dtype.storage:
            given = data.dtype if dense else described(data)
            raise TypeError(
                f"expected integers of {qparams.dtype.storage} for {qparams.dtype}, got {given}"
            )
        if qparams.axis is not None:
            _check_channels(data, qparams.axis, torch.as_tensor(qparams.scale).numel())
        if qparams.dtype.bits < 8:
            return PackedQTensor._of(pack_bits(data, qparams.dtype.bits), data.shape, qparams)
        if not is_dynamo_compiling():
            return wrapped(data, qparams)
        self: QTensor = torch.Tensor._make_wrapper_subclass(
            cls, data.size(), data.stride(), dtype=torch.float32, device=data.device
        )
        self._data = data
        self._set_parameters(qparams)
        return self

    def _set_parameters(self, qparams: QParams) -> None:
        self._qparams = qparams
        for name, value in qparams.attributes.items():
            setattr(self, name, value)

    # ---- the vocabulary of quantized tensors

    @property
    def qparams(self) -> QParams:
        """Scale, zero point, dtype, axis and range."""
        return self._qparams

    @property
    def qdtype(self) -> QDType:
        """The quantized dtype, such as ``qtensor.quint8``; ``dtype`` is ``torch.float32``."""
        return self._qparams.dtype

    @property
    def is_quantized(self) -> bool:  # type: ignore[override]  # an attribute of torch's tensors
        """True; but not to torch's tracers, which would take this for one of torch's own."""
        frame = sys._getframe(1)
        if frame.f_code.co_name == "custom_getattribute" and frame.f_back:  # of torch.export
            frame = frame.f_back
        return not frame.f_globals["__name__"].startswith(("torch._subclasses.", "torch.fx."))

    def int_repr(self) -> Tensor:
        """The integers, sharing memory with this tensor; those of less than a byte unpacked."""
        return self._data

    def _stored(self) -> Tensor:
        """The memory this tensor holds: the integers, packed if they are of less than a byte."""
        return self._data

    def _writable(self) -> Tensor:
        """The integers, for writing into this tensor.

        Raises:
            NotImplementedError: for integers of less than a byte, which are packed.
        """
        return self._data

    def dequantize(self) -> Tensor:
        """The real values: a float32 tensor of the same shape."""
        if self._axis is None:
            return dequantize_per_tensor(self._data, self._scale, self._zero_point)
        return dequantize_per_channel(self._data, self._scale, self._zero_point, self._axis)

    def qscheme(self) -> QScheme:  # type: ignore[override]  # torch's own may disappear
        """How values map to integers, such as ``qtensor.per_tensor_affine``."""
        return self._qparams.qscheme

    def q_scale(self) -> float:
        """The scale of a tensor quantized per tensor."""
        self._check_per_tensor("q_scale")
        return self._scale  # type: ignore[return-value]  # per tensor: a float

    def q_zero_point(self) -> int:
        """The zero point of a tensor quantized per tensor."""
        self._check_per_tensor("q_zero_point")
        return self._zero_point  # type: ignore[return-value]  # per tensor: an int

    def q_per_channel_scales(self) -> Tensor:
        """The scales, shape ``(channels,)``, of a tensor quantized per channel."""
        self._check_per_channel("q_per_channel_scales")
        return self._scale  # type: ignore[return-value]  # per channel: a tensor

    def q_per_channel_zero_points(self) -> Tensor:
        """The zero points, shape ``(channels,)``, of a tensor quantized per channel."""
        self._check_per_channel("q_per_channel_zero_points")
        return self._zero_point  # type: ignore[return-value]  # per channel: a tensor

    def q_per_channel_axis(self) -> int:
        """The channel axis of a tensor quantized per channel."""
        self._check_per_channel("q_per_channel_axis")
        return self._axis  # type: ignore[return-value]  # per channel: an int

    def _check_per_tensor(self, asked: str) -> None:
        if self._axis is not None:
            raise RuntimeError(
                f"{asked}() needs a tensor quantized per tensor; this one is quantized per "
                f"channel along axis {self._axis}: see q_per_channel_scales()"
            )

    def _check_per_channel(self, asked: str) -> None:
        if self._axis is None:
            raise RuntimeError(
                f"{asked}() needs a tensor quantized per channel; this one is quantized per "
                "tensor: see q_scale() and q_zero_point()"
            )

    # ---- operators

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in recalled and "out" not in kwargs and not is_dynamo_compiling():
            return recalled[func](args, kwargs)
        on_integers = functions.get(func)
        if on_integers is not None:
            if kwargs.get("out") is not None:
                return _into(on_integers, func, args, kwargs)
            return on_integers(*args, **kwargs)
        if func in metadata or _is_internal(func):
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        return in_float(func, func.__name__, args, kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch declares no classmethod
        cls,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """The safety net for calls from C++, from tracers and of ``torch.ops.aten``."""
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        on_integers = dispatched.get(name)
        if on_integers is not None and "out" not in kwargs:
            return on_integers(func, *args, **kwargs)
        return in_float(func, name, args, kwargs)

    # ---- tracing, copying, pickling, printing

    def __tensor_flatten__(self) -> tuple[list[str], tuple[Any, ...]]:
        if self._axis is None:
            return ["_data"], (self._axis, self._format, self._scale, self._zero_point)
        return ["_data", "_scale", "_zero_point"], (self._axis, self._format)

    @staticmethod
    def __tensor_unflatten__(
        inner: dict[str, Tensor], context: tuple[Any, ...], size: Any, stride: Any
    ) -> "QTensor":
        data = inner["_data"]
        kind = _ExportedQTensor if _is_exported(data) else QTensor
        return wrapped(data, _flattened_parameters(inner, context), kind)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return (Parameter, (self.detach(), False)) if _is_parameter(self) else self._reduced()

    def _reduced(self) -> tuple[Any, ...]:
        return rebuild, (self._data, self._scale, self._zero_point, self._axis, *self._format)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        if id(self) not in memo:
            copied = type(self)(self._data.clone(), self._qparams)
            memo[id(self)] = Parameter(copied, False) if _is_parameter(self) else copied
        known: Self = memo[id(self)]
        return known

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]  # torch has no type
        qparams = self._qparams
        # After the values torch says what is unlike its defaults, which is said here anyway.
        values = re.split(r", (?:device|dtype|size)=|\)$", repr(self.dequantize()))[0]
        device = "" if self.device.type == "cpu" else f"device='{self.device}', "
        text = (
            f"QTensor({values.removeprefix('tensor(')}, size={tuple(self.shape)}, {device}"
            f"dtype={qparams.dtype}, "
            f"quantization_scheme={qparams.qscheme}, scale={qparams.scale}, "
            f"zero_point={qparams.zero_point}"
        )
        return text + (")" if qparams.axis is None else f", axis={qparams.axis})")


class PackedQTensor(QTensor):
    """A quantized tensor of less than 8 bits a value, packed several to a byte (see ``pack_bits``).

    What reads it unpacks it first, which makes a copy; so writing into it, or into a view of it,
    raises. Made by ``QTensor(data, qparams)`` for dtypes of less than 8 bits.
    """

    _packed: Tensor  # uint8, contiguous

    @classmethod
    def _of(cls, packed: Tensor, shape: Sequence[int], qparams: QParams) -> "PackedQTensor":
        self: PackedQTensor = torch.Tensor._make_wrapper_subclass(
            cls, torch.Size(shape), dtype=torch.float32, device=packed.device
        )
        self._packed = packed
        self._set_parameters(qparams)
        return self

    @property
    def _data(self) -> Tensor:  # type: ignore[override]  # computed, and never assigned
        dtype = self._qparams.dtype
        return unpack_bits(self._packed, dtype.bits, tuple(self.shape), dtype.storage)

    def _stored(self) -> Tensor:
        """The packed integers, uint8."""
        return self._packed

    def _writable(self) -> Tensor:
        """Not possible."""
        raise NotImplementedError(
            f"a tensor of {self.qdtype} holds several integers to a byte and cannot be written "
            "into; dequantize() it, or quantize to qtensor.quint8 or qtensor.qint8. To load a "
            "state dict, use load_state_dict(…, assign=True)"
        )

    def __tensor_flatten__(self) -> tuple[list[str], tuple[Any, ...]]:
        names, context = super().__tensor_flatten__()
        return ["_packed", *names[1:]], context

    @staticmethod
    def __tensor_unflatten__(
        inner: dict[str, Tensor], context: tuple[Any, ...], size: Any, stride: Any
    ) -> "PackedQTensor":
        packed = inner["_packed"]
        kind = _ExportedPackedQTensor if _is_exported(packed) else PackedQTensor
        return kind._of(packed, size, _flattened_parameters(inner, context))

    def _reduced(self) -> tuple[Any, ...]:
        shape = tuple(self.shape)
        parameters = self._scale, self._zero_point, self._axis, *self._format
        return rebuild_packed, (self._packed, shape, *parameters)


class _Exported:
    """A quantized tensor that is an input of the graph that ``torch.export`` makes: a module's
    buffer or parameter, or an argument.

    Inputs are of classes of their own because export takes every tensor of their classes for one:
    it replaces ``__getattribute__`` there, to see which of the inner tensors the graph uses.
    """

    @property
    def qparams(self) -> QParams:
        """Made of the attributes each time, or export would not see that the graph uses them."""
        return qparams_of(self._scale, self._zero_point, self._axis, *self._format)  # type: ignore[attr-defined]  # of the QTensor it is mixed into


class _ExportedQTensor(_Exported, QTensor):
    pass


class _ExportedPackedQTensor(_Exported, PackedQTensor):
    pass


def _is_exported(inner: Tensor) -> bool:
    """Whether a tensor is a fake one that ``torch.export`` made: only its modes allow real ones."""
    return getattr(getattr(inner, "fake_mode", None), "allow_non_fake_inputs", False)


def described(x: Any) -> str:
    """What ``x`` is, for errors: ``a QTensor of qtensor.quint8``, ``a torch.float32 tensor``."""
    if isinstance(x, QTensor):
        return f"a QTensor of {x.qdtype}"
    if not isinstance(x, Tensor):
        return f"a {type(x).__name__}"
    return f"a {x.dtype} tensor" + ("" if x.layout == torch.strided else f" of layout {x.layout}")


def wrapped(data: Tensor, qparams: QParams, kind: type[QTensor] = QTensor) -> QTensor:
    """``QTensor(data, qparams)`` for whole bytes that are known to be of the right dtype, such as
    what an operator returned: to check them would take as long as the work on small tensors."""
    if is_dynamo_compiling():
        return QTensor(data, qparams)
    attributes = qparams.attributes.copy()
    attributes["_data"] = data
    attributes["_qparams"] = qparams
    result: QTensor = wrap(kind, data, attributes)
    return result


def _is_parameter(x: Tensor) -> bool:
    return isinstance(x, Parameter)  # which only marks a tensor of a subclass


def _flattened_parameters(inner: dict[str, Tensor], context: tuple[Any, ...]) -> QParams:
    axis, format, *rest = context
    scale, zero_point = rest or (inner["_scale"], inner["_zero_point"])
    return qparams_of(scale, zero_point, axis, *format)


def rebuild(data: Tensor, *parameters: Any) -> QTensor:
    """The inverse of flattening and pickling; saved files name this function."""
    return QTensor(data, qparams_of(*parameters))


def rebuild_packed(packed: Tensor, shape: tuple[int, ...], *parameters: Any) -> PackedQTensor:
    """As :func:`rebuild`, of packed integers."""
    return PackedQTensor._of(packed, shape, qparams_of(*parameters))


def _is_internal(func: Any) -> bool:
    """Of torch's own machinery, or of ``torch.ops``: for ``__torch_dispatch__`` to judge."""
    if isinstance(func, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        return True
    name: str = func.__name__
    return name.startswith("_") and not name.startswith("__")


def parameters(x: QTensor) -> QParams:
    """``x.qparams``, also where the compiler traces: it reads plain attributes only."""
    if is_dynamo_compiling():
        return qparams_of(x._scale, x._zero_point, x._axis, *x._format)
    return x.qparams


def _into(
    on_integers: Callable[..., Any],
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Writes a result into ``out``: into a QTensor with its own parameters, if it is one too."""
    out = kwargs["out"]
    rest = {name: value for name, value in kwargs.items() if name != "out"}
    if not any(isinstance(x, QTensor) for x in tree_leaves((args, rest))):
        return in_float(func, func.__name__, args, kwargs)
    result = on_integers(*args, **rest)
    several = isinstance(out, (tuple, list))
    targets, parts = (out, result) if several else ((out,), (result,))
    for target, part in zip(targets, parts, strict=True):
        if isinstance(target, QTensor) and not isinstance(part, QTensor):
            return in_float(func, func.__name__, args, kwargs)
        if target.shape != part.shape:
            raise ValueError(
                f"{func.__name__} expects out of shape {tuple(part.shape)}, got "
                f"{tuple(target.shape)}"
            )
        target.copy_(part)
    return out


def in_float(
    func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Computes ``func`` on dequantized values, after reporting it; refuses to lose a write."""
    if _writes_into_qtensor(func, name, args, kwargs):
        if name == "__set__":  # of an attribute, such as x.data = …
            name = f"setting .{func.__self__.__name__}"  # type: ignore[attr-defined]  # the property
        raise NotImplementedError(
            f"{name} cannot write into a QTensor: it has no integer kernel, and a result computed "
            "in float would be lost. Use the out-of-place form, or dequantize() first."
        )
    report_fallback(name)
    return func(*tree_map(_to_float, args), **tree_map(_to_float, kwargs))


def _to_float(x: Any) -> Any:
    return x.dequantize() if isinstance(x, QTensor) else x


_IN_PLACE = re.compile(
    r"[^_](.*[^_])?_"  # add_, t_
    r"|__i(add|and|floordiv|lshift|matmul|mod|mul|or|pow|rshift|sub|truediv|xor)__"  # +=
    r"|__(setitem|set|delete)__"  # x[0] = …, x.data = …
)


def _writes_into_qtensor(
    func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> bool:
    schema = getattr(func, "_schema", None)
    if schema is not None:  # an aten operator says itself what it writes
        given = list(args) + [kwargs.get(a.name) for a in schema.arguments[len(args) :]]
        written = [
            x
            for x, argument in zip(given, schema.arguments, strict=False)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
    else:
        written = [kwargs.get("out")]
        if _IN_PLACE.fullmatch(name) or kwargs.get("inplace") is True:
            written += args[:1] or [kwargs.get("input")]
    return any(
        isinstance(x, QTensor)
        for group in written
        for x in (group if isinstance(group, (tuple, list)) else (group,))
    )


def _check_channels(data: Tensor, axis: int, channels: int) -> None:
    if not 0 <= axis < data.ndim:
        raise ValueError(f"expected an axis within 0 … {data.ndim - 1}, got {axis}")
    if data.shape[axis] != channels:
        raise ValueError(
            f"expected one scale for each of the {data.shape[axis]} channels along axis {axis} of "
            f"a tensor of shape {tuple(data.shape)}, got {channels}"
        )


def _collated(batch: Sequence[QTensor], *, collate_fn_map: Any = None) -> Tensor:
    """What loaders make of samples: torch's own would stack them in float in worker processes."""
    return torch.stack(list(batch))


default_collate_fn_map.update({QTensor: _collated, PackedQTensor: _collated})

_DTYPES: list[Any] = [(dtype, f"{dtype.__module__}.{name}") for name, dtype in QDTYPES.items()]
torch.serialization.add_safe_globals([rebuild, rebuild_packed, qparams_of, *_DTYPES])
