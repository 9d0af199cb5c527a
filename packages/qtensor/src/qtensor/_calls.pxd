from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t


cdef extern from "dlpack.h" nogil:
    ctypedef struct dlpack_tensor:
        void *data
        int32_t device_type, ndim
        uint8_t code, bits
        int64_t *sizes
        int64_t *strides
    ctypedef struct dlpack_version:
        uint32_t major, minor
    ctypedef struct dlpack_owned:
        dlpack_version version
        void (*deleter)(dlpack_owned *) noexcept nogil
        dlpack_tensor tensor


cdef int describe(tensor, dlpack_tensor *described) except -1


cdef class Kernel:
    """A compiled function with all that it takes, except for the tensors it reads and writes.

    Made once for many calls, of any number of threads at a time.
    """

    cdef public tuple copied
    cdef public object refuse
    cdef bint sound(self, const dlpack_tensor *inputs) noexcept nogil
    cdef void run(self, const dlpack_tensor *inputs, void *output, int threads) noexcept nogil


cpdef bint unobserved() except -1


cdef bint readable_one(x, dlpack_tensor *described) except -1


cdef bytes layouts(const dlpack_tensor *described, Py_ssize_t count)


cdef class Layout:
    cdef dlpack_owned *_owned  # a description; the sizes and strides lie behind it
    cdef size_t _described, _size  # bytes: of all that, and of a tensor's memory
    cdef dlpack_owned *allocate(self) except NULL


cdef class Plan:
    """How calls that are alike run."""

    cdef Kernel _kernel
    cdef bint _copies
    cdef Layout _output
    cdef run(self, list tensors, dlpack_tensor *inputs)
    cdef int _copy(self, list tensors, dlpack_tensor *inputs) except -1


cdef class Prepared:
    cdef object _fake, _kernel
    cdef dict _plans
    cdef run(self, tuple args, bint doubtful)
    cdef Plan plan_of(self, tuple args, list tensors)
    cdef Plan _remember(self, tuple key, tuple args)


cdef wrapper(kind, sizes, strides, dict attributes)
