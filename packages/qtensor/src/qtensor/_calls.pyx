# cython: language_level=3
"""What every call of an operator asks, between Python and the kernel: may the kernel be called
directly, and is this call like one before? In Cython because it is asked so often. Tensors describe
themselves through DLPack, in a tenth of the time that asking for each property takes."""

import weakref

import torch
from torch import Tensor
from torch.nn import Parameter

from ._threads import num_threads

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport Py_TYPE, PyObject, PyTypeObject
from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.ref cimport Py_DECREF
from cpython.weakref cimport PyWeakref_GetObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

cdef extern from "Python.h":
    bint PyType_IsSubtype(PyTypeObject *, PyTypeObject *)

cdef extern from "pages.h" nogil:
    void expect_writes(void *, int64_t)

cdef extern from "dlpack.h" nogil:
    const uint32_t DLPACK_MAJOR
    const int32_t DLPACK_CPU
    const uint8_t DLPACK_UINT
    ctypedef struct dlpack_exchange:
        dlpack_version version
        int (*import_owned)(dlpack_owned *, void **) except -1
        int (*describe)(void *, dlpack_tensor *) except -1

cdef const dlpack_exchange *_torch = <const dlpack_exchange *>PyCapsule_GetPointer(
    Tensor.__dlpack_c_exchange_api__, "dlpack_exchange_api"
)
if _torch.version.major != DLPACK_MAJOR:
    raise ImportError(
        f"torch {torch.__version__} speaks DLPack {_torch.version.major}, this version of qtensor "
        f"DLPack {DLPACK_MAJOR}: install a newer one"
    )


cdef int describe(tensor, dlpack_tensor *described) except -1:
    """Raises for a tensor without memory of its own."""
    return _torch.describe(<void *>tensor, described)


cdef object _Tensor = Tensor, _Parameter = Parameter
cdef object _grad_enabled = torch.is_grad_enabled
cdef object _dispatch_modes = torch._C._len_torch_dispatch_stack
cdef object _forward_ad = torch.autograd.forward_ad
cdef object _functorch_level = torch._C._functorch.peek_interpreter_stack
cdef object _included = torch._C._dispatch_tls_is_dispatch_key_included
# make_fx(pre_dispatch=True) keeps a stack of its own.
cdef object _PRE_DISPATCH = torch._C.DispatchKey.PreDispatch


# ---- may the kernel be called directly? ---------------------------------------------------------


cpdef bint unobserved() except -1:
    """Whether no mode, tracer or transform of torch wants to see operators now."""
    if _forward_ad._current_level >= 0:  # within dual_level()
        return False
    return not _dispatch_modes() and _functorch_level() is None and not _included(_PRE_DISPATCH)


cpdef bint readable(objects) except -1:
    """Whether kernels may read the memory of every tensor among these objects, or in their lists,
    and none needs a gradient."""
    cdef dlpack_tensor described
    for x in objects:
        if _is_tensor(x):
            if not readable_one(x, &described):
                return False
        elif isinstance(x, (list, tuple)) and not readable(x):
            return False
    return True


cdef inline bint _is_tensor(x) noexcept:
    """``isinstance(x, Tensor)``, which would ask the metaclass of torch's tensors every time."""
    return PyType_IsSubtype(Py_TYPE(x), <PyTypeObject *>_Tensor)


cdef bint readable_one(x, dlpack_tensor *described) except -1:
    """Describes a tensor; returns whether it is :func:`readable`."""
    kind = type(x)
    if kind is not _Tensor and kind is not _Parameter:  # it may hold no memory of its own
        return False
    try:
        describe(x, described)
    except Exception:  # sparse, or a mode's, or of a dtype that only torch knows
        return False
    if described.device_type != DLPACK_CPU:
        return False
    if described.code <= DLPACK_UINT:
        return True
    # What is not an integer may need a gradient, or be negated as it is read.
    return not x.is_neg() and not (x.requires_grad and _grad_enabled())


# ---- is this call like one before? --------------------------------------------------------------

cdef enum:
    _FEW = 4  # tensors whose descriptions fit on the stack
    _MOST_PLANS = 4096  # of an operator; shapes may be new in every call
    _ALIGNMENT = 64  # of memory, as torch's own


cdef class Kernel:
    def __cinit__(self):
        self.copied = ()

    cdef bint sound(self, const dlpack_tensor *inputs) noexcept nogil:
        """Whether these tensors hold what they may hold; else ``refuse`` raises, given them."""
        return True

    cdef void run(self, const dlpack_tensor *inputs, void *output, int threads) noexcept nogil:
        pass


cdef class Prepared:
    """An operator's CPU function, which checks only calls that are unlike all before.

    Two calls are alike if their tensors agree in dtypes, sizes and strides, and all else is equal.
    What they have in common, a kernel and the layout of its output, is made once and remembered.

    Args:
        fake: takes the operator's arguments, raises unless they are as it wants them, and returns
            an output that nothing was written to.
        kernel: takes that output and the arguments, and returns the :class:`Kernel` that fills an
            output like it from tensors like theirs. Its ``copied`` may hold, for each tensor,
            ``None`` or one of the layout and dtype to which it is copied first.
    """

    def __init__(self, fake, kernel):
        self._fake, self._kernel, self._plans = fake, kernel, {}

    def __call__(self, *args):
        """For torch's dispatcher, which sees to modes and gradients itself."""
        return self.run(args, False)

    cdef run(self, tuple args, bint doubtful):
        """The result; if it is doubtful whether kernels may read all tensors, perhaps ``None``."""
        cdef list tensors = [], key = []
        cdef dlpack_tensor few[_FEW]
        cdef dlpack_tensor *described = few
        cdef Py_ssize_t i, count
        _gather(args, tensors, key)
        count = len(tensors)
        if count > _FEW:
            described = <dlpack_tensor *>PyMem_Malloc(count * sizeof(dlpack_tensor))
        try:
            for i in range(count):
                if doubtful and not readable_one(tensors[i], &described[i]):
                    return None
                if not doubtful:
                    describe(tensors[i], &described[i])
            key.append(layouts(described, count))
            known = tuple(key)
            plan = self._plans.get(known)
            if plan is None:
                plan = self._remember(known, args)
            return (<Plan>plan).run(tensors, described)
        finally:
            if described != few:
                PyMem_Free(described)

    cdef Plan plan_of(self, tuple args, list tensors):
        """How this call runs, and into ``tensors`` those among its arguments, which are readable."""
        cdef list key = []
        cdef dlpack_tensor *described
        _gather(args, tensors, key)
        cdef Py_ssize_t i, count = len(tensors)
        described = <dlpack_tensor *>PyMem_Malloc(count * sizeof(dlpack_tensor))
        try:
            for i in range(count):
                describe(tensors[i], &described[i])
            key.append(layouts(described, count))
        finally:
            PyMem_Free(described)
        known = tuple(key)
        plan = self._plans.get(known)
        return self._remember(known, args) if plan is None else plan

    cdef Plan _remember(self, tuple key, tuple args):
        output = self._fake(*args)
        plan = Plan(self._kernel(output, *args), output)
        if len(self._plans) >= _MOST_PLANS:
            self._plans.clear()
        self._plans[key] = plan
        return plan


cdef int _gather(objects, list tensors, list key) except -1:
    """Separates the tensors among these objects from what can be compared by value."""
    for x in objects:
        if _is_tensor(x):
            tensors.append(x)
            key.append(_Tensor)
        elif isinstance(x, (list, tuple)) and x and _is_tensor(x[0]):
            items = []
            _gather(x, tensors, items)
            key.append(tuple(items))
        else:
            key.append(tuple(x) if isinstance(x, list) else x)
    return 0


cdef bytes layouts(const dlpack_tensor *described, Py_ssize_t count):
    """The dtypes, sizes and strides of some tensors."""
    cdef Py_ssize_t i, words = 0
    cdef const dlpack_tensor *x
    for i in range(count):
        words += 1 + 2 * described[i].ndim
    cdef bytes layouts = PyBytes_FromStringAndSize(NULL, words * sizeof(int64_t))
    cdef int64_t *word = <int64_t *>PyBytes_AS_STRING(layouts)
    for i in range(count):
        x = &described[i]
        word[0] = <int64_t>x.ndim << 16 | x.code << 8 | x.bits
        memcpy(word + 1, x.sizes, x.ndim * sizeof(int64_t))
        memcpy(word + 1 + x.ndim, x.strides, x.ndim * sizeof(int64_t))
        word += 1 + 2 * x.ndim
    return layouts


cdef class Plan:
    def __cinit__(self, Kernel kernel, output):
        self._kernel = kernel
        self._copies = any([like is not None for like in kernel.copied])
        self._output = Layout(output)

    cdef run(self, list tensors, dlpack_tensor *inputs):
        """A new output, computed from these tensors."""
        cdef int threads = num_threads()
        if self._copies:
            self._copy(tensors, inputs)
        if not self._kernel.sound(inputs):
            self._kernel.refuse(*tensors)
        cdef dlpack_owned *owned = self._output.allocate()
        cdef void *output = owned.tensor.data
        with nogil:
            self._kernel.run(inputs, output, threads)
        return _imported(owned)

    cdef int _copy(self, list tensors, dlpack_tensor *inputs) except -1:
        """Replaces tensors by copies where the kernel wants another layout or dtype."""
        for i, like in enumerate(self._kernel.copied):
            if like is not None:
                tensors[i] = torch.empty_like(like, device="cpu").copy_(tensors[i])
                describe(tensors[i], &inputs[i])
        return 0


# ---- is it the last call with this weight? ------------------------------------------------------


cdef class Seen:
    """A tensor as it was, without keeping it alive.

    Inference tensors have no version, so their contents are kept and compared.
    """

    cdef object _tensor, _version, _contents
    cdef uintptr_t _pointer
    cdef bint _differentiable

    def __init__(self, tensor):
        self._tensor = weakref.ref(tensor)
        self._pointer = tensor.data_ptr()
        self._differentiable = tensor.is_floating_point()
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

    cdef bint needs_gradient(self, tensor):
        return self._differentiable and tensor.requires_grad and _grad_enabled()


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

    cpdef bint match(self, tuple arguments):
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

    cdef bint readable(self, tuple arguments) except -1:
        """:func:`readable`, of arguments that match: only what may differ is asked about."""
        cdef dlpack_tensor described
        cdef Py_ssize_t i
        for i in range(len(self._values)):
            value, given = self._values[i], arguments[i]
            if type(value) is Seen:
                if (<Seen>value).needs_gradient(given):
                    return False
            elif _is_tensor(given) and not readable_one(given, &described):
                return False
        return True


cdef class Weighted:
    """An operator's CPU function that checks its weight, and most else, when they change.

    Args:
        prepare: see ``weighted_operator``.
        cache_of: from the weight to where to remember the last call, if none is given.
        defaults: of the arguments.
        weight: the position of the weight among them.
        varying: the positions of tensors that differ from call to call.
    """

    cdef object _prepare, _cache_of
    cdef tuple _defaults, _varying
    cdef Py_ssize_t _weight

    def __init__(self, prepare, cache_of, tuple defaults, Py_ssize_t weight, tuple varying):
        self._prepare, self._cache_of = prepare, cache_of
        self._defaults, self._weight, self._varying = defaults, weight, varying

    def __call__(self, *args):
        """For torch's dispatcher."""
        return self.run(args, None, False)

    cdef run(self, tuple args, cache, bint doubtful):
        """As ``Prepared.run``."""
        if len(args) < len(self._defaults):
            args += self._defaults[len(args):]
        if cache is None:
            cache = self._cache_of(args[self._weight])
        call = cache.last_call
        if call is None or call[0] is not self._prepare or not (<Arguments>call[1]).match(args):
            if doubtful and not readable(args):
                return None
            call = cache.prepare(self._prepare, args, self._varying)
        elif doubtful and not (<Arguments>call[1]).readable(args):
            return None
        return call[2](args)


# ---- what operators are called by --------------------------------------------------------------


cdef class Eager:
    """Runs an operator's CPU function where nobody else needs to see the call.

    Args:
        cpu: takes the operator's arguments.
        otherwise: what to call instead.
    """

    cdef object _cpu, _otherwise

    def __init__(self, cpu, otherwise):
        self._cpu, self._otherwise = cpu, otherwise

    def __call__(self, tuple args, dict named, cache):
        result = None
        if unobserved():
            if type(self._cpu) is Prepared:
                result = (<Prepared>self._cpu).run(args, True)
            elif type(self._cpu) is Weighted:
                result = (<Weighted>self._cpu).run(args, cache, True)
            elif readable(args):
                return self._cpu(*args, **named)
            if result is not None:
                return result
        return self._otherwise(*args, **named)


# ---- outputs ------------------------------------------------------------------------------------


cdef class Layout:
    """The dtype, sizes and strides of a tensor, to make others like it in half of torch's time."""

    def __cinit__(self, tensor):
        cdef dlpack_tensor x
        describe(tensor, &x)
        cdef size_t dims = x.ndim * sizeof(int64_t)
        self._described = sizeof(dlpack_owned) + 2 * dims
        self._size = tensor.untyped_storage().nbytes()
        self._owned = <dlpack_owned *>PyMem_Malloc(self._described)
        if self._owned == NULL:
            raise MemoryError()
        memset(self._owned, 0, sizeof(dlpack_owned))
        self._owned.version = _torch.version
        self._owned.deleter = _free
        self._owned.tensor = x
        memcpy(self._owned + 1, x.sizes, dims)
        memcpy(<char *>(self._owned + 1) + dims, x.strides, dims)

    def __dealloc__(self):
        PyMem_Free(self._owned)

    def new(self):
        """A tensor like it, which nothing was written to."""
        return _imported(self.allocate())

    cdef dlpack_owned *allocate(self) except NULL:
        """A tensor's description, with its memory behind it."""
        # Not posix_memalign, which cuts its blocks out of larger ones and so takes far longer.
        cdef void *memory = malloc(self._described + _ALIGNMENT - 1 + self._size)
        if memory == NULL:
            raise MemoryError(f"not enough memory for an output of {self._size} bytes")
        expect_writes(memory, self._size)
        memcpy(memory, self._owned, self._described)
        cdef dlpack_owned *owned = <dlpack_owned *>memory
        owned.tensor.sizes = <int64_t *>(owned + 1)
        owned.tensor.strides = owned.tensor.sizes + owned.tensor.ndim
        cdef uintptr_t end = <uintptr_t>memory + self._described
        cdef uintptr_t data = (end + _ALIGNMENT - 1) // _ALIGNMENT * _ALIGNMENT
        owned.tensor.data = <void *>data if self._size else NULL
        return owned


cdef void _free(dlpack_owned *owned) noexcept nogil:
    free(owned)


cdef _imported(dlpack_owned *owned):
    """The tensor, which owns its memory."""
    cdef void *result
    _torch.import_owned(owned, &result)
    tensor = <object>result
    Py_DECREF(tensor)  # it came with a reference of its own
    return tensor


cdef class ByLayout:
    """Remembers what follows from the dtype, sizes and strides of a tensor, such as the
    :class:`Layout` of an output.

    Args:
        make: takes a tensor and returns that; called for each new layout only.
    """

    cdef object _make
    cdef dict _known

    def __init__(self, make):
        self._make, self._known = make, {}

    def of(self, tensor):
        """What ``make`` returned for a tensor like this."""
        cdef dlpack_tensor described
        describe(tensor, &described)
        key = layouts(&described, 1)
        made = self._known.get(key)
        if made is None:
            if len(self._known) >= _MOST_PLANS:
                self._known.clear()
            made = self._known[key] = self._make(tensor)
        return made


cdef object _make_wrapper = Tensor._make_wrapper_subclass
cdef object _float32 = torch.float32, _strided = torch.strided


def wrap(kind, data, dict attributes):
    """A tensor of a wrapper subclass, float32 to others, of the layout of ``data``."""
    cdef dlpack_tensor x
    if readable_one(data, &x):  # then most of what describes a wrapper are the defaults
        strides = None if _is_contiguous(&x) else data.stride()
        return wrapper(kind, data.shape, strides, attributes)
    wrapped = _make_wrapper(
        kind, data.shape, data.stride(), None, None, _float32, _strided, data.device
    )
    wrapped.__dict__ = attributes
    return wrapped


cdef wrapper(kind, sizes, strides, dict attributes):
    """A wrapper for a tensor of the CPU; ``strides`` may be ``None`` where it is contiguous."""
    wrapped = _make_wrapper(kind, sizes, strides, None, None, _float32)
    wrapped.__dict__ = attributes
    return wrapped


cdef bint _is_contiguous(const dlpack_tensor *x) noexcept:
    cdef int64_t step = 1
    cdef int i
    for i in range(x.ndim - 1, -1, -1):
        if x.strides[i] != step:
            return False
        step *= x.sizes[i]
    return True
