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

static void softmax_line(const softmax_context *c, const uint8_t *q, uint8_t *out) {
    uint8_t highest = 0;
    for (int64_t i = 0; i < c->size; i++) {
        const uint8_t value = q[i * c->inner] ^ c->flip;
        highest = value > highest ? value : highest;
    }
    double sum = 0;
    for (int64_t i = 0; i < c->size; i++) {
        sum += c->exponentials[highest - (q[i * c->inner] ^ c->flip)];
    }
    const double factor = c->inverse_scale / sum;
    for (int64_t i = 0; i < c->size; i++) {
        const double t = c->exponentials[highest - (q[i * c->inner] ^ c->flip)] * factor;
        const double low = t > c->output.lo ? t : c->output.lo;
        const double both = low < c->output.hi ? low : c->output.hi;
        out[i * c->inner] = (uint8_t)((int32_t)lrint(both) + c->output.zero_point) ^ c->flip;
    }
}

static void softmax_range(const void *context, int64_t begin, int64_t end) {
    const softmax_context *c = context;
    for (int64_t line = begin; line < end; line++) {
        const int64_t at = line / c->inner * c->size * c->inner + line % c->inner;
        softmax_line(c, c->q + at, c->out + at);
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
