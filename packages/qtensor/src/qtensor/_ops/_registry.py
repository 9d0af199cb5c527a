"""Defines an operator of ``torch.ops.qtensor`` and the callable that the rest of qtensor uses."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._library.autograd import Info, make_autograd_impl
from torch.autograd import forward_ad
from torch.compiler import is_dynamo_compiling
from torch.utils._pytree import tree_leaves

from .._calls import Eager
from .._direct import direct_but_for_gradients
from ._errors import called, check_tensors, name_in, naming

# The operators live as long as this object.
_library: Any = torch.library.Library("qtensor", "DEF")  # type: ignore[no-untyped-call]  # torch's


def operator(
    schema: str,
    *,
    cpu: Callable[..., Any],
    reference: Callable[..., Any],
    fake: Callable[..., Any],
    gradient: tuple[Callable[..., None], Callable[..., Any]] | None = None,
) -> Callable[..., Tensor]:
    """Registers ``torch.ops.qtensor.<name>`` and returns the fast way to call it.

    Args:
        schema: torch's schema string, such as ``"add(Tensor a, Tensor b) -> Tensor"``; the name
            may be that of an overload, ``add.scalar``.
        cpu: takes the schema's arguments and runs the compiled kernel: a ``Prepared``, which plans
            alike calls once; a ``Weighted`` (see :func:`weighted_operator`); or any function.
        reference: the same in plain torch operators; runs on every other device.
        fake: the same on meta tensors, for shapes and dtypes only; it checks what it is given.
        gradient: ``setup_context(ctx, inputs, output)`` and ``backward(ctx, *grads)`` as
            ``torch.library.register_autograd`` takes them; without, a backward pass raises.

    Returns:
        A function of the schema's arguments, and of ``cache`` if ``cpu`` is ``Weighted``. It calls
        ``cpu`` itself in plain eager execution, else ``torch.ops.qtensor.<name>`` (see
        ``_direct``). Its attribute ``op`` is the latter; ``cpu`` and ``reference`` are as given.
        What the checks of ``cpu`` and ``fake`` raise names the operator, and its caller.
    """
    name = schema.partition("(")[0]  # what define() returns lacks the overload
    _library.define(schema)
    packet, _, overload = name.partition(".")
    registered = getattr(getattr(torch.ops.qtensor, packet), overload or "default")
    arguments = registered._schema.arguments

    checked = _on_one_device(arguments, fake)

    def elsewhere(*args: Any, **kwargs: Any) -> Any:
        check_tensors(name, arguments, args)
        checked(*args, **kwargs)
        return reference(*args, **kwargs)

    _library.impl(name, naming(name, cpu), "CPU")
    _library.impl(name, naming(name, elsewhere), "CompositeExplicitAutograd")
    torch.library.register_fake(f"qtensor::{name}", naming(name, checked), lib=_library)
    _library.impl(name, _autograd(name, registered, gradient), "Autograd", with_keyset=True)

    # Autograd in plain eager execution, at a third of what it costs through the dispatcher.
    differentiable = None if gradient is None else _function(name, cpu, *gradient)
    signature = signature_of(registered._schema)
    defaults = [argument.default_value for argument in arguments]

    def otherwise(*args: Any, **kwargs: Any) -> Any:
        if differentiable is not None and not kwargs and direct_but_for_gradients(*args):
            return differentiable.apply(*args, *defaults[len(args) :])
        return registered(*args, **kwargs)

    eager = Eager(cpu, otherwise)
    by_name_only = {argument.name for argument in arguments if argument.kwarg_only}

    def call(*args: Any, cache: Any = None, **kwargs: Any) -> Any:
        if is_dynamo_compiling():  # it sees nothing of what follows
            return registered(*args, **kwargs)
        if kwargs and not kwargs.keys() <= by_name_only:  # binding takes 20 µs
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        try:
            return eager(args, kwargs, cache)
        except Exception as error:
            check_tensors(name, arguments, args)  # what is none fails somewhere
            name_in(error, name)
            raise

    call.__name__ = call.__qualname__ = name
    call.__doc__ = reference.__doc__
    call.op = registered  # type: ignore[attr-defined]  # functions take attributes, mypy knows not
    call.cpu = cpu  # type: ignore[attr-defined]  # likewise
    call.reference = reference  # type: ignore[attr-defined]  # likewise
    return call


def signature_of(schema: torch._C.FunctionSchema) -> inspect.Signature:
    """The Python signature of an operator."""
    return inspect.Signature([_parameter(argument) for argument in schema.arguments])


def _parameter(argument: torch._C.Argument) -> inspect.Parameter:
    default = argument.default_value if argument.has_default_value() else inspect.Parameter.empty
    kind = (
        inspect.Parameter.KEYWORD_ONLY
        if argument.kwarg_only
        else inspect.Parameter.POSITIONAL_OR_KEYWORD
    )
    return inspect.Parameter(argument.name, kind, default=default)


def composite(schema: str, function: Callable[..., Any]) -> None:
    """Registers ``torch.ops.qtensor.<name>`` as a name for what other operators do."""
    name = schema.partition("(")[0]
    _library.define(schema)
    _library.impl(name, function, "CompositeImplicitAutograd")


def _on_one_device(
    arguments: Sequence[torch._C.Argument], fake: Callable[..., Any]
) -> Callable[..., Any]:
    """``fake``, refusing tensors on several devices.

    If one argument is a meta tensor torch runs this alone, and what it returns for the devices of
    others would never be written to.
    """
    names = [argument.name for argument in arguments]

    def checked(*args: Any, **kwargs: Any) -> Any:
        at: dict[torch.device, str] = {}
        for name, value in (*zip(names, args, strict=False), *kwargs.items()):
            for leaf in value if isinstance(value, (list, tuple)) else (value,):
                # As everywhere in torch, a scalar of the CPU goes with any device.
                if isinstance(leaf, Tensor) and (leaf.dim() or not leaf.is_cpu):
                    at.setdefault(leaf.device, f"{name} of {leaf.dtype} on {leaf.device}")
        if len(at) > 1:
            raise ValueError(
                f"expected all tensors on one device, got {' and '.join(at.values())}; "
                "move them with .to()"
            )
        return fake(*args, **kwargs)

    return checked


# ---- gradients


def _autograd(
    name: str, op: Any, gradient: tuple[Callable[..., None], Callable[..., Any]] | None
) -> Callable[..., Any]:
    """What ``torch.library.register_autograd`` would register, but for transforms."""
    setup_context, backward = gradient or (_remember_caller(name), _no_backward)
    kernel = make_autograd_impl(op, Info(backward, setup_context))

    def checked(keys: Any, *args: Any, **kwargs: Any) -> Any:
        transformed = torch._C._functorch.peek_interpreter_stack() is not None
        if transformed or forward_ad._current_level >= 0:
            why = "use backward()" if gradient else _NO_GRADIENT
            _refuse_derivative(name, args, transformed, why)
        return kernel(keys, *args, **kwargs)

    return checked


def _refuse_derivative(name: str, args: tuple[Any, ...], transformed: bool, why: str) -> None:
    """Raise if ``torch.func`` or forward-mode differentiation is at work by one of the arguments,
    which torch would refuse in its own terms (``grad``) or not even notice (the rest)."""
    given = [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor)]
    backward = transformed and torch.is_grad_enabled() and any(x.requires_grad for x in given)
    unpack: Any = forward_ad.unpack_dual
    if backward or any(unpack(leaf).tangent is not None for leaf in given):
        by = "by torch.func" if transformed else "in forward mode"
        raise RuntimeError(f"{called(name)} cannot be differentiated {by}: {why}")


_NO_GRADIENT = (
    "it computes on integers, which have no gradients. Train the float model (with fake "
    "quantization, if it must learn to live with int8) and quantize afterwards"
)


def _remember_caller(name: str) -> Callable[..., None]:
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any, **named: Any) -> None:
        dtypes = {leaf.dtype for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)}
        of = sorted(str(dtype) for dtype in dtypes if not dtype.is_floating_point)
        ctx.who = f"{called(name)} (of {' and '.join(of)})" if of else called(name)

    return setup_context


def _no_backward(ctx: Any, *grads: Tensor) -> None:
    raise RuntimeError(
        f"{ctx.who} has no gradient: {_NO_GRADIENT}, or call it under torch.no_grad()."
    )


def _function(
    name: str,
    cpu: Callable[..., Any],
    setup_context: Callable[..., None],
    backward: Callable[..., Any],
) -> Any:
    def forward(ctx: Any, *inputs: Any) -> Any:
        output = cpu(*inputs)
        setup_context(ctx, inputs, output)
        return output

    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type(name, (torch.autograd.Function,), members)
