# cython: language_level=3, boundscheck=False, wraparound=False
"""Calls the C driver of csrc/requantize.h. Tensors come as addresses of dense memory, already
checked; the GIL is released while they are worked on."""

from libc.stdint cimport int64_t

from ._isa import ISA


cdef extern from "requantize.h" nogil:
    ctypedef struct requantize_layout:
        int64_t outer, channels, inner
        const void *ratios
        const void *zero_points
        const void *output_zero_points
        double quant_min, quant_max
        int input, output

    ctypedef void requantize_kernel(const void *, int64_t, int64_t)
    requantize_kernel requantize_scalar, requantize_avx2

    void requantize_channels(requantize_kernel *, const void *, void *, const requantize_layout *,
                             int)


cdef requantize_kernel *kernel = NULL


def use_isa(str name):
    """Choose the kernels of this instruction set for all calls from now on.

    Done once at import with ``_isa.ISA``. Tests call it to compare two in one process.
    """
    global kernel
    kernel = requantize_avx2 if name == "avx2" else requantize_scalar


use_isa(ISA)


def requantize(size_t q, size_t out, shape, size_t ratios, size_t zero_points,
               size_t output_zero_points, double quant_min, double quant_max, int input,
               int output, int threads):
    """``shape``: outer, channels, inner; the parameters: as many numbers as channels, float32
    where bytes become bytes, else float64."""
    cdef requantize_layout layout
    layout.outer, layout.channels, layout.inner = shape
    layout.ratios = <const void *>ratios
    layout.zero_points = <const void *>zero_points
    layout.output_zero_points = <const void *>output_zero_points
    layout.quant_min, layout.quant_max = quant_min, quant_max
    layout.input, layout.output = input, output
    with nogil:
        requantize_channels(kernel, <const void *>q, <void *>out, &layout, threads)
