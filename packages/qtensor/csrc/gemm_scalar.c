/* The kernels in plain C: the specification that every other instruction set equals. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "one_row.h"

static inline void add_step(const uint8_t *a, const uint8_t *complement, const int8_t *weights,
                            uint32_t *acc) {
    for (int c = 0; c < CHANNELS; c++)
        for (int j = 0; j < STEP; j++)
            acc[c] += (uint32_t)((a[j] ^ complement[j]) * weights[c * STEP + j]);
}

/* See store_wide() in pack.c. */
static inline void add_wide_step(const uint8_t *a, const int16_t *weights, uint32_t *acc) {
    for (int c = 0; c < CHANNELS; c++) {
        const int16_t *half = weights + c / 8 * 32 + c % 8 * 2;
        acc[c] += (uint32_t)(a[0] * half[0] + a[2] * half[1]);
        acc[c] += (uint32_t)(a[1] * half[16] + a[3] * half[17]);
    }
}

static void dense(const uint8_t *const *rows, int count, const panel *p, int32_t zero_point,
                  int32_t *acc) {
    static const uint8_t none[STEP];
    for (int r = 0; r < count; r++) {
        const int32_t *offset = p->offsets;
        const int8_t *weights = p->weights;
        uint32_t *sums = (uint32_t *)acc + r * CHANNELS;
        for (int c = 0; c < CHANNELS; c++)
            sums[c] = (uint32_t)p->complemented[c] - (uint32_t)zero_point * (uint32_t)p->sums[c];
        int32_t bundled = 4 * p->quads + 2 * (p->pairs + p->centred_pairs);
        for (int32_t s = 0; s < bundled; s++, weights += STEP_BYTES)
            add_step(rows[r] + *offset++, none, weights, sums);
        for (int32_t s = 0; s < p->single; s++, weights += STEP_BYTES)
            add_step(rows[r] + *offset++, p->complements + s * STEP, weights, sums);
        for (int32_t s = 0; s < p->wide; s++, weights += WIDE_BYTES)
            add_wide_step(rows[r] + *offset++, (const int16_t *)weights, sums);
    }
}

static void subtract_products(int32_t *acc, int rows, const int32_t *row,
                              const int32_t *channel) {
    uint32_t *sums = (uint32_t *)acc;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < CHANNELS; c++)
            sums[r * CHANNELS + c] -= (uint32_t)row[r] * (uint32_t)channel[c];
}

static uint8_t or_bytes(const uint8_t *bytes, int64_t count) {
    uint8_t all = 0;
    for (int64_t i = 0; i < count; i++) all |= bytes[i];
    return all;
}

static void copy_in_orders(uint8_t *row, int64_t bytes) {
    for (int o = 1; o < ORDERS; o++)
        for (int64_t i = 0; i < bytes; i++)
            row[o * bytes + i] = row[i - i % STEP + step_orders[o][i % STEP]];
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

const kernels scalar_kernels = {
    .name = "scalar",
    .dense = dense,
    .one_row = one_row_scalar,
    .depthwise = &depthwise_scalar,
    .subtract_products = subtract_products,
    .requantize = requantize_scalar,
    .dequantize = dequantize_scalar,
    .finish_floats = dequantize_sums,
    .float_rows = float_rows_scalar,
    .or_bytes = or_bytes,
    .copy_in_orders = copy_in_orders,
    .range = range,
    .elementwise = &elementwise_scalar,
};
