# cython: language_level=3
"""What csrc/blocks.h has: how tensors lie that kernels read block by block, and types of floats."""

from libc.stdint cimport int64_t

from ._calls cimport dlpack_tensor


cdef extern from "blocks.h" nogil:
    enum: MAX_DIMS

    ctypedef struct memory_layout:
        int dims
        int64_t sizes[MAX_DIMS]
        int64_t strides[MAX_DIMS]

    memory_layout merged(int dims, const int64_t *sizes, const int64_t *strides)

    ctypedef struct operand:
        const void *data
        const memory_layout *layout

    ctypedef struct float_format:
        pass
    const float_format half_scalar[3]
    const float_format half_avx2[3]

    ctypedef struct float_input:
        operand source "from"
        const float_format *format

    ctypedef struct float_output:
        void *data
        const float_format *format


cdef inline int too_many(int dims) except -1:
    raise ValueError(f"expected at most {MAX_DIMS} dimensions that cannot be merged, got a tensor "
                     f"of {dims}; make it contiguous")


cdef inline memory_layout in_order(const dlpack_tensor *x, int begin, int end) except *:
    """How these dimensions of a tensor lie, in their own order."""
    cdef memory_layout result = merged(end - begin, x.sizes + begin, x.strides + begin)
    if result.dims < 0:
        too_many(x.ndim)
    return result


cdef inline memory_layout layout_of(layout) except *:
    """``layout``: what ``layout_under`` returns."""
    cdef memory_layout result
    result.dims = 0
    if layout is not None:
        sizes, strides = layout
        if len(sizes) > MAX_DIMS:
            too_many(len(sizes))
        for size, stride in zip(sizes, strides):
            result.sizes[result.dims] = size
            result.strides[result.dims] = stride
            result.dims += 1
    return result
