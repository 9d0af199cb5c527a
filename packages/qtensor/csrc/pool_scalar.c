/* The specification of the pooling kernels. */
#include <string.h>

#include "pool_scalar.h"

/* A window's taps in one row of the input. */
typedef struct {
    const uint8_t *first;
    int64_t taps;
} input_line;

static input_line line_of(const pool_row *row, const pool_run *run, int64_t pixel, int64_t plane,
                          int64_t r) {
    const int64_t column = run->columns.first + pixel * run->step;
    const uint8_t *start = row->input + plane * row->plane_stride + r * row->row_stride;
    return (input_line){start + column * row->channels, run->columns.taps};
}

static void pixel_max(const pool_row *row, const pool_run *run, int64_t i, uint8_t *restrict out,
                      uint8_t flip) {
    memset(out, flip, row->channels); /* 0, the smallest, flipped */
    for (int64_t plane = 0; plane < row->planes; plane++) {
        for (int64_t r = 0; r < row->rows; r++) {
            const input_line line = line_of(row, run, i, plane, r);
            const uint8_t *tap = line.first;
            for (int64_t t = 0; t < line.taps; t++, tap += row->tap_stride) {
                for (int64_t c = 0; c < row->channels; c++) {
                    const uint8_t value = tap[c] ^ flip, best = out[c] ^ flip;
                    out[c] = (value > best ? value : best) ^ flip;
                }
            }
        }
    }
}

static void max(const pool_row *row, uint8_t *out, uint8_t flip) {
    for (const pool_run *run = row->runs; run < row->runs + row->run_count; run++) {
        for (int64_t i = 0; i < run->pixels; i++, out += row->channels) {
            pixel_max(row, run, i, out, flip);
        }
    }
}

enum { BLOCK = 64 }; /* channels summed at a time */

/* The mean of the channels from `start` on, BLOCK at most. */
static void block_mean(const pool_row *row, const pool_run *run, int64_t i, int64_t start,
                       uint8_t *out, const mean_rule *rule, uint8_t flip) {
    const int64_t left = row->channels - start, size = left < BLOCK ? left : BLOCK;
    int64_t sums[BLOCK] = {0};
    for (int64_t plane = 0; plane < row->planes; plane++) {
        for (int64_t r = 0; r < row->rows; r++) {
            const input_line line = line_of(row, run, i, plane, r);
            const uint8_t *tap = line.first + start;
            for (int64_t t = 0; t < line.taps; t++, tap += row->tap_stride) {
                for (int64_t c = 0; c < size; c++) {
                    sums[c] += (tap[c] ^ flip) - rule->zero_point;
                }
            }
        }
    }
    const int64_t divisor = divisor_of(rule, row, run);
    for (int64_t c = 0; c < size; c++) {
        out[start + c] = rounded_mean(sums[c], divisor, rule) ^ flip;
    }
}

static void mean(const pool_row *row, uint8_t *out, const mean_rule *rule, uint8_t flip) {
    for (const pool_run *run = row->runs; run < row->runs + row->run_count; run++) {
        for (int64_t i = 0; i < run->pixels; i++, out += row->channels) {
            for (int64_t start = 0; start < row->channels; start += BLOCK) {
                block_mean(row, run, i, start, out, rule, flip);
            }
        }
    }
}

static int64_t sum(const uint8_t *bytes, int64_t n, uint8_t flip) {
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++) {
        total += bytes[i] ^ flip;
    }
    return total;
}

const pool_kernels pool_scalar = {.max = max, .mean = mean, .sum = sum};
