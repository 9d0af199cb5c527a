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

static void pixel_max(const pool_row *row, int64_t i, uint8_t *restrict out, uint8_t flip) {
    const pool_span span = row->columns[i];
    const uint8_t *first = row->input + span.first * row->channels;
    memset(out, flip, row->channels); /* 0, the smallest, flipped */
    for (int64_t r = 0; r < row->rows; r++) {
        for (int64_t t = 0; t < span.taps; t++) {
            const uint8_t *tap = first + r * row->row_stride + t * row->tap_stride;
            for (int64_t c = 0; c < row->channels; c++) {
                const uint8_t value = tap[c] ^ flip, best = out[c] ^ flip;
                out[c] = (value > best ? value : best) ^ flip;
            }
        }
    }
}

static void pool_max(const pool_row *row, uint8_t *out, uint8_t flip) {
    for (int64_t i = 0; i < row->pixels; i++) {
        pixel_max(row, i, out + i * row->channels, flip);
    }
}

enum { BLOCK = 64 }; /* channels summed at a time */

static void pixel_mean(const pool_row *row, int64_t i, uint8_t *out, int32_t zero_point,
                       uint8_t flip) {
    const pool_span span = row->columns[i];
    const int64_t bias = row->rows * span.taps * zero_point;
    for (int64_t start = 0; start < row->channels; start += BLOCK) {
        const int64_t left = row->channels - start, size = left < BLOCK ? left : BLOCK;
        const uint8_t *first = row->input + span.first * row->channels + start;
        int64_t sums[BLOCK] = {0};
        for (int64_t r = 0; r < row->rows; r++) {
            for (int64_t t = 0; t < span.taps; t++) {
                const uint8_t *tap = first + r * row->row_stride + t * row->tap_stride;
                for (int64_t c = 0; c < size; c++) {
                    sums[c] += tap[c] ^ flip;
                }
            }
        }
        for (int64_t c = 0; c < size; c++) {
            out[start + c] = rounded_mean(sums[c] - bias, divisor_of(row, i), zero_point) ^ flip;
        }
    }
}

static void pool_mean(const pool_row *row, uint8_t *out, int32_t zero_point, uint8_t flip) {
    for (int64_t i = 0; i < row->pixels; i++) {
        pixel_mean(row, i, out + i * row->channels, zero_point, flip);
    }
}

const elementwise_kernels elementwise_scalar = {
    .quantize = quantize,
    .dequantize = dequantize,
    .add = add,
    .pool_max = pool_max,
    .pool_mean = pool_mean,
};
