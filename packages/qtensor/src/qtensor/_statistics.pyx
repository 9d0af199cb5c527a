# cython: language_level=3, boundscheck=False, wraparound=False
"""Calls the C drivers of csrc/statistics.h and csrc/running_range.h. Tensors come as a code of
their type out of ``FLOAT``, an address, sizes and strides, already checked; the GIL is released
while they are read."""

from libc.stdint cimport int32_t, int64_t

from ._isa import ISA

from ._blocks cimport float_format, half_avx2, half_scalar


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
        const void *data
        const float_format *format
        int dimensions
        int64_t sizes[MAX_DIMENSIONS]
        int64_t strides[MAX_DIMENSIONS]

    value_range range_of(const statistics_kernels *, const strided_tensor *, int)
    void ranges_of_channels(const statistics_kernels *, const strided_tensor *, int,
                            const channel_ranges *, int)
    void ranges_of_rows(const statistics_kernels *, const strided_tensor *, const channel_ranges *,
                        int)
    int count_values(const statistics_kernels *, const strided_tensor *, const dyadic_bins *,
                     int64_t *, value_range *, int)

cdef extern from "running_range.h" nogil:
    ctypedef struct running_range:
        float *min
        float *max
        int averaged
        float constant

    ctypedef enum range_scheme "enum range_scheme":
        pass

    ctypedef struct range_rule:
        range_scheme scheme
        int64_t quant_min, quant_max, zero_point
        float eps
        int power_of_two

    ctypedef struct range_parameters:
        float *scale
        int32_t *zero_points
        int64_t *wide_zero_points
        float *real_zero_points

    int64_t c_observe_range "observe_range"(const statistics_kernels *, const strided_tensor *, int,
                                            const running_range *, int)
    int c_affine_parameters "affine_parameters"(const float *, const float *, int64_t,
                                                const range_rule *, const range_parameters *)


cdef const statistics_kernels *kernels = NULL
cdef const float_format *formats = NULL


def use_isa(str name):
    """Choose the kernels of this instruction set for all calls from now on.

    Done once at import with ``_isa.ISA``. Tests call it to compare two in one process.
    """
    global kernels, formats
    formats = &half_avx2[0] if name == "avx2" else &half_scalar[0]
    kernels = &statistics_avx2 if name == "avx2" else &statistics_scalar


use_isa(ISA)


cdef strided_tensor tensor_of(int type, size_t x, sizes, strides):
    cdef strided_tensor tensor
    cdef int d
    tensor.data, tensor.format = <const void *>x, &formats[type]
    tensor.dimensions = len(sizes)
    for d in range(tensor.dimensions):
        tensor.sizes[d] = sizes[d]
        tensor.strides[d] = strides[d]
    return tensor


cdef write(value_range found, size_t lowest, size_t highest, size_t nonfinite):
    (<float *>lowest)[0] = found.lowest
    (<float *>highest)[0] = found.highest
    (<int64_t *>nonfinite)[0] = found.nonfinite


def aminmax(int type, size_t x, sizes, strides, size_t lowest, size_t highest, size_t nonfinite,
            int threads):
    """Writes the bounds, float32, and how many values are not finite, int64."""
    cdef strided_tensor tensor = tensor_of(type, x, sizes, strides)
    cdef value_range found
    with nogil:
        found = range_of(kernels, &tensor, threads)
    write(found, lowest, highest, nonfinite)


def aminmax_per_row(int type, size_t x, sizes, strides, size_t lowest, size_t highest,
                    size_t nonfinite, int threads):
    """Writes a bound, float32, and a count, int64, for each row of the last dimension."""
    cdef strided_tensor tensor = tensor_of(type, x, sizes, strides)
    cdef channel_ranges ranges = channel_ranges(<float *>lowest, <float *>highest,
                                                <int64_t *>nonfinite)
    with nogil:
        ranges_of_rows(kernels, &tensor, &ranges, threads)


def aminmax_per_channel(int type, size_t x, sizes, strides, int axis, size_t lowest,
                        size_t highest, size_t nonfinite, int threads):
    """Writes a bound, float32, and a count, int64, for each channel."""
    cdef strided_tensor tensor = tensor_of(type, x, sizes, strides)
    cdef channel_ranges ranges = channel_ranges(<float *>lowest, <float *>highest,
                                                <int64_t *>nonfinite)
    with nogil:
        ranges_of_channels(kernels, &tensor, axis, &ranges, threads)


def count_bins(int type, size_t x, sizes, strides, int32_t exponent, int32_t first, int64_t size,
               size_t counts, size_t lowest, size_t highest, size_t nonfinite, int threads):
    """Adds to the int64 counts, and writes what ``aminmax`` does."""
    cdef strided_tensor tensor = tensor_of(type, x, sizes, strides)
    cdef dyadic_bins bins = dyadic_bins(exponent, first, size)
    cdef value_range found
    cdef int ready
    with nogil:
        ready = count_values(kernels, &tensor, &bins, <int64_t *>counts, &found, threads)
    if not ready:
        raise MemoryError(f"no memory for {threads} histograms of {size} bins")
    write(found, lowest, highest, nonfinite)


def observe_range(int type, size_t x, sizes, strides, int axis, size_t minimum, size_t maximum,
                  averaging_constant, int threads):
    """Moves float32 bounds, one for each index of ``axis`` or one in all if that is -1; returns how
    many values are not finite. The constant is ``None`` to join ranges."""
    cdef strided_tensor tensor = tensor_of(type, x, sizes, strides)
    cdef running_range range = running_range(<float *>minimum, <float *>maximum,
                                             averaging_constant is not None,
                                             averaging_constant or 0.0)
    cdef int64_t dropped
    with nogil:
        dropped = c_observe_range(kernels, &tensor, axis, &range, threads)
    if dropped < 0:
        raise MemoryError
    return dropped


def affine_parameters(size_t minimum, size_t maximum, int64_t channels, rule, size_t scale,
                      size_t zero_points, size_t wide_zero_points, size_t real_zero_points):
    """Writes float32 scales, and the zero points whose address is not 0. ``rule`` has the fields of
    ``range_rule``, in order. Returns whether the ranges are ones; else nothing is written."""
    scheme, quant_min, quant_max, zero_point, eps, power_of_two = rule
    cdef range_rule fields = range_rule(<range_scheme><int>scheme, quant_min, quant_max, zero_point,
                                        eps, power_of_two)
    cdef range_parameters parameters = range_parameters(
        <float *>scale, <int32_t *>zero_points, <int64_t *>wide_zero_points,
        <float *>real_zero_points)
    return bool(c_affine_parameters(<const float *>minimum, <const float *>maximum, channels,
                                    &fields, &parameters))
