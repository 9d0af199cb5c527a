/* The specification of the elementwise and pooling kernels. */
#include <math.h>
#include <string.h>

#include "elementwise_scalar.h"

static void quantize(const float *x, uint8_t *q, int64_t n, const quantize_params *p,
                     uint8_t flip) {
    const float lo = (float)(p->quant_min - p->zero_point);
    const float hi = (float)(p->quant_max - p->zero_point);
    for (int64_t i = 0; i < n; i++) {
        float t = x[i] * p->inverse_scale + p->offset;
        t = t > lo ? t : lo; /* NaN compares false: lo */
        t = t < hi ? t : hi;
        q[i] = (uint8_t)((int32_t)lrintf(t) + p->zero_point) ^ flip;
    }
}

static void dequantize(const uint8_t *q, float *x, int64_t n, float scale, float zero_point,
                       uint8_t flip) {
    for (int64_t i = 0; i < n; i++) {
        x[i] = ((float)(q[i] ^ flip) - zero_point) * scale;
    }
}

static void add(const uint8_t *a, const uint8_t *b, uint8_t *out, int64_t n, const add_params *p,
                uint8_t flip) {
    for (int64_t i = 0; i < n; i++) {
        float t = (float)((a[i] ^ flip) - p->a_zero_point) * p->a_multiplier;
        t += (float)((b[i] ^ flip) - p->b_zero_point) * p->b_multiplier;
        t = t > p->lo ? t : p->lo;
        t = t < p->hi ? t : p->hi;
        out[i] = (uint8_t)((int32_t)lrintf(t) + p->zero_point) ^ flip;
    }
}

static void window_max(const pool_window *w, int64_t channels, uint8_t *restrict out,
                       uint8_t flip) {
    memset(out, flip, channels); /* 0, the smallest, flipped */
    for (int64_t r = 0; r < w->rows; r++) {
        for (int64_t c = 0; c < w->columns; c++) {
            const uint8_t *pixel = w->first + r * w->row_stride + c * w->column_stride;
            for (int64_t i = 0; i < channels; i++) {
                const uint8_t value = pixel[i] ^ flip, best = out[i] ^ flip;
                out[i] = (value > best ? value : best) ^ flip;
            }
        }
    }
}

enum { BLOCK = 64 }; /* channels summed at a time */

static void window_mean(const pool_window *w, int64_t channels, uint8_t *out, int32_t zero_point,
                        int64_t divisor, uint8_t flip) {
    const int64_t bias = w->rows * w->columns * zero_point;
    for (int64_t start = 0; start < channels; start += BLOCK) {
        const int64_t size = channels - start < BLOCK ? channels - start : BLOCK;
        int64_t sums[BLOCK] = {0};
        for (int64_t r = 0; r < w->rows; r++) {
            for (int64_t c = 0; c < w->columns; c++) {
                const uint8_t *pixel =
                    w->first + r * w->row_stride + c * w->column_stride + start;
                for (int64_t i = 0; i < size; i++) {
                    sums[i] += pixel[i] ^ flip;
                }
            }
        }
        for (int64_t i = 0; i < size; i++) {
            out[start + i] = rounded_mean(sums[i] - bias, divisor, zero_point) ^ flip;
        }
    }
}

const elementwise_kernels elementwise_scalar = {
    .quantize = quantize,
    .dequantize = dequantize,
    .add = add,
    .window_max = window_max,
    .window_mean = window_mean,
};
