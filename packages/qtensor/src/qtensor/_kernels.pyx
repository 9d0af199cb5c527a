# cython: language_level=3, boundscheck=False
"""The integer products of csrc/gemm.h for Python. Pointers are integers, and nothing is checked:
that is done in qtensor._ops, once. Every function lets go of the GIL while it computes."""

import torch  # noqa: F401  # first: its OpenMP runtime is then the one this module shares

from ._blocks cimport in_order, memory_layout, operand
from ._calls cimport describe, dlpack_tensor

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uintptr_t


cdef extern from "dlpack.h" nogil:
    const uint8_t DLPACK_INT

cdef extern from "blocks.h" nogil:
    const uint8_t *elements_ "elements"(const operand *, int64_t begin, int64_t n, int size, void *)

cdef extern from "gemm.h" nogil:
    enum:
        MAX_CHUNK

    ctypedef struct kernels:
        uint8_t (*or_bytes)(const uint8_t *, int64_t) noexcept nogil

    ctypedef struct packed_panels "packed":
        int64_t counts[4]
        int64_t bytes

    enum output_kind:
        OUTPUT_BYTES
        OUTPUT_FLOAT
        OUTPUT_INT32

    enum input_kind:
        INPUT_U8
        INPUT_S8
        INPUT_FLOAT

    enum activation:
        NO_ACTIVATION

    ctypedef struct product:
        const kernels *kernels
        const packed_panels *weights
        int threads
        output_kind kind
        void *output
        int32_t input_zero_point
        const int64_t *weight_zero_points
        const float *multipliers
        int64_t multiplier_stride
        const float *bias
        double output_scale
        int32_t output_zero_point
        float lowest
        float highest
        const uint8_t *residual
        bint is_signed
        float residual_multiplier
        int32_t residual_zero_point
        activation activation
        float negative_slope

    ctypedef struct conv_axis:
        int64_t size, input_stride
        int64_t taps, first, stride, dilation
        int64_t out_size
        int64_t outputs, place, spacing

    enum padding_mode:
        PAD_ZEROS
        PAD_REFLECT
        PAD_REPLICATE
        PAD_CIRCULAR

    ctypedef struct conv_shape:
        int64_t batch, channels
        int64_t batch_stride, channel_stride
        conv_axis axes[3]
        padding_mode padding_mode
        uint8_t padding_value

    ctypedef struct linear_input:
        input_kind kind
        operand values
        int64_t rows, k
        int32_t quant_max
        bint per_row

    ctypedef struct matmul_shape:
        const uint8_t *a
        const uint8_t *b
        memory_layout a_batch, b_batch, a_rows
        int64_t b_row_stride, b_column_stride
        bint a_signed, b_signed
        int64_t batch, rows, k, columns

    ctypedef struct weight_only_shape:
        const float *input
        const int8_t *panels
        int64_t rows, k, channels

    ctypedef struct output_params:
        float lo, hi
        int32_t zero_point

    ctypedef struct binary_params:
        float a_multiplier, b_multiplier
        int32_t a_zero_point, b_zero_point
        output_params output

    ctypedef struct lstm_cell:
        const uint8_t *gate_tables[4]
        const uint8_t *tanh_table
        binary_params forgotten, added, sum, output
        uint8_t flip

    const kernels *find_kernels(const char *name)
    packed_panels *pack(const int8_t *, int64_t groups, int64_t channels, int64_t runs,
                 int64_t run_length, int64_t group_stride, int amax, bint row_sums, bint orders)
    packed_panels *pack_depthwise(const int16_t *, int64_t channels, int64_t multiplier,
                                  const int64_t *taps)
    packed_panels *pack_one_row_ "pack_one_row"(const int8_t *, int64_t channels, int64_t k)
    void pack_free(packed_panels *)
    int linear_ "linear"(const product *, const linear_input *)
    void weight_only_ "weight_only"(const product *, const weight_only_shape *)
    int matmul_ "matmul"(const product *, const matmul_shape *)
    int conv_ "conv"(const product *, input_kind, const void *, const conv_shape *)
    int conv_dynamic_ "conv_dynamic"(const product *, const float *, const conv_shape *,
                                     int32_t quant_max, bint per_image)
    int lstm_ "lstm"(const product *, const lstm_cell *, int64_t steps, int64_t batch,
                     int64_t size, const uint8_t *, const uint8_t *, uint8_t *, uint8_t *)


cdef const kernels *_active = find_kernels(b"scalar")


def supports_isa(str name):
    """Whether there are kernels of this name and this machine can run them."""
    return find_kernels(name.encode()) != NULL


def use_isa(str name):
    """Makes all further calls use these kernels. Done once at import with ``_isa.ISA``; tests call
    it to compare two in one process."""
    global _active
    _active = find_kernels(name.encode())


cdef enum:
    _ORED = 16384  # bytes at a time


cdef uint8_t ored(const operand *values, int64_t count) noexcept nogil:
    """Bytes ORed, as far as is needed: it exceeds 127 exactly if one of all does."""
    cdef uint8_t[_ORED] block
    cdef uint8_t result = 0
    cdef int64_t done = 0, n
    while done < count and result <= 127:
        n = min(count - done, <int64_t>_ORED)
        result |= _active.or_bytes(elements_(values, done, n, 1, block), n)
        done += n
    return result


cdef int64_t elements(const dlpack_tensor *tensor) noexcept nogil:
    cdef int64_t count = 1
    cdef int i
    for i in range(tensor.ndim):
        count *= tensor.sizes[i]
    return count


cdef int64_t span(const dlpack_tensor *tensor) noexcept nogil:
    """Elements of memory from a tensor's first to its last."""
    cdef int64_t last = 0
    cdef int i
    for i in range(tensor.ndim):
        if tensor.sizes[i] == 0:
            return 0
        last += (tensor.sizes[i] - 1) * tensor.strides[i]
    return last + 1


cdef memory_layout _adjacent
_adjacent.dims = 0


def or_bytes(uintptr_t data, int64_t count):
    """Bytes ORed, as far as is needed: it exceeds 127 exactly if one of all does."""
    cdef operand values = operand(<const void *>data, &_adjacent)
    cdef uint8_t result
    with nogil:
        result = ored(&values, count)
    return result


cdef int proven_amax(const operand *values, int64_t count, bint signed):
    """127 if none of these bytes, as the kernels read them, exceeds it; or 255. A calibrated range
    does not bind the input, so every call looks."""
    cdef uint8_t bits
    if signed:
        return 255
    with nogil:
        bits = ored(values, count)
    return 127 if bits <= 127 else 255


cdef linear_input rows_of(const dlpack_tensor *x, const dlpack_tensor *y,
                          const memory_layout *layout) noexcept nogil:
    """The rows of an input that lies so, for an output that is not empty."""
    cdef linear_input given
    given.kind = INPUT_S8 if x.code == DLPACK_INT else INPUT_U8
    given.values = operand(x.data, layout)
    given.rows = elements(y) // y.sizes[y.ndim - 1]
    given.k = x.sizes[x.ndim - 1]
    given.quant_max, given.per_row = 0, False
    return given


cdef class Packed:
    """Weights in the order and form that the kernels read. Immutable."""

    cdef packed_panels *_packed

    def __dealloc__(self):
        pack_free(self._packed)

    @property
    def counts(self):
        """How many steps are part of a bundle of four, of two, single, wide."""
        counts = self._packed.counts
        return counts[0], counts[1], counts[2], counts[3]

    @property
    def nbytes(self):
        """Memory held."""
        return self._packed.bytes


cdef Packed _wrap(packed_panels *result):
    if result == NULL:
        raise MemoryError("not enough memory to pack the weights")
    wrapped = Packed()
    wrapped._packed = result
    return wrapped


def pack_weights(uintptr_t weights, int64_t groups, int64_t channels, int64_t runs,
                 int64_t run_length, int64_t group_stride, int amax, bint row_sums, bint orders):
    """See pack() in csrc/gemm.h."""
    cdef packed_panels *result
    with nogil:
        result = pack(<const int8_t *>weights, groups, channels, runs, run_length, group_stride,
                      amax, row_sums, orders)
    return _wrap(result)


def pack_depthwise_weights(uintptr_t weights, int64_t channels, int64_t multiplier, taps):
    """See pack_depthwise() in csrc/gemm.h. ``taps``: of one, two or three axes."""
    cdef packed_panels *result
    cdef int64_t[3] counts
    counts[0], counts[1], counts[2] = (1,) * (3 - len(taps)) + tuple(taps)
    with nogil:
        result = pack_depthwise(<const int16_t *>weights, channels, multiplier, counts)
    return _wrap(result)


def pack_one_row(uintptr_t weights, int64_t channels, int64_t k):
    """See pack_one_row() in csrc/gemm.h."""
    cdef packed_panels *result
    with nogil:
        result = pack_one_row_(<const int8_t *>weights, channels, k)
    return _wrap(result)


LONGEST_ROW = MAX_CHUNK
"""The most weights that a channel packed by :func:`pack_one_row` may have."""

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
"""In the order of enum padding_mode."""


cdef class ConvShape:
    """Struct conv_shape of csrc/gemm.h, but for the value of the padding. Immutable."""

    cdef conv_shape _shape

    def __init__(self, image, axes, str mode):
        """``image``: batch, channels, and the strides of both; ``axes``: three conv_axis."""
        cdef conv_axis *axis
        cdef conv_shape *s = &self._shape
        s.batch, s.channels, s.batch_stride, s.channel_stride = image
        for i in range(3):
            axis = &s.axes[i]
            (axis.size, axis.input_stride, axis.taps, axis.first, axis.stride, axis.dilation,
             axis.out_size, axis.outputs, axis.place, axis.spacing) = axes[i]
        s.padding_mode = <padding_mode><int>PADDING_MODES.index(mode)


cdef class LSTMCell:
    """Struct lstm_cell of csrc/gemm.h. Immutable.

    Args:
        tables: five of 256 bytes: of the gates, and of the cell state's tanh.
        binaries: for each of the four operators, the fields of binary_params.
        signed: whether all bytes are int8.
    """

    cdef lstm_cell _cell
    cdef tuple _tables

    def __init__(self, tuple tables, binaries, bint signed):
        cdef int32_t flip = 0x80 if signed else 0
        self._tables = tables
        for i in range(4):
            self._cell.gate_tables[i] = <const uint8_t *><const char *><bytes>tables[i]
        self._cell.tanh_table = <const uint8_t *><const char *><bytes>tables[4]
        forgotten, added, sum_, output = binaries
        self._cell.forgotten = _binary(forgotten, flip)
        self._cell.added = _binary(added, flip)
        self._cell.sum = _binary(sum_, flip)
        self._cell.output = _binary(output, flip)
        self._cell.flip = flip


cdef binary_params _binary(fields, int32_t flip) except *:
    cdef binary_params p
    (p.a_multiplier, p.b_multiplier, p.a_zero_point, p.b_zero_point, p.output.lo, p.output.hi,
     p.output.zero_point) = fields
    p.a_zero_point += flip
    p.b_zero_point += flip
    p.output.zero_point += flip
    return p


cdef class Product:
    """What becomes of the integer sums, struct product of csrc/gemm.h, and the ways to run it.

    Built as the exact sums in int32; :meth:`requantize` or :meth:`dequantize` ask for another
    output. After that it is never written to, so any number of threads can run it. It keeps the
    tensors that it points to, which must be contiguous.
    """

    cdef product _product
    cdef list _tensors

    def __init__(self, int32_t input_zero_point, weight_zero_points):
        """``weight_zero_points``: int64, for each channel; or None."""
        self._tensors = []
        self._product.kind = OUTPUT_INT32
        self._product.input_zero_point = input_zero_point
        self._product.weight_zero_points = <const int64_t *>self._address(weight_zero_points)

    cdef uintptr_t _address(self, tensor):
        if tensor is None:
            return 0
        self._tensors.append(tensor)
        return tensor.data_ptr()

    def scale(self, multipliers, bias, float lowest, float highest):
        """What both of the following need: factors of the sums, for each channel or one for all,
        and what is added after that (float32 tensors, or None for no bias)."""
        self._product.multipliers = <const float *>self._address(multipliers)
        self._product.multiplier_stride = multipliers.shape[0] > 1
        self._product.bias = <const float *>self._address(bias)
        self._product.lowest = lowest
        self._product.highest = highest

    def requantize(self, double output_scale, int32_t output_zero_point, bint signed,
                   float residual_multiplier, int32_t residual_zero_point):
        """Bytes as output; ``signed`` tells whether they, and the residual's, are int8."""
        self._product.kind = OUTPUT_BYTES
        self._product.output_scale = output_scale
        self._product.output_zero_point = output_zero_point
        self._product.is_signed = signed
        self._product.residual_multiplier = residual_multiplier
        self._product.residual_zero_point = residual_zero_point

    def dequantize(self):
        """Floats as output."""
        self._product.kind = OUTPUT_FLOAT

    def activate(self, int code, float negative_slope):
        """Applies an activation, of enum activation, before the bounds."""
        self._product.activation = <activation>code
        self._product.negative_slope = negative_slope

    cdef product _with(self, Packed weights, int threads, uintptr_t output, uintptr_t residual):
        cdef product copy = self._product
        copy.kernels = _active
        copy.weights = weights._packed
        copy.threads = threads
        copy.output = <void *>output
        copy.residual = <const uint8_t *>residual
        return copy

    def linear(self, forms, weight, weight_zero_points, int threads, output, residual, input):
        """Bytes as input, in any strides; output and residual are contiguous, and may be the same.
        ``forms``: a ``PackedForms``."""
        cdef dlpack_tensor x, y, added
        cdef memory_layout layout
        cdef linear_input given
        cdef Packed packed
        cdef product p
        cdef int status, amax
        describe(input, &x)
        describe(output, &y)
        added.data = NULL
        if residual is not None:
            describe(residual, &added)
        if not elements(&y):
            return
        layout = in_order(&x, 0, x.ndim)
        given = rows_of(&x, &y, &layout)
        amax = proven_amax(&given.values, given.rows * given.k, given.kind == INPUT_S8)
        packed = forms.for_rows(given.rows, amax, weight, weight_zero_points)
        p = self._with(packed, threads, <uintptr_t>y.data, <uintptr_t>added.data)
        with nogil:
            status = linear_(&p, &given)
        _check(status)

    def linear_dynamic(self, forms, weight, weight_zero_points, int threads, output, input,
                       int32_t quant_max, bint per_row, int amax):
        """Floats as input, in any strides, quantized on the way; the output is contiguous. ``amax``:
        the most that they become."""
        cdef dlpack_tensor x, y
        cdef memory_layout layout
        cdef linear_input given
        cdef Packed packed
        cdef product p
        cdef int status
        describe(input, &x)
        describe(output, &y)
        if not elements(&y):
            return
        layout = in_order(&x, 0, x.ndim)
        given = rows_of(&x, &y, &layout)
        given.kind, given.quant_max, given.per_row = INPUT_FLOAT, quant_max, per_row
        packed = forms.for_rows(given.rows, amax, weight, weight_zero_points)
        p = self._with(packed, threads, <uintptr_t>y.data, 0)
        with nogil:
            status = linear_(&p, &given)
        _check(status)

    def conv(self, forms, weight, weight_zero_points, bint depthwise, tuple phases, int threads,
             output, residual, input):
        """Bytes as input, in any strides; output and residual are laid out alike. ``phases``: of
        each plain convolution the :class:`ConvShape`, and ``taps`` for ``PackedForms.get``."""
        cdef dlpack_tensor x, y, added
        cdef product p
        cdef conv_shape c
        cdef operand whole
        cdef int status, amax = 255  # depthwise kernels have one form for all inputs
        cdef uint8_t padding = <uint8_t>self._product.input_zero_point
        describe(input, &x)
        describe(output, &y)
        added.data = NULL
        if residual is not None:
            describe(residual, &added)
        if not elements(&y):
            return
        if not depthwise and padding <= 127:
            whole = operand(x.data, &_adjacent)
            amax = proven_amax(&whole, span(&x), x.code == DLPACK_INT)
        for shape, taps in phases:
            p = self._with(forms.get(amax, weight, weight_zero_points, taps), threads,
                           <uintptr_t>y.data, <uintptr_t>added.data)
            c = (<ConvShape>shape)._shape
            c.padding_value = padding
            with nogil:
                status = conv_(&p, INPUT_S8 if x.code == DLPACK_INT else INPUT_U8, x.data, &c)
            _check(status)

    def conv_dynamic(self, Packed weights, int threads, uintptr_t output, uintptr_t input,
                     ConvShape shape, int32_t quant_max, bint per_image):
        """Floats as input, quantized on the way."""
        cdef product p = self._with(weights, threads, output, 0)
        cdef int status
        with nogil:
            status = conv_dynamic_(&p, <const float *>input, &shape._shape, quant_max, per_image)
        _check(status)

    def weight_only(self, int threads, uintptr_t output, uintptr_t input, uintptr_t panels,
                    int64_t rows, int64_t k, int64_t channels):
        """Floats as input and output, multiplied as they are."""
        cdef product p = self._product
        cdef weight_only_shape shape
        p.kernels = _active
        p.threads = threads
        p.output = <void *>output
        shape.input, shape.panels = <const float *>input, <const int8_t *>panels
        shape.rows, shape.k, shape.channels = rows, k, channels
        with nogil:
            weight_only_(&p, &shape)

    def matmul(self, int threads, output, a, b):
        """Bytes in any strides: ``a`` of shape ``(..., rows, k)``, ``b`` ``(..., k, columns)``,
        expanded to the same leading dimensions; or ``b`` a single matrix, for all rows of ``a``.
        The output is contiguous, and not empty."""
        cdef dlpack_tensor x, y, z
        cdef product p = self._product
        cdef matmul_shape m
        cdef int status, outer
        describe(a, &x)
        describe(b, &y)
        describe(output, &z)
        outer = y.ndim - 2
        p.kernels = _active
        p.threads = threads
        p.output = z.data
        m.a, m.b = <const uint8_t *>x.data, <const uint8_t *>y.data
        m.a_batch, m.a_rows = in_order(&x, 0, outer), in_order(&x, outer, x.ndim)
        m.b_batch = in_order(&y, 0, outer)
        m.b_row_stride, m.b_column_stride = y.strides[y.ndim - 2], y.strides[y.ndim - 1]
        m.a_signed, m.b_signed = x.code == DLPACK_INT, y.code == DLPACK_INT
        m.k, m.columns = y.sizes[y.ndim - 2], y.sizes[y.ndim - 1]
        m.batch = 1
        for i in range(outer):
            m.batch *= y.sizes[i]
        m.rows = elements(&z) // (m.batch * m.columns)
        with nogil:
            status = matmul_(&p, &m)
        _check(status)

    def lstm(self, Packed weights, LSTMCell cell, int threads, sizes, uintptr_t input_gates,
             uintptr_t hidden, uintptr_t cells, uintptr_t outputs):
        """``sizes``: steps, batch, hidden values; see lstm() in csrc/gemm.h."""
        cdef product p = self._with(weights, threads, 0, 0)
        cdef int64_t steps, batch, size
        cdef int status
        steps, batch, size = sizes
        with nogil:
            status = lstm_(&p, &cell._cell, steps, batch, size, <const uint8_t *>input_gates,
                           <const uint8_t *>hidden, <uint8_t *>cells, <uint8_t *>outputs)
        _check(status)


cdef _check(int status):
    if status:
        raise MemoryError("not enough memory for the staging buffers")
