/* Packs the weights of depthwise convolutions: depthwise.h tells how they lie. */
#include <stdlib.h>
#include <string.h>

#include "depthwise.h"

/* All steps of one panel, of which `weights` are those of the first channel; returns their end. */
static int16_t *pack_steps(const int16_t *weights, int64_t channels, bool twice,
                           const int64_t *taps, int parity, int16_t *out) {
    int64_t volume_of_taps = volume(taps);
    for (int64_t z = 0; z < taps[0]; z++) {
        for (int64_t j = 0; j < joined_lines(taps[1], parity); j++) {
            for (int64_t x = 0; x < taps[2]; x++, out += JOINED) {
                for (int i = 0; i < 2; i++) {
                    int64_t y = 2 * j + i - parity;
                    if (y < 0 || y >= taps[1]) continue;
                    const int16_t *from = weights + (z * taps[1] + y) * taps[2] + x;
                    for (int c = 0; c < channels; c++) {
                        out[2 * place_of(c) + i] = from[c * volume_of_taps];
                        if (twice)
                            out[2 * place_of(CHANNELS + c) + i] = from[c * volume_of_taps];
                    }
                }
            }
        }
    }
    return out;
}

packed *pack_depthwise(const int16_t *weights, int64_t channels, int64_t multiplier,
                       const int64_t *taps) {
    int64_t panels = divide_up(channels, LANES);
    struct depthwise_weights all = {.multiplier = multiplier};
    for (int a = 0; a < AXES; a++) all.taps[a] = larger(taps[a], 1);
    for (int parity = 0; parity < PARITIES; parity++)
        all.steps[parity] = all.taps[0] * joined_lines(all.taps[1], parity) * all.taps[2];
    size_t head = (sizeof all + 63) & ~(size_t)63;
    size_t bytes = (size_t)(panels * (all.steps[0] + all.steps[1])) * JOINED * sizeof(int16_t);

    packed *p = calloc(1, sizeof *p);
    char *memory = aligned_alloc(64, head + bytes);
    if (!p || !memory) {
        free(p);
        free(memory);
        return NULL;
    }
    int16_t *out = memset(memory + head, 0, bytes);
    all.weights = out;
    *p = (packed){.channels = channels, .groups = 1, .k = volume(taps),
                  .bytes = (int64_t)(head + bytes), .counts = {0, 0, 0, panels * all.steps[0]},
                  .depthwise = memcpy(memory, &all, sizeof all), .memory = memory};
    for (int64_t panel = 0; panel < panels && p->k; panel++) {
        int64_t first = first_channel(panel, channels);
        for (int parity = 0; parity < PARITIES; parity++)
            out = pack_steps(weights + first * p->k, panel_channels(panel, channels),
                             is_twice(panel, channels), taps, parity, out);
    }
    return p;
}
