/* The specification of what follows the integer sums. Every instruction set does exactly this, in
 * this order, in float32, without fused multiply-add. */
#include <math.h>

#include "gemm.h"

void requantize_sums(const float *sums, int rows, const finish *f, const uint8_t *residual,
                     uint8_t *out) {
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < f->columns; c++) {
            float t = sums[r * CHANNELS + c] * f->multiplier[c];
            t += f->bias[c];
            if (residual) {
                uint8_t byte = residual[r * f->stride + c];
                int32_t value = f->is_signed ? (int8_t)byte : byte;
                t += (float)(value - f->residual_zero_point) * f->residual_multiplier;
            }
            t = t > f->lowest ? t : f->lowest; /* so NaN becomes the lowest */
            t = t < f->highest ? t : f->highest;
            out[r * f->stride + c] = (uint8_t)((int32_t)rintf(t) + f->zero_point);
        }
    }
}

void dequantize_sums(const float *sums, int rows, const finish *f, const float *row_scales,
                     float *out) {
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < f->columns; c++) {
            float t = sums[r * CHANNELS + c] * f->multiplier[c];
            t *= row_scales[r];
            t += f->bias[c];
            t = f->lowest > t ? f->lowest : t; /* so NaN stays NaN */
            t = f->highest < t ? f->highest : t;
            out[r * f->stride + c] = t;
        }
    }
}
