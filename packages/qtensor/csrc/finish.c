/* The specification of what follows the integer sums. Every instruction set does exactly this, in
 * this order, in float32, without fused multiply-add. */
#include <float.h>
#include <math.h>

#include "activation_scalar.h"
#include "gemm.h"

/* ---- activations; qtensor/_ops/_activation.py tells the formulas and where they are from ---- */

static float tanh_of(float x) {
    float m = expm1_negative(-2 * fabsf(x));
    float y = m / (m + 2); /* tanh(-|x|) */
    return x > 0 ? -y : y;
}

/* The normal distribution below -|x|. */
static float normal_tail(float x) {
    float k = 1 / (1 + fabsf(x) * ERF_P);
    float p = ERF_5;
    p = p * k + ERF_4;
    p = p * k + ERF_3;
    p = p * k + ERF_2;
    p = p * k + ERF_1;
    return 0.5f * (p * k) * (expm1_negative(x * x * -0.5f) + 1);
}

/* The logistic function of -|x (LOGISTIC_1 + LOGISTIC_3 x^2)|. */
static float logistic_tail(float x) {
    float m = expm1_negative(-fabsf(x * (LOGISTIC_1 + LOGISTIC_3 * (x * x))));
    return (m + 1) / (m + 2);
}

static float activated(float t, const finish *f) {
    t = -FLT_MAX > t ? -FLT_MAX : t; /* infinity times 0 is NaN */
    if (f->activation == LEAKY_RELU) return t > 0 ? t : t * f->negative_slope;
    float x = t * f->scale;
    if (f->activation == TANH) return tanh_of(x) * f->inverse_scale;
    float tail = f->activation == GELU ? normal_tail(x) : logistic_tail(x);
    return t * (x < 0 ? tail : 1 - tail);
}

/* ---- output ---- */

void requantize_sums(const float *sums, int rows, const finish *f, const uint8_t *residual,
                     uint8_t *out) {
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < f->columns; c++) {
            float t = sums[r * CHANNELS + c] * f->multiplier[r * f->multiplier_step + c];
            t += f->bias[r * f->bias_step + c];
            if (residual) {
                uint8_t byte = residual[r * f->stride + c];
                int32_t value = f->is_signed ? (int8_t)byte : byte;
                t += (float)(value - f->residual_zero_point) * f->residual_multiplier;
            }
            if (f->activation) t = activated(t, f);
            t = t > f->lowest ? t : f->lowest; /* so NaN becomes the lowest */
            t = t < f->highest ? t : f->highest;
            out[r * f->stride + c] = (uint8_t)((int32_t)rintf(t) + f->zero_point);
        }
    }
}

void dequantize_sums(const float *sums, int rows, const finish *restrict f,
                     const float *row_scales, float *restrict out) {
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < f->columns; c++) {
            float t = sums[r * CHANNELS + c] * f->multiplier[r * f->multiplier_step + c];
            t *= row_scales[r];
            t += f->bias[r * f->bias_step + c];
            if (f->activation) t = activated(t, f);
            t = f->lowest > t ? f->lowest : t; /* so NaN stays NaN */
            t = f->highest < t ? f->highest : t;
            out[r * f->stride + c] = t;
        }
    }
}

static void to_float(const int32_t *acc, int rows, float *sums) {
    for (int i = 0; i < rows * CHANNELS; i++) sums[i] = (float)acc[i];
}

void requantize_scalar(const int32_t *acc, int rows, const finish *restrict f,
                       const uint8_t *residual, uint8_t *out) {
    float sums[MAX_ROWS * CHANNELS];
    to_float(acc, rows, sums);
    requantize_sums(sums, rows, f, residual, out);
}

void dequantize_scalar(const int32_t *acc, int rows, const finish *restrict f,
                       const float *row_scales, float *restrict out) {
    float sums[MAX_ROWS * CHANNELS];
    to_float(acc, rows, sums);
    dequantize_sums(sums, rows, f, row_scales, out);
}
