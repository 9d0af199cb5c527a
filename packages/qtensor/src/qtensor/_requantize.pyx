# cython: language_level=3, boundscheck=False, wraparound=False
"""Calls the C driver of csrc/requantize.h. Tensors come as addresses of dense memory, already
checked; the GIL is released while they are worked on."""

from libc.stdint cimport int64_t


cdef extern from "requantize.h" nogil:
    ctypedef struct requantize_layout:
        int64_t outer, channels, inner
        const double *ratios
        const double *zero_points
        const double *output_zero_points
        double quant_min, quant_max
        int input, output, single

    void requantize_channels(const void *, void *, const requantize_layout *, int)


def requantize(size_t q, size_t out, shape, size_t ratios, size_t zero_points,
               size_t output_zero_points, double quant_min, double quant_max, int input,
               int output, bint single, int threads):
    """``shape``: outer, channels, inner; the parameters: as many doubles as channels."""
    cdef requantize_layout layout
    layout.outer, layout.channels, layout.inner = shape
    layout.ratios = <const double *>ratios
    layout.zero_points = <const double *>zero_points
    layout.output_zero_points = <const double *>output_zero_points
    layout.quant_min, layout.quant_max = quant_min, quant_max
    layout.input, layout.output, layout.single = input, output, single
    with nogil:
        requantize_channels(<const void *>q, <void *>out, &layout, threads)
