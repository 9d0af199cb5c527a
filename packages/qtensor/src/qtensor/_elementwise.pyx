# cython: language_level=3, boundscheck=False, wraparound=False
"""Calls the C drivers of csrc/elementwise.h. Tensors come as addresses of dense memory, already
checked; the GIL is released while they are worked on."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from ._isa import ISA


cdef extern from "elementwise.h" nogil:
    ctypedef struct elementwise_kernels:
        pass
    const elementwise_kernels elementwise_scalar
    const elementwise_kernels elementwise_avx2

    ctypedef enum element_type "enum element_type":
        pass

    ctypedef struct channel_layout:
        int64_t outer, channels, inner
        const float *scales
        const int64_t *zero_points
        const float *real_zero_points

    ctypedef struct add_params:
        float a_multiplier, b_multiplier, lo, hi
        int32_t a_zero_point, b_zero_point, zero_point

    void quantize_tensor(const elementwise_kernels *, const float *, void *, element_type,
                         const channel_layout *, int64_t, int64_t, int)
    void dequantize_tensor(const elementwise_kernels *, const void *, float *, element_type,
                           const channel_layout *, int)
    void add_tensors(const elementwise_kernels *, const uint8_t *, const uint8_t *, uint8_t *,
                     element_type, int64_t, const add_params *, int)
    int64_t c_embedding_lookup "embedding_lookup"(
        const elementwise_kernels *, const uint8_t *, const float *, const float *, int64_t,
        int64_t, const int64_t *, int64_t, float *, int)


cdef const elementwise_kernels *kernels = NULL


def use_isa(str name):
    """Choose the kernels of this instruction set for all calls from now on.

    Done once at import with ``_isa.ISA``. Tests call it to compare two in one process.
    """
    global kernels
    kernels = &elementwise_avx2 if name == "avx2" else &elementwise_scalar


use_isa(ISA)


def quantize_per_tensor(size_t x, size_t q, int element, int64_t n, float scale,
                        int64_t zero_point, int64_t quant_min, int64_t quant_max, int threads):
    cdef channel_layout layout = channel_layout(1, 1, n, &scale, &zero_point, NULL)
    with nogil:
        quantize_tensor(kernels, <const float *>x, <void *>q, <element_type>element, &layout,
                        quant_min, quant_max, threads)


def dequantize_per_tensor(size_t q, size_t x, int element, int64_t n, float scale,
                          int64_t zero_point, int threads):
    cdef channel_layout layout = channel_layout(1, 1, n, &scale, &zero_point, NULL)
    with nogil:
        dequantize_tensor(kernels, <const void *>q, <float *>x, <element_type>element, &layout,
                          threads)


cdef channel_layout layout_of(shape, size_t scales, size_t zero_points, size_t real_zero_points):
    outer, channels, inner = shape
    return channel_layout(outer, channels, inner, <const float *>scales,
                          <const int64_t *>zero_points, <const float *>real_zero_points)


def quantize_per_channel(size_t x, size_t q, int element, shape, size_t scales,
                         size_t zero_points, size_t real_zero_points, int64_t quant_min,
                         int64_t quant_max, int threads):
    """``shape``: outer, channels, inner. One of the zero point addresses is 0, for none."""
    cdef channel_layout layout = layout_of(shape, scales, zero_points, real_zero_points)
    with nogil:
        quantize_tensor(kernels, <const float *>x, <void *>q, <element_type>element, &layout,
                        quant_min, quant_max, threads)


def dequantize_per_channel(size_t q, size_t x, int element, shape, size_t scales,
                           size_t zero_points, size_t real_zero_points, int threads):
    cdef channel_layout layout = layout_of(shape, scales, zero_points, real_zero_points)
    with nogil:
        dequantize_tensor(kernels, <const void *>q, <float *>x, <element_type>element, &layout,
                          threads)


def add(size_t a, size_t b, size_t out, int element, int64_t n, float a_multiplier,
        int32_t a_zero_point, float b_multiplier, int32_t b_zero_point, int32_t zero_point,
        float lo, float hi, int threads):
    cdef add_params params = add_params(a_multiplier, b_multiplier, lo, hi, a_zero_point,
                                        b_zero_point, zero_point)
    with nogil:
        add_tensors(kernels, <const uint8_t *>a, <const uint8_t *>b, <uint8_t *>out,
                    <element_type>element, n, &params, threads)


def embedding_lookup(size_t table, size_t scales, size_t zero_points, int64_t rows,
                     int64_t columns, size_t indices, int64_t n, size_t output, int threads):
    """The position of the first index that is out of range, or -1 and the output is written."""
    cdef int64_t bad
    with nogil:
        bad = c_embedding_lookup(kernels, <const uint8_t *>table, <const float *>scales,
                                 <const float *>zero_points, rows, columns,
                                 <const int64_t *>indices, n, <float *>output, threads)
    return bad
