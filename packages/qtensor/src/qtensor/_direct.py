"""Decides whether an operator may call its CPU kernel directly, past torch's dispatcher.

The kernels read raw pointers, so this must be right: a FakeTensor's data pointer is 0, a tracer
would record an uninitialised result, a batched tensor has no storage. Whoever is not certain to
be plain eager execution goes through ``torch.ops.qtensor``, where torch handles every such case.
The check saves the dispatcher's cost, several microseconds, on every call between modules.
"""

import torch
from torch import Tensor
from torch.nn import Parameter

_PLAIN = (Tensor, Parameter)  # exact types: a subclass may hold no storage of its own
_strided = torch.strided
_is_compiling = torch.compiler.is_compiling
_dispatch_modes = torch._C._len_torch_dispatch_stack
_functorch_level = torch._C._functorch.peek_interpreter_stack
_included = torch._C._dispatch_tls_is_dispatch_key_included
_PRE_DISPATCH = torch._C.DispatchKey.PreDispatch  # make_fx(pre_dispatch=True) keeps its own stack


def direct(*tensors: Tensor | None) -> bool:
    """Whether kernels may read these tensors' memory now and nobody else needs to see the call.

    Args:
        tensors: every tensor argument of the call; ``None`` for an optional one left out.
    """
    if _is_compiling():  # first: the compiler then sees nothing of what follows
        return False
    if _dispatch_modes() or _functorch_level() is not None or _included(_PRE_DISPATCH):
        return False
    for tensor in tensors:
        if tensor is None:
            continue
        if (
            type(tensor) not in _PLAIN
            or not tensor.is_cpu
            or tensor.layout is not _strided
            or tensor.is_neg()  # memory holds the negated values
            or (tensor.requires_grad and torch.is_grad_enabled())
        ):
            return False
    return True
