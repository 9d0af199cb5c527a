/* Brings integers to other parameters, which may differ from channel to channel. The same code for
 * every instruction set: plain loops over blocks, which compilers vectorize. */
#include "requantize.h"

#include <math.h>

#include "parallel.h"

enum { BLOCK = 256 };

typedef struct {
    const void *q;
    void *out;
    const requantize_layout *layout;
} requantize_context;

#define DIFFERENCES(T)                                                                             \
    for (int i = 0; i < n; i++) {                                                                  \
        t[i] = (double)((const T *)c->q)[at + i] - zero_points[i * step];                          \
    }
#define WRITE(T)                                                                                   \
    for (int i = 0; i < n; i++) {                                                                  \
        ((T *)c->out)[at + i] = (T)(t[i] + output_zero_points[i * step]);                          \
    }

/* The `n` values from `at` on. `step` says how far the parameters of neighbours lie apart: 0 or 1,
 * a constant where this is inlined. */
static inline __attribute__((always_inline)) void
block(const requantize_context *c, int64_t at, int n, int64_t channel, const int step) {
    const requantize_layout *p = c->layout;
    const double *zero_points = p->zero_points + channel, *ratios = p->ratios + channel;
    const double *output_zero_points = p->output_zero_points + channel;
    double t[BLOCK];
    switch (p->input) {
    case 0:
        DIFFERENCES(uint8_t);
        break;
    case 1:
        DIFFERENCES(int8_t);
        break;
    default:
        DIFFERENCES(int32_t);
    }
    if (p->single) {
        for (int i = 0; i < n; i++) {
            t[i] = (double)((float)t[i] * (float)ratios[i * step]);
        }
    } else {
        for (int i = 0; i < n; i++) {
            t[i] *= ratios[i * step];
        }
    }
    for (int i = 0; i < n; i++) {
        const double lowest = p->quant_min - output_zero_points[i * step];
        const double highest = p->quant_max - output_zero_points[i * step];
        t[i] = t[i] > lowest ? t[i] : lowest; /* NaN too */
        t[i] = rint(t[i] < highest ? t[i] : highest);
    }
    switch (p->output) {
    case 0:
        WRITE(uint8_t);
        break;
    case 1:
        WRITE(int8_t);
        break;
    default:
        WRITE(int32_t);
    }
}

static void requantize_range(const void *context, int64_t begin, int64_t end) {
    const requantize_context *c = context;
    const requantize_layout *p = c->layout;
    /* Either all of a run has one channel's parameters, or each value those of another. */
    const int rows = p->inner == 1 && p->channels > 1;
    const int64_t length = rows ? p->channels : p->inner;
    for (int64_t at = begin; at < end;) {
        const int64_t run = at / length, within = at % length;
        int64_t n = length - within < end - at ? length - within : end - at;
        n = n < BLOCK ? n : BLOCK;
        if (rows) {
            block(c, at, (int)n, within, 1);
        } else {
            block(c, at, (int)n, run % p->channels, 0);
        }
        at += n;
    }
}

void requantize_channels(const void *q, void *out, const requantize_layout *layout, int threads) {
    const requantize_context context = {q, out, layout};
    const int64_t size = layout->outer * layout->channels * layout->inner;
    parallel(size, GRAIN / 16, threads, requantize_range, &context);
}
