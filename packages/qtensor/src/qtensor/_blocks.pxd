# cython: language_level=3
"""What csrc/blocks.h has: how tensors lie that kernels read block by block, and types of floats."""

from libc.stdint cimport int64_t


cdef extern from "blocks.h" nogil:
    enum: MAX_DIMS

    ctypedef struct memory_layout:
        int dims
        int64_t sizes[MAX_DIMS]
        int64_t strides[MAX_DIMS]

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


cdef inline memory_layout layout_of(layout) except *:
    """``layout``: what ``layout_under`` returns."""
    cdef memory_layout result
    result.dims = 0
    if layout is not None:
        sizes, strides = layout
        if len(sizes) > MAX_DIMS:
            raise ValueError(f"expected at most {MAX_DIMS} dimensions that cannot be merged, got "
                             f"{len(sizes)}; make the tensor contiguous")
        for size, stride in zip(sizes, strides):
            result.sizes[result.dims] = size
            result.strides[result.dims] = stride
            result.dims += 1
    return result
