/* The loops of depthwise convolution alone, on data that stay in the L1 cache. depthwise_limits.py
 * compiles this with csrc/depthwise_avx2.c. */
#include <string.h>
#include <time.h>

#include "depthwise.h"

#define EXPORT __attribute__((visibility("default")))

enum {
    CALLS = 50,    /* in a sample */
    PIXELS = 64,   /* of a line, at most */
    LINES = 3,     /* joined, that are needed at once */
    TAPS = 5,      /* along each axis, at most */
};

static _Alignas(64) int16_t joined[LINES * PIXELS * JOINED], weights[LINES * TAPS * JOINED];
static _Alignas(64) uint8_t bytes[2 * PIXELS * LANES];

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double fewer(double best, double sample) { return best && best < sample ? best : sample; }

/* Additions that wait for each other take a cycle each. */
EXPORT double cycle(int samples) {
    double best = 0;
    for (int i = 0; i < samples; i++) {
        uint64_t sum = 0;
        const double start = seconds();
        for (int j = 0; j < 1000 * CALLS; j++) __asm__ volatile("add $1, %0" : "+r"(sum));
        best = fewer(best, (seconds() - start) / (1000 * CALLS));
    }
    return best;
}

/* The sums of a line of outputs, for 32 channels, and the bytes that they become. */
EXPORT double kernel(int taps, int stride, int columns, int samples) {
    const int width = (columns - 1) * stride + taps;
    int32_t offsets[LINES * TAPS], *offset = offsets;
    for (int y = 0; y < joined_lines(taps, 0); y++)
        for (int x = 0; x < taps; x++) *offset++ = (y * width + x) * JOINED;
    const depthwise_line line = {.staged = joined, .offsets = offsets, .weights = weights,
                                 .steps = offset - offsets, .pitch = stride * JOINED};
    const depthwise_finish finish = {.highest = UINT8_MAX};
    double best = 0;
    memset(joined, 1, sizeof joined); /* pages never written would all be the same one */
    memset(weights, 1, sizeof weights);
    for (int i = 0; i < samples; i++) {
        const double start = seconds();
        for (int j = 0; j < CALLS; j++)
            depthwise_avx2.bytes(&line, columns, &finish, bytes, LANES);
        best = fewer(best, (seconds() - start) / CALLS);
    }
    return best;
}

/* Pixels of two lines joined, of 32 channels. */
EXPORT double joining(int pixels, int samples) {
    const uint8_t *upper = bytes, *lower = bytes + PIXELS * LANES;
    const pixel_pairs pairs = {
        .from = {{upper, upper + CHANNELS}, {lower, lower + CHANNELS}},
        .pitch = {{LANES, LANES}, {LANES, LANES}},
    };
    double best = 0;
    for (int i = 0; i < samples; i++) {
        const double start = seconds();
        for (int j = 0; j < CALLS; j++) depthwise_avx2.join(&pairs, pixels, 0, 30, joined);
        best = fewer(best, (seconds() - start) / CALLS);
    }
    return best;
}
