# cython: language_level=3, boundscheck=False, wraparound=False
"""Calls the C drivers of csrc/pool.h. Tensors come as addresses of dense memory, already checked;
the GIL is released while they are worked on."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from ._isa import ISA


cdef extern from "pool.h" nogil:
    ctypedef struct pool_kernels:
        pass
    const pool_kernels pool_scalar
    const pool_kernels pool_avx2

    ctypedef enum element_type "enum element_type":
        pass

    ctypedef struct pool_axis:
        int64_t input, output, kernel, stride, padding, dilation

    void c_max_pool "max_pool"(
        const pool_kernels *, const uint8_t *, uint8_t *, element_type, int64_t, int64_t,
        const pool_axis *, const pool_axis *, int)
    void c_mean_pool "mean_pool"(
        const pool_kernels *, const uint8_t *, uint8_t *, element_type, int64_t, int64_t,
        const pool_axis *, const pool_axis *, int32_t, int, int64_t, int)


cdef const pool_kernels *kernels = NULL


def use_isa(str name):
    """Choose the kernels of this instruction set for all calls from now on.

    Done once at import with ``_isa.ISA``. Tests call it to compare two in one process.
    """
    global kernels
    kernels = &pool_avx2 if name == "avx2" else &pool_scalar


use_isa(ISA)


cdef pool_axis axis_of(values):
    size, output, kernel, stride, padding, dilation = values
    return pool_axis(size, output, kernel, stride, padding, dilation)


def max_pool(size_t input, size_t output, int element, int64_t batch, int64_t channels,
             height, width, int threads):
    """``height``, ``width``: the fields of ``pool_axis``, in order."""
    cdef pool_axis y = axis_of(height), x = axis_of(width)
    with nogil:
        c_max_pool(kernels, <const uint8_t *>input, <uint8_t *>output, <element_type>element,
                   batch, channels, &y, &x, threads)


def mean_pool(size_t input, size_t output, int element, int64_t batch, int64_t channels,
              height, width, int32_t zero_point, bint count_padding, int64_t divisor_override,
              int threads):
    cdef pool_axis y = axis_of(height), x = axis_of(width)
    with nogil:
        c_mean_pool(kernels, <const uint8_t *>input, <uint8_t *>output, <element_type>element,
                    batch, channels, &y, &x, zero_point, count_padding, divisor_override,
                    threads)
