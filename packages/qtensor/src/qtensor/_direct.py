"""Decides whether an operator may call its CPU kernel directly, past torch's dispatcher.

The kernels read raw pointers, so this must be right: a FakeTensor's data pointer is 0, a tracer
would record an uninitialised result, a batched tensor has no storage. Whoever is not certain to
be plain eager execution goes through ``torch.ops.qtensor``, where torch handles every such case.
The check saves the dispatcher's cost, several microseconds, on every call between modules.
"""

from typing import Any

import torch

from ._calls import readable, unobserved

_is_compiling = torch.compiler.is_compiling


def direct(*arguments: Any) -> bool:
    """Whether kernels may read these tensors' memory now and nobody else needs to see the call.

    Args:
        arguments: every argument of the call, of which only tensors and lists of them matter.
    """
    # The compiler comes first: it then sees nothing of what follows.
    return not _is_compiling() and unobserved() and readable(arguments)


def direct_but_for_gradients(*arguments: Any) -> bool:
    """Whether :func:`direct` would be true if no tensor needed a gradient."""
    if _is_compiling():
        return False
    enabled = torch.is_grad_enabled()
    torch._C._set_grad_enabled(False)  # no_grad(), without its three microseconds
    try:
        return direct(*arguments)
    finally:
        torch._C._set_grad_enabled(enabled)
