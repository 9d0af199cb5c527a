# cython: language_level=3
"""Calls of functions on quantized tensors that are like one before: from the arguments to the
kernel, past what the function would do to find it. See ``_one_call``.

Whether calls are alike is decided by a key of 64-bit words, which takes half of the time that a
tuple would take to be built, hashed and compared.
"""

import torch

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_CheckExact
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from ._calls cimport Plan, Prepared, dlpack_tensor, readable_one, unobserved, wrapper

cdef enum:
    _MOST_TENSORS = 16  # in one call, to be remembered
    _MOST_WORDS = 512  # of its key
    _MOST_CALLS = 4096  # of a function; shapes may be new in every call

cdef enum kind_of_word:
    _TENSOR = 1, _QUANTIZED, _QPARAMS, _SEVERAL, _INTEGER, _REAL, _OBJECT

cdef object _Tensor = torch.Tensor, _Parameter = torch.nn.Parameter
# Other values whose identity says all about them; they are kept, so that it stays theirs.
cdef set _CONSTANT = {bool, str, type(None), type(torch.uint8), type(torch.contiguous_format)}


cdef struct call_key:
    Py_ssize_t words, tensors
    int64_t word[_MOST_WORDS]
    dlpack_tensor tensor[_MOST_TENSORS]


cdef inline bint _put(call_key *key, int64_t kind, int64_t word) noexcept:
    if key.words + 2 > _MOST_WORDS:
        return False
    key.word[key.words] = kind
    key.word[key.words + 1] = word
    key.words += 2
    return True


cdef bint _put_layout(call_key *key, const dlpack_tensor *x) noexcept:
    if key.words + 2 * x.ndim + 2 > _MOST_WORDS:
        return False
    _put(key, _TENSOR, <int64_t>x.ndim << 16 | x.code << 8 | x.bits)
    memcpy(key.word + key.words, x.sizes, x.ndim * sizeof(int64_t))
    memcpy(key.word + key.words + x.ndim, x.strides, x.ndim * sizeof(int64_t))
    key.words += 2 * x.ndim
    return True


cdef class _Recollection:
    """How to repeat a call: the operator's plan, and what its result is wrapped as."""

    cdef Plan plan
    cdef object sizes, strides, kept
    cdef dict attributes


cdef class Recalled:
    """A function on quantized tensors, which is asked only about calls unlike all before.

    Two calls are alike if their tensors agree in dtypes, sizes, strides and parameters, and all
    else is the same number or constant.

    Args:
        function: returns the ``Call`` that it comes to; anything else it returns is a result.
        finished: takes what the function returned, and gives the result.
        call, quantized, qparams, qdtype: the classes ``Call``, ``QTensor``, ``QParams``, ``QDType``.
    """

    cdef object _function, _finished, _call, _quantized, _qparams, _qdtype
    cdef dict _known

    def __init__(self, function, finished, call, quantized, qparams, qdtype):
        self._function, self._finished, self._call = function, finished, call
        self._quantized, self._qparams, self._qdtype = quantized, qparams, qdtype
        self._known = {}

    def __call__(self, tuple args, dict named):
        cdef call_key key
        cdef list tensors = []
        cdef _Recollection recollection
        key.words = key.tensors = 0
        if not unobserved() or not self._put_all(&key, tensors, args, named):
            return self._finished(self._function(*args, **named))
        known = PyBytes_FromStringAndSize(<char *>key.word, key.words * sizeof(int64_t))
        recollection = self._known.get(known)
        if recollection is None:
            return self._first(args, named, known, tensors)
        data = recollection.plan.run(tensors, key.tensor)
        attributes = recollection.attributes.copy()
        attributes["_data"] = data
        return wrapper(self._quantized, recollection.sizes, recollection.strides, attributes)

    cdef bint _put_all(self, call_key *key, list tensors, tuple args, dict named) except -1:
        for x in args:
            if not self._put_one(key, tensors, x):
                return False
        for name, x in named.items():
            if not _put(key, _OBJECT, <int64_t><void *>name):
                return False
            if not self._put_one(key, tensors, x):
                return False
        return True

    cdef bint _put_one(self, call_key *key, list tensors, x) except -1:
        """Adds an argument to the key; returns whether that was possible."""
        cdef int overflow = 0
        cdef int64_t integer
        cdef double real
        kind = type(x)
        if kind is self._quantized:
            if x._axis is not None:
                return False
            return (_put(key, _QUANTIZED, 0)
                    and self._put_parameters(key, tensors, x._scale, x._zero_point, x._format)
                    and self._put_tensor(key, tensors, x._data))
        if PyLong_CheckExact(x):
            integer = PyLong_AsLongLongAndOverflow(x, &overflow)
            return not overflow and _put(key, _INTEGER, integer)
        if PyFloat_CheckExact(x):
            real = PyFloat_AS_DOUBLE(x)
            memcpy(&integer, &real, sizeof(real))
            return _put(key, _REAL, integer)
        if kind in _CONSTANT or kind is self._qdtype:
            return _put(key, _OBJECT, <int64_t><void *>x)
        if kind is tuple or kind is list:
            if not _put(key, _SEVERAL, len(x)):
                return False
            for each in x:
                if not self._put_one(key, tensors, each):
                    return False
            return True
        if kind is self._qparams:
            if x.axis is not None:
                return False
            format = x.attributes["_format"]
            return (_put(key, _QPARAMS, 0)
                    and self._put_parameters(key, tensors, x.scale, x.zero_point, format))
        return (kind is _Tensor or kind is _Parameter) and self._put_tensor(key, tensors, x)

    cdef bint _put_tensor(self, call_key *key, list tensors, x) except -1:
        cdef dlpack_tensor *described = &key.tensor[key.tensors]
        if key.tensors == _MOST_TENSORS or not readable_one(x, described):
            return False
        tensors.append(x)
        key.tensors += 1
        return _put_layout(key, described)

    cdef bint _put_parameters(self, call_key *key, list tensors, scale, zero_point,
                              format) except -1:
        return self._put_one(key, tensors, scale) and self._put_one(key, tensors, zero_point) \
            and self._put_one(key, tensors, format)

    cdef _first(self, tuple args, dict named, bytes key, list tensors):
        made = self._function(*args, **named)
        result = self._finished(made)
        if type(made) is self._call and type(result) is self._quantized:
            recollection = self._recollection(made, tensors, result)
            if recollection is not None:
                recollection.kept = [*named, *self._constants((args, *named.values()))]
                if len(self._known) >= _MOST_CALLS:
                    self._known.clear()
                self._known[key] = recollection
        return result

    def _constants(self, objects):
        """What the key of these objects knows by identity."""
        for x in objects:
            if type(x) is tuple or type(x) is list:
                yield from self._constants(x)
            elif type(x) in _CONSTANT:
                yield x

    cdef _Recollection _recollection(self, made, list tensors, result):
        """How to repeat a call; ``None`` where its operator is given other tensors."""
        cdef list used = []
        prepared = made.operator.cpu
        if type(prepared) is not Prepared:
            return None
        plan = (<Prepared>prepared).plan_of(made.arguments, used)
        if len(used) != len(tensors) or any([a is not b for a, b in zip(used, tensors)]):
            return None
        recollection = _Recollection()
        recollection.plan = plan
        data = result._data
        recollection.sizes = data.shape
        recollection.strides = None if data.is_contiguous() else data.stride()
        recollection.attributes = result.__dict__.copy()
        recollection.attributes["_data"] = None  # or it would be kept alive
        return recollection
