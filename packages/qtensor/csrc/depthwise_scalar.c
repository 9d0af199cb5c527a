/* The depthwise kernels in plain C: the specification that every other instruction set equals. */
#include <string.h>

#include "depthwise.h"

static void join(const pixel_pairs *pixels, int64_t count, uint8_t flip, int32_t zero_point,
                 int16_t *to) {
    for (int64_t at = 0; at < count; at++, to += JOINED) {
        for (int i = 0; i < 2; i++) {
            for (int c = 0; c < LANES; c++) {
                const int half = c / CHANNELS;
                const uint8_t *from = pixels->from[i][half] + at * pixels->pitch[i][half];
                to[2 * place_of(c) + i] = (int16_t)((from[c % CHANNELS] ^ flip) - zero_point);
            }
        }
    }
}

static void sums(const depthwise_line *line, int64_t count, int32_t *sums) {
    for (int64_t i = 0; i < count; i++) {
        uint32_t acc[LANES] = {0};
        for (int64_t s = 0; s < line->steps; s++) {
            const int16_t *a = line->staged + i * line->pitch + line->offsets[s];
            const int16_t *w = line->weights + s * JOINED;
            for (int c = 0; c < LANES; c++) {
                int at = 2 * place_of(c);
                acc[c] += (uint32_t)(a[at] * w[at] + a[at + 1] * w[at + 1]);
            }
        }
        memcpy(sums + i * LANES, acc, sizeof acc);
    }
}

const struct depthwise_kernels depthwise_scalar = {.join = join, .sums = sums};
