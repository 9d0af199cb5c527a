# cython: language_level=3, boundscheck=False, wraparound=False
"""Calls the C driver of csrc/embedding.h. Tensors come as addresses of dense memory, already
checked; the GIL is released while they are worked on."""

from libc.stdint cimport int64_t, uint8_t

from ._isa import ISA


cdef extern from "embedding.h" nogil:
    ctypedef struct quantized_table:
        const uint8_t *table
        const float *scales
        const float *zero_points
        int64_t rows, columns
        int bits

    enum bag_mode:
        BAG_SUM
        BAG_MEAN
        BAG_MAX

    ctypedef struct index_bags:
        const int64_t *indices
        const int64_t *offsets
        int64_t count, offset_count, bags
        const float *weights
        int64_t padding
        bag_mode mode

    ctypedef void embedding_reduce(const quantized_table *, const index_bags *, int64_t, int64_t,
                                   int64_t, int64_t, float *)
    embedding_reduce embedding_reduce_scalar
    embedding_reduce embedding_reduce_avx2

    int64_t BAGS_DONE
    int64_t BAGS_BAD_OFFSETS
    int64_t c_embedding_bag "embedding_bag"(embedding_reduce *, const quantized_table *,
                                            const index_bags *, float *, int)


DONE, BAD_OFFSETS = BAGS_DONE, BAGS_BAD_OFFSETS
MODES = ("sum", "mean", "max")  # as bag_mode counts them

cdef embedding_reduce *reduce = NULL


def use_isa(str name):
    """Choose the kernels of this instruction set for all calls from now on.

    Done once at import with ``_isa.ISA``. Tests call it to compare two in one process.
    """
    global reduce
    reduce = embedding_reduce_avx2 if name == "avx2" else embedding_reduce_scalar


use_isa(ISA)


def embedding_bag(size_t table, size_t scales, size_t zero_points, int64_t rows, int64_t columns,
                  int bits, size_t indices, int64_t count, size_t offsets, int64_t offset_count,
                  int64_t bags, size_t weights, int64_t padding, int mode, size_t output,
                  int threads):
    """``DONE``; or having computed nothing, the position of the first index that is no row's, or
    ``BAD_OFFSETS``. ``weights`` may be 0."""
    cdef quantized_table source = quantized_table(
        <const uint8_t *>table, <const float *>scales, <const float *>zero_points, rows, columns,
        bits)
    cdef index_bags wanted = index_bags(
        <const int64_t *>indices, <const int64_t *>offsets, count, offset_count, bags,
        <const float *>weights, padding, <bag_mode>mode)
    cdef int64_t status
    with nogil:
        status = c_embedding_bag(reduce, &source, &wanted, <float *>output, threads)
    return status
