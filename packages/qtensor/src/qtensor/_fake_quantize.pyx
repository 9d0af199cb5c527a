# cython: language_level=3, boundscheck=False, wraparound=False
"""Calls the C drivers of csrc/fake_quantize.h. Tensors come as addresses of dense memory, already
checked; the GIL is released while they are worked on.

``layout`` is (outer, channels, inner), the addresses of scales and of three kinds of zero points,
quant_min and quant_max: the fields of ``fake_quantize_layout``, in order. What takes one returns
whether its scales and zero points can be computed with; else it has done nothing."""

from libc.stdint cimport int32_t, int64_t

from ._isa import ISA


cdef extern from "fake_quantize.h" nogil:
    ctypedef struct fake_quantize_kernels:
        pass
    const fake_quantize_kernels fake_quantize_scalar
    const fake_quantize_kernels fake_quantize_avx2

    ctypedef struct fake_quantize_layout:
        int64_t outer, channels, inner
        const float *scales
        const int32_t *zero_points
        const int64_t *wide_zero_points
        const float *real_zero_points
        int64_t quant_min, quant_max

    ctypedef enum status "enum fake_quantize_status":
        FAKE_QUANTIZE_DONE
        FAKE_QUANTIZE_NO_MEMORY

    status fake_quantize_forward(const fake_quantize_kernels *, const float *, float *,
                              const fake_quantize_layout *, int)
    status fake_quantize_backward(const fake_quantize_kernels *, const float *, const float *,
                               float *, const fake_quantize_layout *, int)
    status fake_quantize_learn(const fake_quantize_kernels *, const float *, const float *, float *,
                            float *, float *, double, const fake_quantize_layout *, int)


cdef const fake_quantize_kernels *kernels = NULL


def use_isa(str name):
    """Choose the kernels of this instruction set for all calls from now on.

    Done once at import with ``_isa.ISA``. Tests call it to compare two in one process.
    """
    global kernels
    kernels = &fake_quantize_avx2 if name == "avx2" else &fake_quantize_scalar


use_isa(ISA)


cdef fake_quantize_layout layout_of(fields):
    shape, scales, zero_points, wide_zero_points, real_zero_points, quant_min, quant_max = fields
    outer, channels, inner = shape
    return fake_quantize_layout(outer, channels, inner, <const float *><size_t>scales,
                                <const int32_t *><size_t>zero_points,
                                <const int64_t *><size_t>wide_zero_points,
                                <const float *><size_t>real_zero_points, quant_min, quant_max)


cdef bint done(status result):
    if result == FAKE_QUANTIZE_NO_MEMORY:
        raise MemoryError
    return result == FAKE_QUANTIZE_DONE


def forward(size_t x, size_t y, layout, int threads):
    cdef fake_quantize_layout fields = layout_of(layout)
    cdef status result
    with nogil:
        result = fake_quantize_forward(kernels, <const float *>x, <float *>y, &fields, threads)
    return done(result)


def backward(size_t grad, size_t x, size_t grad_x, layout, int threads):
    cdef fake_quantize_layout fields = layout_of(layout)
    cdef status result
    with nogil:
        result = fake_quantize_backward(kernels, <const float *>grad, <const float *>x,
                                        <float *>grad_x, &fields, threads)
    return done(result)


def learn(size_t grad, size_t x, size_t grad_x, size_t grad_scale, size_t grad_zero_point,
          double grad_factor, layout, int threads):
    cdef fake_quantize_layout fields = layout_of(layout)
    cdef status result
    with nogil:
        result = fake_quantize_learn(kernels, <const float *>grad, <const float *>x,
                                     <float *>grad_x, <float *>grad_scale,
                                     <float *>grad_zero_point, grad_factor, &fields, threads)
    return done(result)
