/* Depthwise convolution, where each output channel sees one input channel. README.md tells the
 * scheme.
 *
 * 32 output channels form a PANEL. Two taps, one under the other, form a STEP. The activations of a
 * step lie JOINED: those of the first tap and of the second, side by side for each channel, in
 * 16 bits and without their zero point. Its weights lie likewise.
 */
#ifndef QTENSOR_DEPTHWISE_H
#define QTENSOR_DEPTHWISE_H

#include "conv.h"

enum {
    LANES = 32,         /* channels of a panel */
    JOINED = 2 * LANES, /* numbers of a step */
};

/* Channels lie in the order in which unpacking bytes to 32 bits leaves them, so that packing 32
 * bits to bytes puts them back: 0-3, 16-19, 4-7, 20-23, 8-11, 24-27, 12-15, 28-31. */
static inline int place_of(int channel) {
    return channel % 16 / 4 * 8 + channel / 16 * 4 + channel % 4;
}

/* Lines are joined two by two: 0 and 1, 2 and 3 and so on. So outputs whose first tap lies in an
 * even line need other steps than those where it lies in an odd one, and every panel has both:
 * taps (0, 1), (2, 3) ..., and (none, 0), (1, 2) ... What is no tap has weight 0. */
enum { PARITIES = 2 };

struct depthwise_weights {
    int64_t multiplier;      /* output channels of an input channel */
    int64_t taps[AXES];      /* at least one: without taps there is one of weight 0 */
    int64_t steps[PARITIES]; /* of a panel */
    const int16_t *weights;  /* [panels][steps[0] + steps[1]][JOINED] */
};

/* The last panel, where it has no more channels than half of the others, has these TWICE, for two
 * lines of outputs. */
static inline bool is_twice(int64_t panel, int64_t channels) {
    return channels - panel * LANES <= CHANNELS;
}

/* A panel's channels. The last panel has as many as it has room for, if there are so many: some of
 * its sums are another's too. */
static inline int64_t panel_channels(int64_t panel, int64_t channels) {
    return smaller(channels, is_twice(panel, channels) ? CHANNELS : LANES);
}

static inline int64_t first_channel(int64_t panel, int64_t channels) {
    return smaller(panel * LANES, channels - panel_channels(panel, channels));
}

/* Joined lines of taps under an output's column, by the parity of the first. */
static inline int64_t joined_lines(int64_t taps, int parity) { return (taps + 1 + parity) / 2; }

/* Pixels of two lines that are to be joined: the bytes of the first and of the second half of the
 * lanes, and how far it is to those of the next pixel. */
typedef struct {
    const uint8_t *from[2][LANES / CHANNELS];
    int64_t pitch[2][LANES / CHANNELS];
} pixel_pairs;

/* The sums of one line of outputs. */
typedef struct {
    const int16_t *staged;  /* the first output's activations at offset 0 */
    const int32_t *offsets; /* of each step, in int16s */
    const int16_t *weights; /* [steps][JOINED] */
    int64_t steps;
    int64_t pitch;          /* from one output's activations to the next one's, in int16s */
} depthwise_line;

/* How the sums of a panel become bytes where nothing is added and no result leaves int32. */
typedef struct {
    _Alignas(32) float multiplier[LANES], bias[LANES]; /* by place */
    int16_t zero_point;
    uint8_t lowest, highest, flip;
} depthwise_finish;

/* The kernels of one instruction set. */
struct depthwise_kernels {
    /* to[pixel][JOINED] = the bytes, flipped, less zero_point. */
    void (*join)(const pixel_pairs *pixels, int64_t count, uint8_t flip, int32_t zero_point,
                 int16_t *to);
    /* sums[output][channel], in wrapping 32-bit arithmetic. */
    void (*sums)(const depthwise_line *line, int64_t count, int32_t *sums);
    /* The same, turned into the panel's bytes: a shortcut, which an instruction set may lack. */
    void (*bytes)(const depthwise_line *line, int64_t count, const depthwise_finish *f,
                  uint8_t *out, int64_t stride);
};

#endif
