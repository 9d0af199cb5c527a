# cython: language_level=3, boundscheck=False, wraparound=False
"""Calls the C drivers of csrc/statistics.h. Tensors come as addresses of float32 memory with sizes
and strides, already checked; the GIL is released while they are read."""

from libc.stdint cimport int32_t, int64_t

from ._isa import ISA


cdef extern from "statistics.h" nogil:
    ctypedef struct statistics_kernels:
        pass
    const statistics_kernels statistics_scalar
    const statistics_kernels statistics_avx2

    enum: MAX_DIMENSIONS

    ctypedef struct value_range:
        float lowest, highest
        int64_t nonfinite

    ctypedef struct channel_ranges:
        float *lowest
        float *highest
        int64_t *nonfinite

    ctypedef struct dyadic_bins:
        int32_t exponent, first
        int64_t size

    ctypedef struct strided_tensor:
        const float *data
        int dimensions
        int64_t sizes[MAX_DIMENSIONS]
        int64_t strides[MAX_DIMENSIONS]

    value_range range_of(const statistics_kernels *, const strided_tensor *, int)
    void ranges_of_channels(const statistics_kernels *, const strided_tensor *, int,
                            const channel_ranges *, int)
    int count_values(const statistics_kernels *, const strided_tensor *, const dyadic_bins *,
                     int64_t *, value_range *, int)


cdef const statistics_kernels *kernels = NULL


def use_isa(str name):
    """Choose the kernels of this instruction set for all calls from now on.

    Done once at import with ``_isa.ISA``. Tests call it to compare two in one process.
    """
    global kernels
    kernels = &statistics_avx2 if name == "avx2" else &statistics_scalar


use_isa(ISA)


cdef strided_tensor tensor_of(size_t x, sizes, strides):
    cdef strided_tensor tensor
    cdef int d
    tensor.data = <const float *>x
    tensor.dimensions = len(sizes)
    for d in range(tensor.dimensions):
        tensor.sizes[d] = sizes[d]
        tensor.strides[d] = strides[d]
    return tensor


cdef write(value_range found, size_t lowest, size_t highest, size_t nonfinite):
    (<float *>lowest)[0] = found.lowest
    (<float *>highest)[0] = found.highest
    (<int64_t *>nonfinite)[0] = found.nonfinite


def aminmax(size_t x, sizes, strides, size_t lowest, size_t highest, size_t nonfinite,
            int threads):
    """Writes the bounds, float32, and how many values are not finite, int64."""
    cdef strided_tensor tensor = tensor_of(x, sizes, strides)
    cdef value_range found
    with nogil:
        found = range_of(kernels, &tensor, threads)
    write(found, lowest, highest, nonfinite)


def aminmax_per_channel(size_t x, sizes, strides, int axis, size_t lowest, size_t highest,
                        size_t nonfinite, int threads):
    """Writes a bound, float32, and a count, int64, for each channel."""
    cdef strided_tensor tensor = tensor_of(x, sizes, strides)
    cdef channel_ranges ranges = channel_ranges(<float *>lowest, <float *>highest,
                                                <int64_t *>nonfinite)
    with nogil:
        ranges_of_channels(kernels, &tensor, axis, &ranges, threads)


def count_bins(size_t x, sizes, strides, int32_t exponent, int32_t first, int64_t size,
               size_t counts, size_t lowest, size_t highest, size_t nonfinite, int threads):
    """Adds to the int64 counts, and writes what ``aminmax`` does."""
    cdef strided_tensor tensor = tensor_of(x, sizes, strides)
    cdef dyadic_bins bins = dyadic_bins(exponent, first, size)
    cdef value_range found
    cdef int ready
    with nogil:
        ready = count_values(kernels, &tensor, &bins, <int64_t *>counts, &found, threads)
    if not ready:
        raise MemoryError(f"no memory for {threads} histograms of {size} bins")
    write(found, lowest, highest, nonfinite)
