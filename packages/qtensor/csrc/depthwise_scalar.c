/* The depthwise kernel in plain C: the specification that every other instruction set equals. */
#include <string.h>

#include "gemm.h"

/* See emit_taps() in pack.c. */
static inline void add_taps(const uint8_t *row, const int32_t *offset, const int8_t *weights,
                            bool wide, uint32_t *sums) {
    const uint8_t *a = row + offset[0], *b = row + offset[1];
    for (int c = 0; c < DEPTHWISE_CHANNELS; c++) {
        int half = c / 16, eight = c / 8 % 2, within = c % 8;
        const int8_t *narrow = weights + 2 * (eight * 16 + half * 8 + within);
        const int16_t *pair = (const int16_t *)weights +
                              2 * (eight * 16 + within % 2 * 8 + half * 4 + within / 2);
        int wa = wide ? pair[0] : narrow[0], wb = wide ? pair[1] : narrow[1];
        sums[c] += (uint32_t)(a[c] * wa + b[c] * wb);
    }
}

void depthwise_scalar(const uint8_t *const *rows, int count, const panel *p, const int32_t *start,
                      int32_t *acc) {
    for (int r = 0; r < count; r++) {
        const int32_t *offset = p->offsets;
        const int8_t *weights = p->weights;
        uint32_t sums[DEPTHWISE_CHANNELS];
        memcpy(sums, start, sizeof sums);
        int32_t narrow = 2 * p->pairs + p->single[0];
        for (int32_t s = 0; s < narrow; s++, offset += 2, weights += STEP_BYTES)
            add_taps(rows[r], offset, weights, false, sums);
        for (int32_t s = 0; s < p->wide; s++, offset += 2, weights += WIDE_BYTES)
            add_taps(rows[r], offset, weights, true, sums);
        for (int h = 0; h < HALVES; h++)
            memcpy(acc + h * HALF_SUMS + r * CHANNELS, sums + h * CHANNELS,
                   CHANNELS * sizeof *sums);
    }
}
