# cython: language_level=3, boundscheck=False, wraparound=False
"""Calls the C drivers of csrc/elementwise.h: through a ``Kernel`` where a call can be prepared,
else with addresses of dense memory. All is checked already; the GIL is released during the work."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.float cimport FLT_MAX, FLT_MIN
from libc.math cimport fabsf
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memcpy

from ._isa import ISA

from ._blocks cimport (
    float_format, float_input, float_output, half_avx2, half_scalar, in_order, layout_of,
    memory_layout, operand,
)
from ._calls cimport Kernel, describe, dlpack_tensor


cdef extern from "elementwise.h" nogil:
    ctypedef struct output_params:
        float lo, hi
        int32_t zero_point

    ctypedef struct fixed_sum:
        bint proven

    ctypedef struct fixed_rescaling:
        bint proven

    ctypedef struct binary_params:
        float a_multiplier, b_multiplier
        int32_t a_zero_point, b_zero_point
        output_params output
        fixed_sum fixed

    ctypedef struct requantize_params:
        float multiplier
        int32_t zero_point
        output_params output
        uint8_t flip, output_flip
        fixed_rescaling fixed

    ctypedef void binary_kernel(const uint8_t *, const uint8_t *, uint8_t *, int64_t,
                                const binary_params *, uint8_t)
    ctypedef struct elementwise_kernels:
        binary_kernel *add
        binary_kernel *mul
    const elementwise_kernels elementwise_scalar
    const elementwise_kernels elementwise_avx2

    ctypedef enum element_type "enum element_type":
        pass

    ctypedef struct channel_layout:
        int64_t outer, channels, inner
        const float *scales
        const int64_t *zero_points
        const float *real_zero_points

    void quantize_tensor(const elementwise_kernels *, const float_input *, void *, element_type,
                         const channel_layout *, int64_t, int64_t, int)
    void dequantize_tensor(const elementwise_kernels *, const operand *, const float_output *,
                           element_type, const channel_layout *, int)
    void prove_fixed_sum(binary_params *, element_type)
    void prove_fixed_rescaling(requantize_params *)
    void binary_tensors(binary_kernel *, const operand *, const operand *, uint8_t *, element_type,
                        int64_t, const binary_params *, int)
    void join_rows(const elementwise_kernels *, const operand *, uint8_t *, int64_t, int64_t,
                   int64_t, const requantize_params *, int)
    void prelu_tensor(const elementwise_kernels *, const operand *, uint8_t *, int64_t, int64_t,
                      int64_t, const requantize_params *, const float *, int)
    void lookup_tensor(const elementwise_kernels *, const operand *, uint8_t *, int64_t,
                       const uint8_t *, int)
    void clamp_tensor(const elementwise_kernels *, const operand *, uint8_t *, int64_t, int32_t,
                      int32_t, element_type, int)

    void softmax_tensor(const uint8_t *, uint8_t *, int64_t, int64_t, int64_t, const double *,
                        double, element_type, const output_params *, int)
    int64_t c_embedding_lookup "embedding_lookup"(
        const elementwise_kernels *, const uint8_t *, const float *, const float *, int64_t,
        int64_t, const int64_t *, int64_t, float *, int)

cdef extern from "shuffle.h" nogil:
    ctypedef struct shuffle:
        const uint8_t *input
        uint8_t *output
        int64_t batch, channels, height, width, factor
        bint channels_last
    ctypedef void shuffle_function(const shuffle *, int)
    shuffle_function channel_shuffle, pixel_shuffle, pixel_unshuffle

cdef extern from "attention.h" nogil:
    ctypedef int64_t attention_kernel(const int32_t *, const float *, uint8_t *, int64_t, float)
    attention_kernel attention_scalar, attention_avx2
    int c_attention_weights "attention_weights"(
        attention_kernel *, const operand *, const operand *, uint8_t *, float *, int64_t, int64_t,
        float, int)


cdef const elementwise_kernels *kernels = NULL
cdef const float_format *formats = NULL
cdef attention_kernel *attention = NULL


def use_isa(str name):
    """Choose the kernels of this instruction set for all calls from now on.

    Done once at import with ``_isa.ISA``. Tests call it to compare two in one process.
    """
    global kernels, formats, attention
    kernels = &elementwise_avx2 if name == "avx2" else &elementwise_scalar
    formats = &half_avx2[0] if name == "avx2" else &half_scalar[0]
    attention = attention_avx2 if name == "avx2" else attention_scalar


use_isa(ISA)


cdef class Quantize(Kernel):
    """``count`` floats to integers of ``element``, all with one scale and zero point.

    Args:
        type: of the floats, a code out of ``FLOAT``.
        layout: how the input lies under the output; see ``layout_under``.
    """

    cdef element_type _element
    cdef int _type
    cdef memory_layout _under
    cdef int64_t _count, _zero_point, _quant_min, _quant_max
    cdef float _scale

    def __init__(self, int type, int element, int64_t count, layout, float scale,
                 int64_t zero_point, int64_t quant_min, int64_t quant_max):
        self._type, self._element, self._count = type, <element_type>element, count
        self._under = layout_of(layout)
        self._scale, self._zero_point = scale, zero_point
        self._quant_min, self._quant_max = quant_min, quant_max

    cdef void run(self, const dlpack_tensor *inputs, void *output, int threads) noexcept nogil:
        cdef channel_layout layout = channel_layout(1, 1, self._count, &self._scale,
                                                    &self._zero_point, NULL)
        cdef float_input input = float_input(operand(inputs[0].data, &self._under),
                                             &formats[self._type])
        quantize_tensor(kernels, &input, output, self._element, &layout, self._quant_min,
                        self._quant_max, threads)


cdef class Dequantize(Kernel):
    """``count`` integers of ``element`` to floats, all with one scale and zero point; as above."""

    cdef element_type _element
    cdef int _type
    cdef memory_layout _under
    cdef int64_t _count, _zero_point
    cdef float _scale

    def __init__(self, int type, int element, int64_t count, layout, float scale,
                 int64_t zero_point):
        self._type, self._element, self._count = type, <element_type>element, count
        self._under = layout_of(layout)
        self._scale, self._zero_point = scale, zero_point

    cdef void run(self, const dlpack_tensor *inputs, void *output, int threads) noexcept nogil:
        cdef channel_layout layout = channel_layout(1, 1, self._count, &self._scale,
                                                    &self._zero_point, NULL)
        cdef operand q = operand(inputs[0].data, &self._under)
        cdef float_output x = float_output(output, &formats[self._type])
        dequantize_tensor(kernels, &q, &x, self._element, &layout, threads)


cdef class _PerChannel(Kernel):
    """Reads a tensor, then a scale for each of its channels, then their zero points, if any.

    Args:
        type: of the floats, a code out of ``FLOAT``.
        element: of the integers.
        shape: outer, channels, inner.
        layout: how the input lies under the output; see ``layout_under``.
        lowest, highest: what an integer zero point may be.
    """

    cdef element_type _element
    cdef int _type
    cdef memory_layout _under
    cdef int64_t _outer, _channels, _inner, _lowest, _highest
    cdef bint _shifted, _real

    def __init__(self, int type, int element, shape, layout, zero_points, int64_t lowest,
                 int64_t highest):
        self._type, self._element = type, <element_type>element
        self._outer, self._channels, self._inner = shape
        self._under = layout_of(layout)
        self._shifted = zero_points is not None
        self._real = self._shifted and zero_points.is_floating_point()
        self._lowest, self._highest = lowest, highest

    cdef channel_layout _layout(self, const dlpack_tensor *inputs) noexcept nogil:
        cdef channel_layout layout = channel_layout(
            self._outer, self._channels, self._inner, <const float *>inputs[1].data, NULL, NULL)
        if self._real:
            layout.real_zero_points = <const float *>inputs[2].data
        elif self._shifted:
            layout.zero_points = <const int64_t *>inputs[2].data
        return layout

    cdef bint sound(self, const dlpack_tensor *inputs) noexcept nogil:
        cdef channel_layout layout = self._layout(inputs)
        cdef bint sound = True
        cdef int64_t i, zero_point
        for i in range(inputs[1].sizes[0]):
            sound &= FLT_MIN <= layout.scales[i] and layout.scales[i] <= FLT_MAX
            if layout.real_zero_points:
                sound &= fabsf(layout.real_zero_points[i]) <= FLT_MAX
            elif layout.zero_points:
                zero_point = layout.zero_points[i]
                sound &= self._lowest <= zero_point and zero_point <= self._highest
        return sound


cdef class QuantizePerChannel(_PerChannel):
    """Floats to integers within ``lowest ... highest``."""

    cdef void run(self, const dlpack_tensor *inputs, void *output, int threads) noexcept nogil:
        cdef channel_layout layout = self._layout(inputs)
        cdef float_input input = float_input(operand(inputs[0].data, &self._under),
                                             &formats[self._type])
        quantize_tensor(kernels, &input, output, self._element, &layout, self._lowest,
                        self._highest, threads)


cdef class DequantizePerChannel(_PerChannel):
    """Integers to floats."""

    cdef void run(self, const dlpack_tensor *inputs, void *output, int threads) noexcept nogil:
        cdef channel_layout layout = self._layout(inputs)
        cdef operand q = operand(inputs[0].data, &self._under)
        cdef float_output x = float_output(output, &formats[self._type])
        dequantize_tensor(kernels, &q, &x, self._element, &layout, threads)


cdef class RequantizeParams:
    """What ``requantize`` and ``prelu`` compute (see ``requantize_params`` in C)."""

    cdef requantize_params c

    def __init__(self, float multiplier, int32_t zero_point, bint signed, int32_t output_zero_point,
                 float lo, float hi, bint output_signed):
        cdef int32_t flip = 0x80 if signed else 0, output_flip = 0x80 if output_signed else 0
        self.c.multiplier, self.c.zero_point = multiplier, zero_point + flip
        self.c.output = output_params(lo, hi, output_zero_point + output_flip)
        self.c.flip, self.c.output_flip = flip, output_flip
        prove_fixed_rescaling(&self.c)

    @property
    def in_fixed_point(self):
        """Whether it is proven that fixed point gives the same results, and may be used."""
        return bool(self.c.fixed.proven)


cdef enum:
    _WORTH_A_PROOF = 1 << 14  # bytes; to add them takes 0.8 µs less, the proof 90 µs once


cdef class Binary(Kernel):
    """The sum or product of two tensors (see ``binary_params`` in C).

    Args:
        name: ``"add"`` or ``"mul"``.
        element, count: of the output.
        a_layout, b_layout: how they lie under the output; see ``layout_under``.
    """

    cdef bint _multiplies
    cdef element_type _element
    cdef int64_t _count
    cdef memory_layout _a, _b
    cdef binary_params _params

    def __init__(self, str name, int element, int64_t count, a_layout, b_layout,
                 float a_multiplier, int32_t a_zero_point, float b_multiplier,
                 int32_t b_zero_point, int32_t zero_point, float lo, float hi):
        self._multiplies = name == "mul"
        self._element, self._count = <element_type>element, count
        self._a, self._b = layout_of(a_layout), layout_of(b_layout)
        self._params.a_multiplier, self._params.b_multiplier = a_multiplier, b_multiplier
        self._params.a_zero_point, self._params.b_zero_point = a_zero_point, b_zero_point
        self._params.output = output_params(lo, hi, zero_point)
        if name == "add" and count >= _WORTH_A_PROOF:
            prove_fixed_sum(&self._params, self._element)

    @property
    def in_fixed_point(self):
        """Whether it is proven that fixed point gives the same results, and may be used."""
        return bool(self._params.fixed.proven)

    cdef void run(self, const dlpack_tensor *inputs, void *output, int threads) noexcept nogil:
        cdef operand a = operand(inputs[0].data, &self._a), b = operand(inputs[1].data, &self._b)
        binary_tensors(kernels.mul if self._multiplies else kernels.add, &a, &b,
                       <uint8_t *>output, self._element, self._count, &self._params, threads)


cdef struct join_part:
    bint converted
    requantize_params params
    memory_layout under
    int64_t place, rows, length, stride


cdef class Join(Kernel):
    """Bytes brought to other parameters, or copied, each tensor to its place in the output.

    Args:
        parts: for each tensor: parameters, ``None`` to copy; where it begins in the output; how
            many rows of which length it has; how far apart they begin in the output; how it lies
            under a dense tensor of these rows (see ``layout_under``).
    """

    cdef join_part *_parts
    cdef Py_ssize_t _count

    def __init__(self, parts):
        cdef join_part *part
        cdef RequantizeParams params
        self._parts = <join_part *>PyMem_Malloc(len(parts) * sizeof(join_part))
        if self._parts == NULL:
            raise MemoryError()
        for params, place, rows, length, stride, layout in parts:
            part = &self._parts[self._count]
            part.under = layout_of(layout)
            part.converted = params is not None
            if params is not None:
                part.params = params.c
            part.place, part.rows, part.length, part.stride = place, rows, length, stride
            self._count += 1

    def __dealloc__(self):
        PyMem_Free(self._parts)

    cdef void run(self, const dlpack_tensor *inputs, void *output, int threads) noexcept nogil:
        cdef Py_ssize_t i
        cdef const join_part *part
        cdef operand q
        for i in range(self._count):
            part = &self._parts[i]
            q = operand(inputs[i].data, &part.under)
            join_rows(kernels, &q, <uint8_t *>output + part.place, part.rows, part.length,
                      part.stride, &part.params if part.converted else NULL, threads)


def prelu(size_t q, layout, size_t out, shape, RequantizeParams params, size_t slopes,
          int threads):
    """``layout``: see ``layout_under``; ``shape``: outer, channels, inner."""
    cdef memory_layout under = layout_of(layout)
    cdef operand input = operand(<const void *>q, &under)
    cdef int64_t outer, channels, inner
    outer, channels, inner = shape
    with nogil:
        prelu_tensor(kernels, &input, <uint8_t *>out, outer, channels, inner, &params.c,
                     <const float *>slopes, threads)


cdef class Lookup(Kernel):
    """What a table of 256 bytes has for each of ``count`` bytes, which lie as ``layout`` says."""

    cdef uint8_t _table[256]
    cdef int64_t _count
    cdef memory_layout _under

    def __init__(self, int64_t count, layout, bytes table):
        self._count, self._under = count, layout_of(layout)
        memcpy(self._table, <const uint8_t *>table, 256)

    cdef void run(self, const dlpack_tensor *inputs, void *output, int threads) noexcept nogil:
        cdef operand q = operand(inputs[0].data, &self._under)
        lookup_tensor(kernels, &q, <uint8_t *>output, self._count, self._table, threads)


cdef class Clamp(Kernel):
    """``count`` bytes of ``element``, within bounds; they lie as ``layout`` says."""

    cdef element_type _element
    cdef int64_t _count
    cdef memory_layout _under
    cdef int32_t _low, _high

    def __init__(self, int element, int64_t count, layout, int32_t low, int32_t high):
        self._element, self._count, self._under = <element_type>element, count, layout_of(layout)
        self._low, self._high = low, high

    cdef void run(self, const dlpack_tensor *inputs, void *output, int threads) noexcept nogil:
        cdef operand q = operand(inputs[0].data, &self._under)
        clamp_tensor(kernels, &q, <uint8_t *>output, self._count, self._low, self._high,
                     self._element, threads)


cdef class Shuffle(Kernel):
    """Channels or pixels of images in another order (see ``shuffle`` in C).

    Args:
        name: ``"channel_shuffle"``, ``"pixel_shuffle"`` or ``"pixel_unshuffle"``.
        shape: batch, channels, height and width of the images, as C wants them.
        factor: groups, or how many pixels become one along each side.
        channels_last: or channels first, each of which is dense.
    """

    cdef shuffle _shuffle
    cdef shuffle_function *_function

    def __init__(self, str name, shape, int64_t factor, bint channels_last):
        cdef shuffle *s = &self._shuffle
        s.batch, s.channels, s.height, s.width = shape
        s.factor, s.channels_last = factor, channels_last
        if name == "channel_shuffle":
            self._function = channel_shuffle
        else:
            self._function = pixel_shuffle if name == "pixel_shuffle" else pixel_unshuffle

    cdef void run(self, const dlpack_tensor *inputs, void *output, int threads) noexcept nogil:
        cdef shuffle s = self._shuffle
        s.input, s.output = <const uint8_t *>inputs[0].data, <uint8_t *>output
        self._function(&s, threads)


def softmax(size_t q, size_t out, int element, shape, bytes exponentials, double inverse_scale,
            int32_t zero_point, float lo, float hi, int threads):
    """``shape``: outer, size, inner; ``exponentials``: 256 doubles."""
    cdef int64_t outer, size, inner
    cdef const uint8_t *values = exponentials
    cdef output_params output = output_params(lo, hi, zero_point)
    outer, size, inner = shape
    with nogil:
        softmax_tensor(<const uint8_t *>q, <uint8_t *>out, outer, size, inner,
                       <const double *>values, inverse_scale, <element_type>element, &output, threads)


def attention_weights(scores, mask, steps, scales, float scale, int threads):
    """``scores`` and ``mask`` (``None`` for none): of the same shape, in any strides."""
    cdef dlpack_tensor described, masking, weights
    cdef memory_layout score_layout, mask_layout
    cdef operand all_scores, whole_mask
    cdef operand *masks = NULL
    cdef float *row_scales = <float *><size_t>scales.data_ptr()
    cdef int64_t rows = scales.numel(), columns
    cdef int status
    describe(scores, &described)
    describe(steps, &weights)
    columns = described.sizes[described.ndim - 1]
    score_layout = in_order(&described, 0, described.ndim)
    all_scores = operand(described.data, &score_layout)
    if mask is not None:
        describe(mask, &masking)
        mask_layout = in_order(&masking, 0, masking.ndim)
        whole_mask = operand(masking.data, &mask_layout)
        masks = &whole_mask
    with nogil:
        status = c_attention_weights(attention, &all_scores, masks, <uint8_t *>weights.data,
                                     row_scales, rows, columns, scale, threads)
    if status:
        raise MemoryError(f"not enough memory for a row of {columns} scores and its mask")


def embedding_lookup(size_t table, size_t scales, size_t zero_points, int64_t rows,
                     int64_t columns, size_t indices, int64_t n, size_t output, int threads):
    """The position of the first index that is out of range, or -1 and the output is written."""
    cdef int64_t bad
    with nogil:
        bad = c_embedding_lookup(kernels, <const uint8_t *>table, <const float *>scales,
                                 <const float *>zero_points, rows, columns,
                                 <const int64_t *>indices, n, <float *>output, threads)
    return bad
