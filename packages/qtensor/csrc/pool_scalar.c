/* The specification of the pooling kernels. */
#include <string.h>

#include "pool_scalar.h"

static void larger(const uint8_t *taps, int64_t stride, int64_t lanes, uint8_t *restrict out,
                   uint8_t flip) {
    for (int64_t i = 0; i < lanes; i++) {
        const uint8_t value = taps[i * stride] ^ flip, best = out[i] ^ flip;
        out[i] = (value > best ? value : best) ^ flip;
    }
}

static void max(const pool_run *run, uint8_t *out, uint8_t flip) {
    for (int64_t group = 0; group < run->groups; group++, out += run->output_stride) {
        const uint8_t *first = run->input + group * run->group_stride;
        memset(out, flip, run->lanes); /* 0, the smallest, flipped */
        for (int64_t plane = 0; plane < run->planes; plane++) {
            for (int64_t row = 0; row < run->rows; row++) {
                const uint8_t *line = first + plane * run->plane_stride + row * run->row_stride;
                for (int64_t t = 0; t < run->taps; t++) {
                    larger(line + t * run->tap_stride, run->lane_stride, run->lanes, out, flip);
                }
            }
        }
    }
}

enum { BLOCK = 64 };       /* lanes summed at a time */
enum { WORTH_A_LINE = 8 }; /* taps that are summed by themselves */

static void add(const uint8_t *taps, int64_t stride, int64_t lanes, int64_t *restrict sums,
                int32_t zero_point, uint8_t flip) {
    for (int64_t i = 0; i < lanes; i++) {
        sums[i] += (taps[i * stride] ^ flip) - zero_point;
    }
}

/* The means of the windows that begin here, BLOCK at most. */
static void block_mean(const pool_run *run, const uint8_t *first, int64_t lanes, uint8_t *out,
                       const mean_rule *rule, uint8_t flip) {
    int64_t sums[BLOCK] = {0};
    for (int64_t plane = 0; plane < run->planes; plane++) {
        for (int64_t row = 0; row < run->rows; row++) {
            const uint8_t *line = first + plane * run->plane_stride + row * run->row_stride;
            for (int64_t t = 0; t < run->taps; t++) {
                add(line + t * run->tap_stride, run->lane_stride, lanes, sums, rule->zero_point,
                    flip);
            }
        }
    }
    const int64_t divisor = divisor_of(rule, run);
    for (int64_t i = 0; i < lanes; i++) {
        out[i] = rounded_mean(sums[i], divisor, rule) ^ flip;
    }
}

static int64_t sum(const uint8_t *bytes, int64_t n, uint8_t flip) {
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++) {
        total += bytes[i] ^ flip;
    }
    return total;
}

/* The mean of one window, whose taps follow each other. */
static uint8_t line_mean(const pool_run *run, const uint8_t *first, const mean_rule *rule,
                         uint8_t flip) {
    int64_t total = 0;
    for (int64_t plane = 0; plane < run->planes; plane++) {
        for (int64_t row = 0; row < run->rows; row++) {
            const uint8_t *line = first + plane * run->plane_stride + row * run->row_stride;
            total += sum(line, run->taps, flip) - run->taps * rule->zero_point;
        }
    }
    return rounded_mean(total, divisor_of(rule, run), rule) ^ flip;
}

static void mean(const pool_run *run, uint8_t *out, const mean_rule *rule, uint8_t flip) {
    const int lines = run->tap_stride == 1 && run->lane_stride != 1 && run->taps >= WORTH_A_LINE;
    const int64_t most = lines ? 1 : BLOCK;
    for (int64_t group = 0; group < run->groups; group++, out += run->output_stride) {
        for (int64_t lane = 0; lane < run->lanes; lane += most) {
            const uint8_t *first =
                run->input + group * run->group_stride + lane * run->lane_stride;
            const int64_t left = run->lanes - lane;
            if (lines) {
                out[lane] = line_mean(run, first, rule, flip);
            } else {
                block_mean(run, first, left < most ? left : most, out + lane, rule, flip);
            }
        }
    }
}

const pool_kernels pool_scalar = {.max = max, .mean = mean, .sum = sum};
