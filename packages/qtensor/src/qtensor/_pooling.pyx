# cython: language_level=3, boundscheck=False, wraparound=False
"""Calls the C drivers of csrc/pool.h and interpolate.h. All is checked already; the GIL is released
while they work."""

from libc.stdint cimport int32_t, int64_t, uint8_t

from ._isa import ISA

from ._blocks cimport layout_of, memory_layout, operand
from ._calls cimport Kernel, dlpack_tensor


cdef extern from "images.h" nogil:
    ctypedef struct image_size:
        int64_t depth, height, width

    ctypedef struct image_layout:
        int64_t batch, channels, batch_stride, channel_stride
        image_size size, strides
        bint channels_last


cdef extern from "pool.h" nogil:
    ctypedef struct pool_kernels:
        pass
    const pool_kernels pool_scalar
    const pool_kernels pool_avx2

    ctypedef enum element_type "enum element_type":
        pass

    ctypedef struct pool_axis:
        int64_t input, output, kernel, stride, padding, dilation

    ctypedef struct pool_shape:
        image_layout images
        pool_axis depth, height, width

    ctypedef struct mean_rule:
        int32_t zero_point, output_zero_point, quant_min, quant_max
        double ratio
        int64_t divisor_override

    void c_max_pool "max_pool"(const pool_kernels *, const uint8_t *, uint8_t *, element_type,
                               const pool_shape *, int)
    void c_mean_pool "mean_pool"(const pool_kernels *, const uint8_t *, uint8_t *, element_type,
                                 const pool_shape *, const mean_rule *, int, int)
    void mean_of_elements(const pool_kernels *, const operand *, uint8_t *, element_type, int64_t,
                          int64_t, const mean_rule *, int)


cdef extern from "interpolate.h" nogil:
    ctypedef struct interpolate_kernels:
        pass
    const interpolate_kernels interpolate_scalar
    const interpolate_kernels interpolate_avx2

    ctypedef struct interpolate_axis:
        int64_t output
        const int64_t *low
        const int64_t *high
        const float *weight

    ctypedef struct interpolate_shape:
        image_layout images
        interpolate_axis depth, height, width

    void c_interpolate_nearest "interpolate_nearest"(
        const interpolate_kernels *, const uint8_t *, uint8_t *, const interpolate_shape *, int)
    void c_interpolate_linear "interpolate_linear"(
        const interpolate_kernels *, const uint8_t *, uint8_t *, element_type,
        const interpolate_shape *, int32_t, int)


cdef const pool_kernels *kernels = NULL
cdef const interpolate_kernels *interpolation = NULL


def use_isa(str name):
    """Choose the kernels of this instruction set for all calls from now on.

    Done once at import with ``_isa.ISA``. Tests call it to compare two in one process.
    """
    global kernels, interpolation
    kernels = &pool_avx2 if name == "avx2" else &pool_scalar
    interpolation = &interpolate_avx2 if name == "avx2" else &interpolate_scalar


use_isa(ISA)


cdef image_size size_of(values):
    depth, height, width = values
    return image_size(depth, height, width)


cdef image_layout images_of(images) except *:
    """``images``: an ``Images`` of _ops/_images.py."""
    cdef image_layout layout
    batch, channels, batch_stride, channel_stride, size, strides, channels_last = images
    layout.batch, layout.channels = batch, channels
    layout.batch_stride, layout.channel_stride = batch_stride, channel_stride
    layout.size, layout.strides = size_of(size), size_of(strides)
    layout.channels_last = channels_last
    return layout


cdef pool_axis axis_of(values):
    size, output, kernel, stride, padding, dilation = values
    return pool_axis(size, output, kernel, stride, padding, dilation)


cdef class MaxPool(Kernel):
    """The largest integer of each window.

    Args:
        element: of input and output.
        images: how the input lies.
        axes: depth, height and width, each the fields of ``pool_axis`` in order.
    """

    cdef element_type _element
    cdef pool_shape _shape

    def __init__(self, int element, images, axes):
        depth, height, width = axes
        self._element, self._shape.images = <element_type>element, images_of(images)
        self._shape.depth, self._shape.height = axis_of(depth), axis_of(height)
        self._shape.width = axis_of(width)

    cdef void run(self, const dlpack_tensor *inputs, void *output, int threads) noexcept nogil:
        c_max_pool(kernels, <const uint8_t *>inputs[0].data, <uint8_t *>output, self._element,
                   &self._shape, threads)


cdef class MeanPool(MaxPool):
    """The mean of each window, rounded.

    Args:
        element, images, axes: as for :class:`MaxPool`.
        ratio: the input's scale by the output's.
        divisor_override: 0 for none.
    """

    cdef mean_rule _rule
    cdef bint _count_padding

    def __init__(self, int element, images, axes, int32_t zero_point, double ratio,
                 int32_t output_zero_point, int32_t quant_min, int32_t quant_max,
                 bint count_padding, int64_t divisor_override):
        super().__init__(element, images, axes)
        self._rule = mean_rule(zero_point, output_zero_point, quant_min, quant_max, ratio,
                               divisor_override)
        self._count_padding = count_padding

    cdef void run(self, const dlpack_tensor *inputs, void *output, int threads) noexcept nogil:
        c_mean_pool(kernels, <const uint8_t *>inputs[0].data, <uint8_t *>output, self._element,
                    &self._shape, &self._rule, self._count_padding, threads)


cdef class MeanOfElements(Kernel):
    """The means of every ``size`` elements, ``count`` of them, in the order that ``layout`` gives
    (see ``layout_under``), rounded as by :class:`MeanPool`."""

    cdef element_type _element
    cdef memory_layout _layout
    cdef int64_t _count, _size
    cdef mean_rule _rule

    def __init__(self, int element, layout, int64_t count, int64_t size, int32_t zero_point,
                 double ratio, int32_t output_zero_point, int32_t quant_min, int32_t quant_max):
        self._element, self._layout = <element_type>element, layout_of(layout)
        self._count, self._size = count, size
        self._rule = mean_rule(zero_point, output_zero_point, quant_min, quant_max, ratio, 0)

    cdef void run(self, const dlpack_tensor *inputs, void *output, int threads) noexcept nogil:
        cdef operand elements
        elements.data, elements.layout = inputs[0].data, &self._layout
        mean_of_elements(kernels, &elements, <uint8_t *>output, self._element, self._count,
                         self._size, &self._rule, threads)


cdef interpolate_axis interpolate_axis_of(values) except *:
    cdef interpolate_axis axis
    low, high, weight = values
    axis.output = low.numel()
    axis.low = <const int64_t *><size_t>low.data_ptr()
    axis.high = <const int64_t *><size_t>high.data_ptr()
    axis.weight = <const float *><size_t>weight.data_ptr()
    return axis


cdef class Interpolate(Kernel):
    """The image in another size: of each pixel the nearest, or what lies between its neighbours.

    Args:
        element: of input and output.
        images: how the input lies.
        axes: depth, height and width, each the tensors that ``interpolate_axis`` refers to.
        linear: whether to interpolate.
        zero_point: the integer that stands for 0.
    """

    cdef element_type _element
    cdef interpolate_shape _shape
    cdef bint _linear
    cdef int32_t _zero_point
    cdef object _axes  # keeps their memory alive

    def __init__(self, int element, images, axes, bint linear, int32_t zero_point):
        depth, height, width = axes
        self._element, self._axes = <element_type>element, axes
        self._linear, self._zero_point = linear, zero_point
        self._shape.images = images_of(images)
        self._shape.depth = interpolate_axis_of(depth)
        self._shape.height = interpolate_axis_of(height)
        self._shape.width = interpolate_axis_of(width)

    cdef void run(self, const dlpack_tensor *inputs, void *output, int threads) noexcept nogil:
        cdef const uint8_t *image = <const uint8_t *>inputs[0].data
        if self._linear:
            c_interpolate_linear(interpolation, image, <uint8_t *>output, self._element,
                                 &self._shape, self._zero_point, threads)
        else:
            c_interpolate_nearest(interpolation, image, <uint8_t *>output, &self._shape, threads)
