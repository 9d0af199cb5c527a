"""Defines an operator of ``torch.ops.qtensor`` and the callable that the rest of qtensor uses."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling
from torch.utils._pytree import tree_leaves

from .._calls import Eager
from .._direct import direct_but_for_gradients

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
        fake: the same on meta tensors, for shapes and dtypes only.
        gradient: ``setup_context(ctx, inputs, output)`` and ``backward(ctx, *grads)`` as
            ``torch.library.register_autograd`` takes them; without, a backward pass raises.

    Returns:
        A function of the schema's arguments, and of ``cache`` if ``cpu`` is ``Weighted``. It calls
        ``cpu`` itself in plain eager execution, else ``torch.ops.qtensor.<name>`` (see
        ``_direct``). Its attribute ``op`` is the latter, and ``reference`` what was given.
    """
    name = schema.partition("(")[0]  # what define() returns lacks the overload
    _library.define(schema)
    _library.impl(name, cpu, "CPU")
    _library.impl(name, reference, "CompositeExplicitAutograd")
    qualified = f"qtensor::{name}"
    torch.library.register_fake(qualified, _on_one_device(name, fake), lib=_library)
    setup_context, backward = gradient or (None, _no_backward(name))
    torch.library.register_autograd(qualified, backward, setup_context=setup_context, lib=_library)
    packet, _, overload = name.partition(".")
    registered = getattr(getattr(torch.ops.qtensor, packet), overload or "default")

    # Autograd in plain eager execution, at a third of what it costs through the dispatcher.
    differentiable = None if gradient is None else _function(name, cpu, *gradient)
    signature = signature_of(registered._schema)
    defaults = [argument.default_value for argument in registered._schema.arguments]

    def otherwise(*args: Any, **kwargs: Any) -> Any:
        if differentiable is not None and not kwargs and direct_but_for_gradients(*args):
            return differentiable.apply(*args, *defaults[len(args) :])
        return registered(*args, **kwargs)

    eager = Eager(cpu, otherwise)

    def call(*args: Any, cache: Any = None, **kwargs: Any) -> Any:
        if is_dynamo_compiling():  # it sees nothing of what follows
            return registered(*args, **kwargs)
        if kwargs:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        return eager(args, kwargs, cache)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = reference.__doc__
    call.op = registered  # type: ignore[attr-defined]  # functions take attributes, mypy knows not
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


def _on_one_device(name: str, fake: Callable[..., Any]) -> Callable[..., Any]:
    """``fake``, refusing tensors on several devices.

    If one argument is a meta tensor torch runs this alone, and what it returns for the devices of
    others would never be written to.
    """

    def checked(*args: Any, **kwargs: Any) -> Any:
        output = fake(*args, **kwargs)
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        # As everywhere in torch, a scalar of the CPU goes with any device.
        devices = {str(leaf.device) for leaf in given if leaf.dim() or not leaf.is_cpu}
        if len(devices) > 1:
            raise ValueError(
                f"expected all tensors of qtensor.{name} on one device, got "
                f"{' and '.join(sorted(devices))}; move them with .to()"
            )
        return output

    return checked


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


def _no_backward(name: str) -> Callable[..., None]:
    def backward(ctx: Any, *grads: Tensor) -> None:
        raise RuntimeError(
            f"qtensor.{name} has no gradient: it computes on integers, which cannot be "
            "differentiated. Train the float model (with fake quantization, if it must learn "
            "to live with int8) and quantize afterwards, or call it under torch.no_grad()."
        )

    return backward
