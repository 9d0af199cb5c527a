from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t


cdef extern from "dlpack.h" nogil:
    ctypedef struct dlpack_tensor:
        void *data
        int32_t device_type, ndim
        uint8_t code, bits
        int64_t *sizes
        int64_t *strides


cdef int describe(tensor, dlpack_tensor *described) except -1


cdef class Kernel:
    """A compiled function with all that it takes, except for the tensors it reads and writes.

    Made once for many calls, of any number of threads at a time.
    """

    cdef public tuple copied
    cdef void run(self, const dlpack_tensor *inputs, void *output, int threads) noexcept nogil
