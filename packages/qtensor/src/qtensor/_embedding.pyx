# cython: language_level=3, boundscheck=False, wraparound=False
"""Calls the C driver of csrc/embedding.h. Tensors come as addresses of dense memory, already
checked; the GIL is released while they are worked on."""

from libc.stdint cimport int64_t, uint8_t

from ._isa import ISA


cdef extern from "embedding.h" nogil:
    ctypedef struct elementwise_kernels:
        pass
    const elementwise_kernels elementwise_scalar
    const elementwise_kernels elementwise_avx2

    ctypedef struct quantized_table:
        const uint8_t *table
        const float *scales
        const float *zero_points
        int64_t rows, columns
        int bits

    ctypedef struct index_bags:
        const int64_t *indices
        const int64_t *offsets
        int64_t bags
        const float *weights
        int64_t padding
        int mean

    int64_t c_embedding_bag "embedding_bag"(const elementwise_kernels *, const quantized_table *,
                                            const index_bags *, float *, int)


cdef const elementwise_kernels *kernels = NULL


def use_isa(str name):
    """Choose the kernels of this instruction set for all calls from now on.

    Done once at import with ``_isa.ISA``. Tests call it to compare two in one process.
    """
    global kernels
    kernels = &elementwise_avx2 if name == "avx2" else &elementwise_scalar


use_isa(ISA)


def embedding_bag(size_t table, size_t scales, size_t zero_points, int64_t rows, int64_t columns,
                  int bits, size_t indices, size_t offsets, int64_t bags, size_t weights,
                  int64_t padding, bint mean, size_t output, int threads):
    """The position of the first index that is no row's, or -1. ``weights`` may be 0."""
    cdef quantized_table source = quantized_table(
        <const uint8_t *>table, <const float *>scales, <const float *>zero_points, rows, columns,
        bits)
    cdef index_bags wanted = index_bags(
        <const int64_t *>indices, <const int64_t *>offsets, bags, <const float *>weights, padding,
        mean)
    cdef int64_t bad
    with nogil:
        bad = c_embedding_bag(kernels, &source, &wanted, <float *>output, threads)
    return bad
