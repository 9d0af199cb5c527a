/* The specification of the pooling kernels. */
#include <string.h>

#include "pool_scalar.h"

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

const pool_kernels pool_scalar = {
    .max = pool_max,
    .mean = pool_mean,
};
