# cython: language_level=3
"""What every call of an operator asks, between Python and the kernel: may the kernel be called
directly, and is this call like the last one? In Cython because it is asked so often."""

import weakref

import torch
from torch import Tensor
from torch.nn import Parameter

from cpython.object cimport Py_TYPE, PyObject, PyTypeObject
from cpython.weakref cimport PyWeakref_GetObject
from libc.stdint cimport uintptr_t

cdef extern from "Python.h":
    bint PyType_IsSubtype(PyTypeObject *, PyTypeObject *)

cdef object _strided = torch.strided
cdef object _grad_enabled = torch.is_grad_enabled
cdef object _dispatch_modes = torch._C._len_torch_dispatch_stack
cdef object _functorch_level = torch._C._functorch.peek_interpreter_stack
cdef object _included = torch._C._dispatch_tls_is_dispatch_key_included
# make_fx(pre_dispatch=True) keeps a stack of its own.
cdef object _PRE_DISPATCH = torch._C.DispatchKey.PreDispatch


def unobserved():
    """Whether no mode, tracer or transform of torch wants to see operators now."""
    return not _dispatch_modes() and _functorch_level() is None and not _included(_PRE_DISPATCH)


def readable(objects):
    """Whether kernels may read the memory of every tensor among these objects, or in their lists,
    and none needs a gradient."""
    for x in objects:
        kind = type(x)
        if kind is Tensor or kind is Parameter:  # a subclass may hold no storage of its own
            if (
                not x.is_cpu
                or x.layout is not _strided
                or x.is_neg()  # memory holds the negated values
                or (x.requires_grad and _grad_enabled())
            ):
                return False
        elif kind is list or kind is tuple:
            if not readable(x):
                return False
        elif PyType_IsSubtype(Py_TYPE(x), <PyTypeObject *>Tensor):
            return False
    return True


cdef class Seen:
    """A tensor as it was, without keeping it alive.

    Inference tensors have no version, so their contents are kept and compared.
    """

    cdef object _tensor, _version, _contents
    cdef uintptr_t _pointer

    def __init__(self, tensor):
        self._tensor = weakref.ref(tensor)
        self._pointer = tensor.data_ptr()
        if tensor.is_inference():
            self._contents = tensor.clone()
        else:
            self._version = tensor._version

    cpdef bint still(self, tensor):
        """Whether this is the tensor, and torch knows of no change to it."""
        if tensor is None or PyWeakref_GetObject(self._tensor) != <PyObject *>tensor:
            return False
        if self._pointer != <uintptr_t>tensor.data_ptr():
            return False
        if self._contents is not None:
            return torch.equal(self._contents, tensor)
        return tensor._version == self._version


cdef class Arguments:
    """A call's arguments, to tell whether another call's are the same.

    A tensor is the same if it is the same object and unchanged. Of those at the positions
    ``varying`` only the dtype counts. Everything else is compared by value.
    """

    cdef tuple _values, _varying

    def __init__(self, tuple arguments, tuple varying):
        values = []
        for i, value in enumerate(arguments):
            if isinstance(value, Tensor):
                value = value.dtype if i in varying else Seen(value)
            elif isinstance(value, list):
                value = list(value)  # the caller may write to it
            values.append(value)
        self._values = tuple(values)
        self._varying = varying

    def match(self, tuple arguments):
        """Whether these arguments are the same."""
        cdef Py_ssize_t i
        for i in range(len(self._values)):
            value, given = self._values[i], arguments[i]
            if value is given:
                continue
            if type(value) is Seen:
                if not (<Seen>value).still(given):
                    return False
            elif i in self._varying:
                if given is None or value is not given.dtype:
                    return False
            elif type(value) is not type(given) or value != given:
                return False
        return True
