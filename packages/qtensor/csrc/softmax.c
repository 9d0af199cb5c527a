/* Softmax along one axis. The same code for every instruction set: it is bound by looking up a
 * double for each byte. */
#include <math.h>

#include "elementwise.h"
#include "parallel.h"

typedef struct {
    const uint8_t *q;
    uint8_t *out;
    int64_t size, inner;
    const double *exponentials;
    double inverse_scale;
    uint8_t flip;
    output_params output;
} softmax_context;

static uint8_t highest_of(const uint8_t *q, int64_t size, int64_t stride, uint8_t flip) {
    uint8_t highest = 0;
    for (int64_t i = 0; i < size; i++) {
        const uint8_t value = q[i * stride] ^ flip;
        highest = value > highest ? value : highest;
    }
    return highest;
}

/* In four sums, as additions would wait for each other in one. */
static double sum_of(const uint8_t *q, int64_t size, int64_t stride, uint8_t flip,
                     const double *exponentials) {
    double sums[4] = {0, 0, 0, 0};
    int64_t i = 0;
    for (; i + 4 <= size; i += 4) {
        for (int k = 0; k < 4; k++) {
            sums[k] += exponentials[-(q[(i + k) * stride] ^ flip)];
        }
    }
    for (; i < size; i++) {
        sums[0] += exponentials[-(q[i * stride] ^ flip)];
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* `stride` is a constant where this is inlined, or the line's own. */
static inline __attribute__((always_inline)) void
softmax_line(const softmax_context *c, const uint8_t *q, uint8_t *out, const int64_t stride) {
    const uint8_t flip = c->flip;
    const int64_t size = c->size;
    const int32_t zero_point = c->output.zero_point;
    const double lo = c->output.lo, hi = c->output.hi;
    const double *exponentials = c->exponentials + highest_of(q, size, stride, flip);
    const double factor = c->inverse_scale / sum_of(q, size, stride, flip, exponentials);
    for (int64_t i = 0; i < size; i++) {
        double t = exponentials[-(q[i * stride] ^ flip)] * factor;
        t = t > lo ? t : lo;
        t = t < hi ? t : hi;
        out[i * stride] = (uint8_t)((int32_t)lrint(t) + zero_point) ^ flip;
    }
}

static void softmax_range(const void *context, int64_t begin, int64_t end) {
    const softmax_context *c = context;
    for (int64_t line = begin; line < end; line++) {
        const int64_t at = line / c->inner * c->size * c->inner + line % c->inner;
        if (c->inner == 1) {
            softmax_line(c, c->q + at, c->out + at, 1);
        } else {
            softmax_line(c, c->q + at, c->out + at, c->inner);
        }
    }
}

void softmax_tensor(const uint8_t *q, uint8_t *out, int64_t outer, int64_t size, int64_t inner,
                    const double exponentials[256], double inverse_scale, enum element_type type,
                    const output_params *p, int threads) {
    softmax_context context = {
        q, out, size, inner, exponentials, inverse_scale, (uint8_t)flip_of(type), *p,
    };
    context.output.zero_point += flip_of(type);
    parallel(outer * inner, GRAIN / 8 / (size + 1) + 1, threads, softmax_range, &context);
}
