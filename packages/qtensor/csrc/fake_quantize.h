/* Fake quantize: float in, float out, with the values that quantizing and dequantizing give.
 *
 * As in elementwise.h there are two layers: drivers (fake_quantize.c) that know tensors, and one
 * table of kernels for each instruction set, of which `fake_quantize_scalar` is the specification
 * and every other equals it bit for bit. */
#ifndef QTENSOR_FAKE_QUANTIZE_H
#define QTENSOR_FAKE_QUANTIZE_H

#include "blocks.h"

/* One value for each channel, or for each element of a row.
 *
 *     t = x * inverse_scale + offset      c = clamp(rne(t), lo, hi)      y = (c - offset) * scale
 *
 * For an integer zero point z, offset is 0 and the bounds are quant_min - z and quant_max - z; for
 * a real one, offset is z. NaN clamps to lo. All in float32, in this order of operations. */
typedef struct {
    const float *scale, *inverse_scale, *offset, *lo, *hi;
} fake_quantize_params;

/* What the gradients of scale and zero point are made of. */
typedef struct {
    double *scale; /* sum of grad * ((c - offset) - (inside ? t - offset : 0)) */
    double *zero_point; /* sum of grad where the value was clamped */
} fake_quantize_sums;

/* `step` is 0 if all n elements have the first of the params, 1 if each has its own.
 * Gradients pass where rne(t) lies within the bounds; elsewhere, and for NaN, they are 0. */
typedef struct {
    void (*forward)(const float *x, float *y, int64_t n, const fake_quantize_params *p, int step);
    void (*backward)(const float *grad, const float *x, float *grad_x, int64_t n,
                     const fake_quantize_params *p, int step);
    /* As backward, and adds to the sums: to the first, or with step 1 to each element's own. */
    void (*learn)(const float *grad, const float *x, float *grad_x, int64_t n,
                  const fake_quantize_params *p, int step, const fake_quantize_sums *sums);
} fake_quantize_kernels;

extern const fake_quantize_kernels fake_quantize_scalar, fake_quantize_avx2;

/* ---- Drivers ---------------------------------------------------------------------------------
 * Outputs are dense, and inputs are read in the order of their memory; both are of one type.
 * `threads` is the most that may be used. */

/* A tensor as (outer, channels, inner) in memory order; channels is 1 per tensor. */
typedef struct {
    int64_t outer, channels, inner;
    /* One for each channel. One kind of zero points is given, the others are NULL. */
    const float *scales;
    const int32_t *zero_points;
    const int64_t *wide_zero_points;
    const float *real_zero_points;
    int64_t quant_min, quant_max;
} fake_quantize_layout;

/* Bad are a scale that is not positive and finite, or whose reciprocal is not, and a zero point
 * that is out of range, or not finite. Nothing is written unless all is well. */
enum fake_quantize_status {
    FAKE_QUANTIZE_DONE,
    FAKE_QUANTIZE_NO_MEMORY,
    FAKE_QUANTIZE_BAD_PARAMETERS,
};

enum fake_quantize_status fake_quantize_forward(
    const fake_quantize_kernels *kernels, const float_input *x, const float_output *y,
    const fake_quantize_layout *layout, int threads);

enum fake_quantize_status fake_quantize_backward(
    const fake_quantize_kernels *kernels, const float_input *grad, const float_input *x,
    const float_output *grad_x, const fake_quantize_layout *layout, int threads);

/* Also the gradients of scale and zero point, one for each channel. Neither depends on `threads`:
 * every sum has an order of its own. */
enum fake_quantize_status fake_quantize_learn(
    const fake_quantize_kernels *kernels, const float_input *grad, const float_input *x,
    const float_output *grad_x, float *grad_scale, float *grad_zero_point, double grad_factor,
    const fake_quantize_layout *layout, int threads);

#endif
