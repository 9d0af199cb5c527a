# cython: language_level=3, boundscheck=False, wraparound=False
"""Calls the C drivers of csrc/fake_quantize.h. Tensors come as addresses, already checked; the GIL is
released while they are worked on. Outputs are dense, and inputs lie as ``layout_under`` says;
``type`` is a code out of ``FLOAT``, for all of them.

``layout`` is (outer, channels, inner), the addresses of scales and of three kinds of zero points,
quant_min and quant_max: the fields of ``fake_quantize_layout``, in order. What takes one returns
whether its scales and zero points can be computed with; else it has done nothing.

What takes tensors is for small ones, where asking them for their properties costs more than the
work. It serves those that are contiguous, in memory, and of the usual dtypes, and returns ``None``
for others, having done nothing."""

import torch
from torch import Tensor
from torch.nn import Parameter

from libc.stdint cimport int32_t, int64_t

from ._isa import ISA
from ._threads import num_threads

from ._blocks cimport (
    float_format, float_input, float_output, half_avx2, half_scalar, layout_of, memory_layout,
    operand,
)
from ._calls cimport describe, dlpack_tensor, unobserved


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

    status fake_quantize_forward(const fake_quantize_kernels *, const float_input *,
                                 const float_output *, const fake_quantize_layout *, int)
    status fake_quantize_backward(const fake_quantize_kernels *, const float_input *,
                                  const float_input *, const float_output *,
                                  const fake_quantize_layout *, int)
    status fake_quantize_learn(const fake_quantize_kernels *, const float_input *,
                               const float_input *, const float_output *, float *, float *, double,
                               const fake_quantize_layout *, int)


cdef extern from "dlpack.h" nogil:
    const int32_t DLPACK_CPU
    enum: DLPACK_INT, DLPACK_FLOAT

cdef extern from "statistics.h" nogil:
    ctypedef struct statistics_kernels:
        pass
    const statistics_kernels statistics_scalar
    const statistics_kernels statistics_avx2

    enum: MAX_DIMENSIONS

    ctypedef struct strided_tensor:
        const void *data
        const float_format *format
        int dimensions
        int64_t sizes[MAX_DIMENSIONS]
        int64_t strides[MAX_DIMENSIONS]

cdef extern from "running_range.h" nogil:
    enum: PER_TENSOR

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

    int64_t observe_range(const statistics_kernels *, const strided_tensor *, int,
                          const running_range *, int)
    int affine_parameters(const float *, const float *, int64_t, const range_rule *,
                          const range_parameters *)


cdef const fake_quantize_kernels *kernels = NULL
cdef const float_format *formats = NULL
cdef const statistics_kernels *statistics = NULL


def use_isa(str name):
    """Choose the kernels of this instruction set for all calls from now on.

    Done once at import with ``_isa.ISA``. Tests call it to compare two in one process.
    """
    global kernels, formats, statistics
    formats = &half_avx2[0] if name == "avx2" else &half_scalar[0]
    kernels = &fake_quantize_avx2 if name == "avx2" else &fake_quantize_scalar
    statistics = &statistics_avx2 if name == "avx2" else &statistics_scalar


use_isa(ISA)


cdef fake_quantize_layout channels_of(fields):
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


cdef memory_layout _dense = layout_of(None)


cdef float_input input_of(size_t x, const memory_layout *layout, int type) noexcept nogil:
    return float_input(operand(<const void *>x, layout), &formats[type])


cdef float_output output_of(size_t y, int type) noexcept nogil:
    return float_output(<void *>y, &formats[type])


def forward(int type, size_t x, x_layout, size_t y, layout, int threads):
    cdef fake_quantize_layout fields = channels_of(layout)
    cdef memory_layout under = layout_of(x_layout)
    cdef float_input input = input_of(x, &under, type)
    cdef float_output output = output_of(y, type)
    cdef status result
    with nogil:
        result = fake_quantize_forward(kernels, &input, &output, &fields, threads)
    return done(result)


def backward(int type, size_t grad, grad_layout, size_t x, x_layout, size_t grad_x, layout,
             int threads):
    cdef fake_quantize_layout fields = channels_of(layout)
    cdef memory_layout grad_under = layout_of(grad_layout), x_under = layout_of(x_layout)
    cdef float_input gradient = input_of(grad, &grad_under, type)
    cdef float_input input = input_of(x, &x_under, type)
    cdef float_output output = output_of(grad_x, type)
    cdef status result
    with nogil:
        result = fake_quantize_backward(kernels, &gradient, &input, &output, &fields, threads)
    return done(result)


def learn(int type, size_t grad, grad_layout, size_t x, x_layout, size_t grad_x, size_t grad_scale,
          size_t grad_zero_point, double grad_factor, layout, int threads):
    cdef fake_quantize_layout fields = channels_of(layout)
    cdef memory_layout grad_under = layout_of(grad_layout), x_under = layout_of(x_layout)
    cdef float_input gradient = input_of(grad, &grad_under, type)
    cdef float_input input = input_of(x, &x_under, type)
    cdef float_output output = output_of(grad_x, type)
    cdef status result
    with nogil:
        result = fake_quantize_learn(kernels, &gradient, &input, &output, <float *>grad_scale,
                                     <float *>grad_zero_point, grad_factor, &fields, threads)
    return done(result)


# ---- what takes tensors -------------------------------------------------------------------------

cdef object _Tensor = Tensor, _Parameter = Parameter
cdef object _empty_like = torch.empty_like
cdef object _increment_version = torch.autograd.graph.increment_version
cdef object _grad_enabled = torch.is_grad_enabled


cdef inline bint needs_gradient(x) except -1:
    return x.requires_grad and _grad_enabled()


cdef bint contiguous(x, int code, int bits, dlpack_tensor *described) except -1:
    """Describes a tensor; returns whether it is one of these types with memory in order."""
    cdef int64_t step = 1
    cdef int i
    kind = type(x)
    if kind is not _Tensor and kind is not _Parameter:
        return False
    try:
        describe(x, described)
    except Exception:  # it has no memory of its own
        return False
    if (described.device_type != DLPACK_CPU or described.code != code or described.bits != bits
            or described.ndim > MAX_DIMENSIONS or described.data == NULL):
        return False
    for i in range(described.ndim - 1, -1, -1):
        if described.strides[i] != step and described.sizes[i] != 1:
            return False
        step *= described.sizes[i]
    return step > 0 and (code != DLPACK_FLOAT or not x.is_neg())


cdef int64_t numel(const dlpack_tensor *x) noexcept:
    cdef int64_t count = 1
    cdef int i
    for i in range(x.ndim):
        count *= x.sizes[i]
    return count


cdef bint described_parameters(const dlpack_tensor *x, scale, zero_point, axis, quant_min,
                               quant_max, fake_quantize_layout *layout) except -1:
    """Fills in a layout; returns whether the parameters fit the tensor."""
    cdef dlpack_tensor scales, zero_points
    cdef int i, channel_axis = -1
    if not -(2**31) <= quant_min < quant_max < 2**31:
        return False
    layout.quant_min, layout.quant_max = quant_min, quant_max
    if axis is not None:
        if not -x.ndim <= axis < x.ndim:
            return False
        channel_axis = axis % x.ndim
    layout.outer, layout.channels, layout.inner = 1, 1, 1
    layout.zero_points, layout.wide_zero_points, layout.real_zero_points = NULL, NULL, NULL
    for i in range(x.ndim):
        if i < channel_axis:
            layout.outer *= x.sizes[i]
        elif i == channel_axis:
            layout.channels = x.sizes[i]
        else:
            layout.inner *= x.sizes[i]
    if not contiguous(scale, DLPACK_FLOAT, 32, &scales):
        return False
    layout.scales = <const float *>scales.data
    if contiguous(zero_point, DLPACK_INT, 32, &zero_points):
        layout.zero_points = <const int32_t *>zero_points.data
    elif contiguous(zero_point, DLPACK_INT, 64, &zero_points):
        layout.wide_zero_points = <const int64_t *>zero_points.data
    elif contiguous(zero_point, DLPACK_FLOAT, 32, &zero_points):
        layout.real_zero_points = <const float *>zero_points.data
    else:
        return False
    if axis is not None and (scales.ndim != 1 or zero_points.ndim != 1):
        return False
    return numel(&scales) == layout.channels and numel(&zero_points) == layout.channels


def rounded(x, scale, zero_point, axis, quant_min, quant_max):
    """``x`` fake-quantized, without a gradient."""
    cdef dlpack_tensor input, output
    cdef fake_quantize_layout layout
    if not contiguous(x, DLPACK_FLOAT, 32, &input):
        return None
    if not described_parameters(&input, scale, zero_point, axis, quant_min, quant_max, &layout):
        return None
    result = _empty_like(x)
    describe(result, &output)
    cdef int threads = num_threads()
    cdef float_input from_ = input_of(<size_t>input.data, &_dense, 0)
    cdef float_output to = output_of(<size_t>output.data, 0)
    cdef status found
    with nogil:
        found = fake_quantize_forward(kernels, &from_, &to, &layout, threads)
    return result if done(found) else None


def straight_through(grad, x, scale, zero_point, axis, quant_min, quant_max):
    """The gradient of ``rounded``: ``grad`` where nothing was clamped. ``None`` also where torch
    wants to see operators, or a gradient is wanted of this one."""
    cdef dlpack_tensor gradient, input, output
    cdef fake_quantize_layout layout
    cdef int i
    if not unobserved() or _grad_enabled():
        return None
    if not (contiguous(x, DLPACK_FLOAT, 32, &input)
            and contiguous(grad, DLPACK_FLOAT, 32, &gradient) and gradient.ndim == input.ndim):
        return None
    for i in range(input.ndim):
        if gradient.sizes[i] != input.sizes[i]:
            return None
    if not described_parameters(&input, scale, zero_point, axis, quant_min, quant_max, &layout):
        return None
    result = _empty_like(x)
    describe(result, &output)
    cdef int threads = num_threads()
    cdef float_input from_ = input_of(<size_t>input.data, &_dense, 0)
    cdef float_input of_output = input_of(<size_t>gradient.data, &_dense, 0)
    cdef float_output to = output_of(<size_t>output.data, 0)
    cdef status found
    with nogil:
        found = fake_quantize_backward(kernels, &of_output, &from_, &to, &layout, threads)
    return result if done(found) else None


def follow(x, axis, min_val, max_val, averaging_constant, rule, scale, zero_point, count):
    """Takes the range of ``x`` into a running range, and writes the parameters that follow from it
    by ``rule``; adds how many values are finite to an int64 ``count``. Returns how many are not;
    ``None`` also where torch wants to see operators, or a gradient is wanted."""
    cdef dlpack_tensor input, low, high, seen
    cdef fake_quantize_layout layout
    cdef strided_tensor tensor
    cdef int i
    scheme, quant_min, quant_max, fixed_zero_point, eps, power_of_two = rule
    written = min_val, max_val, scale, zero_point, count
    if not unobserved() or needs_gradient(x):
        return None
    for tensor_ in written:
        if needs_gradient(tensor_):
            return None
    if not (contiguous(x, DLPACK_FLOAT, 32, &input)
            and contiguous(min_val, DLPACK_FLOAT, 32, &low)
            and contiguous(max_val, DLPACK_FLOAT, 32, &high)
            and contiguous(count, DLPACK_INT, 64, &seen) and numel(&seen) == 1
            and described_parameters(&input, scale, zero_point, axis, quant_min, quant_max,
                                     &layout)
            and numel(&low) == layout.channels and numel(&high) == layout.channels):
        return None
    tensor.data, tensor.format, tensor.dimensions = input.data, &formats[0], input.ndim
    for i in range(input.ndim):
        tensor.sizes[i], tensor.strides[i] = input.sizes[i], input.strides[i]
    cdef range_rule fields = range_rule(<range_scheme><int>scheme, quant_min, quant_max,
                                        fixed_zero_point, eps, power_of_two)
    cdef running_range range_ = running_range(<float *>low.data, <float *>high.data,
                                              averaging_constant is not None,
                                              averaging_constant or 0.0)
    cdef range_parameters parameters = range_parameters(
        <float *>layout.scales, <int32_t *>layout.zero_points, <int64_t *>layout.wide_zero_points,
        <float *>layout.real_zero_points)
    cdef int threads = num_threads(), channel_axis = PER_TENSOR
    if axis is not None:
        channel_axis = axis % input.ndim
    cdef int64_t dropped
    cdef int valid = 1
    with nogil:
        dropped = observe_range(statistics, &tensor, channel_axis, &range_, threads)
        if dropped >= 0:
            valid = affine_parameters(range_.min, range_.max, layout.channels, &fields,
                                      &parameters)
    if dropped < 0:
        raise MemoryError
    if not valid:
        raise ValueError(f"expected min_val <= max_val, got {min_val} and {max_val}")
    (<int64_t *>seen.data)[0] += numel(&input) - dropped
    if not min_val.is_inference():  # which has no version
        _increment_version(written)
    return dropped
