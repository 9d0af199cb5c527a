# cython: language_level=3, boundscheck=False, wraparound=False
"""Calls the C driver of csrc/requantize.h. All is checked already; the GIL is released while it
works."""

from libc.float cimport FLT_MAX, FLT_MIN
from libc.stdint cimport int32_t, int64_t

from ._isa import ISA

from ._blocks cimport layout_of, memory_layout, operand
from ._calls cimport Kernel, dlpack_tensor


cdef extern from "requantize.h" nogil:
    ctypedef struct channel_parameters:
        const void *scales
        bint doubles
        const int64_t *zero_points
        bint several_scales, several_zero_points

    ctypedef struct requantize_layout:
        int64_t outer, channels, inner
        channel_parameters given, wanted
        double quant_min, quant_max
        int input, output

    ctypedef void requantize_kernel(const void *, int64_t, int64_t)
    requantize_kernel requantize_scalar, requantize_avx2

    void requantize_channels(requantize_kernel *, const operand *, void *,
                             const requantize_layout *, int)


cdef requantize_kernel *kernel = NULL


def use_isa(str name):
    """Choose the kernels of this instruction set for all calls from now on.

    Done once at import with ``_isa.ISA``. Tests call it to compare two in one process.
    """
    global kernel
    kernel = requantize_avx2 if name == "avx2" else requantize_scalar


use_isa(ISA)


cdef class RequantizePerChannel(Kernel):
    """Reads a tensor, then scales and zero points of its channels, then those of the output's.

    Args:
        shape: outer, channels, inner.
        under: how the input lies under the output; see ``layout_under``.
        input, output: the types of the integers.
        lowest, highest: what a zero point of the input may be.
        quant_min, quant_max: the integers that the output may use.
    """

    cdef requantize_layout _layout
    cdef memory_layout _under
    cdef int64_t _lowest, _highest, _quant_min, _quant_max

    def __init__(self, shape, under, int input, int output, int64_t lowest, int64_t highest,
                 int64_t quant_min, int64_t quant_max):
        self._under = layout_of(under)
        self._layout.outer, self._layout.channels, self._layout.inner = shape
        self._layout.input, self._layout.output = input, output
        self._layout.quant_min, self._layout.quant_max = quant_min, quant_max
        self._lowest, self._highest = lowest, highest
        self._quant_min, self._quant_max = quant_min, quant_max

    cdef bint sound(self, const dlpack_tensor *inputs) noexcept nogil:
        return _sound(&inputs[1], self._lowest, self._highest) \
            and _sound(&inputs[3], self._quant_min, self._quant_max)

    cdef void run(self, const dlpack_tensor *inputs, void *output, int threads) noexcept nogil:
        cdef requantize_layout layout = self._layout
        layout.given, layout.wanted = _parameters(&inputs[1]), _parameters(&inputs[3])
        cdef operand q = operand(inputs[0].data, &self._under)
        requantize_channels(kernel, &q, output, &layout, threads)


cdef channel_parameters _parameters(const dlpack_tensor *tensors) noexcept nogil:
    """Of two tensors: scales and zero points."""
    return channel_parameters(tensors[0].data, tensors[0].bits == 64, <int64_t *>tensors[1].data,
                              tensors[0].sizes[0] > 1, tensors[1].sizes[0] > 1)


cdef bint _sound(const dlpack_tensor *tensors, int64_t lowest, int64_t highest) noexcept nogil:
    """Whether scales can be computed with in float32, and zero points lie within these bounds."""
    cdef channel_parameters p = _parameters(tensors)
    cdef bint sound = True
    cdef double scale
    cdef int64_t i
    for i in range(tensors[0].sizes[0]):
        scale = (<const double *>p.scales)[i] if p.doubles else (<const float *>p.scales)[i]
        sound &= FLT_MIN <= scale and scale <= FLT_MAX
    for i in range(tensors[1].sizes[0]):
        sound &= lowest <= p.zero_points[i] and p.zero_points[i] <= highest
    return sound
