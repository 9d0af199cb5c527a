/* The kernels in plain C: the specification that every other instruction set equals. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "gemm.h"

static inline void add_step(const uint8_t *a, const uint8_t *order, const int8_t *weights,
                            uint32_t *acc) {
    for (int c = 0; c < CHANNELS; c++)
        for (int j = 0; j < STEP; j++) acc[c] += (uint32_t)(a[order[j]] * weights[c * STEP + j]);
}

/* See store_wide() in pack.c. */
static inline void add_wide_step(const uint8_t *a, const int8_t *weights, uint32_t *acc) {
    for (int c = 0; c < CHANNELS; c++) {
        const int8_t *half = weights + c / 8 * 32 + c % 8 * 2;
        acc[c] += (uint32_t)(a[0] * half[0] + a[2] * half[1]);
        acc[c] += (uint32_t)(a[1] * half[16] + a[3] * half[17]);
    }
}

static inline void tile(const uint8_t *const *rows, const panel *p, const int32_t *start,
                        int32_t *acc, int count) {
    for (int r = 0; r < count; r++) {
        const int32_t *offset = p->offsets;
        const int8_t *weights = p->weights;
        uint32_t *sums = (uint32_t *)acc + r * CHANNELS;
        memcpy(sums, start, CHANNELS * sizeof *start);
        for (int32_t s = 0; s < 2 * p->pairs; s++, weights += STEP_BYTES)
            add_step(rows[r] + *offset++, step_orders[0], weights, sums);
        for (int o = 0; o < ORDERS; o++)
            for (int32_t s = 0; s < p->single[o]; s++, weights += STEP_BYTES)
                add_step(rows[r] + *offset++, step_orders[o], weights, sums);
        for (int32_t s = 0; s < p->wide; s++, weights += STEP_BYTES)
            add_wide_step(rows[r] + *offset++, weights, sums);
    }
}

static inline void depthwise(const uint8_t *const *rows, const panel *p, const int32_t *start,
                             int32_t *acc, int count) {
    for (int r = 0; r < count; r++) {
        const int16_t *weights = (const int16_t *)p->weights;
        uint32_t *sums = (uint32_t *)acc + r * CHANNELS;
        memcpy(sums, start, CHANNELS * sizeof *start);
        for (int32_t t = 0; t < 2 * p->pairs; t++) {
            const uint8_t *a = rows[r] + p->offsets[t];
            const int16_t *tap = weights + t / 2 * 2 * CHANNELS + t % 2;
            for (int c = 0; c < CHANNELS; c++) sums[c] += (uint32_t)(a[c] * tap[2 * c]);
        }
    }
}

#define TILE(ROWS)                                                                              \
    static void tile_##ROWS(const uint8_t *const *rows, const panel *p, const int32_t *start,   \
                            int32_t *acc) {                                                     \
        tile(rows, p, start, acc, ROWS);                                                        \
    }                                                                                           \
    static void depthwise_##ROWS(const uint8_t *const *rows, const panel *p,                    \
                                 const int32_t *start, int32_t *acc) {                          \
        depthwise(rows, p, start, acc, ROWS);                                                   \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)

static void rank_one(int32_t *acc, int rows, const int32_t *row, const int32_t *channel) {
    uint32_t *sums = (uint32_t *)acc;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < CHANNELS; c++)
            sums[r * CHANNELS + c] += (uint32_t)row[r] * (uint32_t)channel[c];
}

static void to_float(const int32_t *acc, int rows, float *sums) {
    for (int i = 0; i < rows * CHANNELS; i++) sums[i] = (float)acc[i];
}

static void requantize(const int32_t *acc, int rows, const finish *f, const uint8_t *residual,
                       uint8_t *out) {
    float sums[MAX_ROWS * CHANNELS];
    to_float(acc, rows, sums);
    requantize_sums(sums, rows, f, residual, out);
}

static void dequantize(const int32_t *acc, int rows, const finish *f, const float *row_scales,
                       float *out) {
    float sums[MAX_ROWS * CHANNELS];
    to_float(acc, rows, sums);
    dequantize_sums(sums, rows, f, row_scales, out);
}

static uint8_t or_bytes(const uint8_t *bytes, int64_t count) {
    uint8_t all = 0;
    for (int64_t i = 0; i < count; i++) all |= bytes[i];
    return all;
}

static bool range(const float *values, int64_t count, float *lowest, float *highest) {
    float low = 0, high = 0;
    bool finite = true;
    for (int64_t i = 0; i < count; i++) {
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
        finite &= fabsf(values[i]) <= FLT_MAX;
    }
    *lowest = low;
    *highest = high;
    return finite;
}

static void quantize(const float *values, int64_t count, float inverse_scale, int32_t zero_point,
                     int32_t quant_max, uint8_t *out) {
    float lowest = (float)-zero_point, highest = (float)(quant_max - zero_point);
    for (int64_t i = 0; i < count; i++) {
        float t = values[i] * inverse_scale;
        t = t > lowest ? t : lowest;
        t = t < highest ? t : highest;
        out[i] = (uint8_t)((int32_t)rintf(t) + zero_point);
    }
}

const kernels scalar_kernels = {
    .name = "scalar",
    .tile = {0, tile_1, tile_2, tile_3, tile_4},
    .depthwise = {0, depthwise_1, depthwise_2, depthwise_3, depthwise_4},
    .rank_one = rank_one,
    .requantize = requantize,
    .dequantize = dequantize,
    .or_bytes = or_bytes,
    .range = range,
    .quantize = quantize,
};
