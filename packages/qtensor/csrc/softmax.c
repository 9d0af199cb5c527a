/* Softmax along one axis. The same code for every instruction set: it is bound by looking up a
 * double for each byte. */
#include "elementwise.h"
#include "parallel.h"

#define INLINE static inline __attribute__((always_inline))

typedef struct {
    const uint8_t *q;
    uint8_t *out;
    int64_t size, inner;
    const double *ascending; /* exponentials[255] ... exponentials[0] */
    double inverse_scale;
    uint8_t flip;
    output_params output;
} softmax_context;

/* A byte as the kernels know it. `flip` is a constant, and reading a signed byte then is one
 * instruction too. */
INLINE int64_t value_of(uint8_t byte, const uint8_t flip) {
    return flip ? (int64_t)(int8_t)byte + 128 : byte;
}

INLINE int64_t highest_of(const uint8_t *q, int64_t size, int64_t stride, const uint8_t flip) {
    uint8_t highest = 0;
    for (int64_t i = 0; i < size; i++) {
        const uint8_t value = q[i * stride] ^ flip;
        highest = value > highest ? value : highest;
    }
    return highest;
}

/* In four sums, as additions would wait for each other in one. */
INLINE double sum_of(const uint8_t *q, int64_t size, int64_t stride, const uint8_t flip,
                     const double *exponentials) {
    double sums[4] = {0, 0, 0, 0};
    int64_t i = 0;
    for (; i + 4 <= size; i += 4) {
        for (int k = 0; k < 4; k++) {
            sums[k] += exponentials[value_of(q[(i + k) * stride], flip)];
        }
    }
    for (; i < size; i++) {
        sums[0] += exponentials[value_of(q[i * stride], flip)];
    }
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

enum { BLOCK = 16 };

/* `n` values as bytes; a constant where compilers are to use vectors for what follows the look-up.
 * A double below 2^51 is rounded by adding and subtracting 3 * 2^51. */
INLINE void scale(const softmax_context *c, const uint8_t *q, uint8_t *out, const int64_t n,
                  const int64_t stride, const uint8_t flip, const double *exponentials,
                  double factor) {
    const double lo = c->output.lo, hi = c->output.hi, magic = 0x1.8p52;
    double t[BLOCK];
    for (int64_t i = 0; i < n; i++) {
        t[i] = exponentials[value_of(q[i * stride], flip)];
    }
    for (int64_t i = 0; i < n; i++) {
        t[i] *= factor;
        t[i] = t[i] > lo ? t[i] : lo;
        t[i] = t[i] < hi ? t[i] : hi;
        t[i] = (t[i] + magic) - magic;
    }
    for (int64_t i = 0; i < n; i++) {
        out[i * stride] = (uint8_t)((int32_t)t[i] + c->output.zero_point) ^ flip;
    }
}

/* `stride` is a constant where this is inlined, or the line's own. */
INLINE void softmax_line(const softmax_context *given, const uint8_t *q, uint8_t *out,
                         const int64_t stride, const uint8_t flip) {
    const softmax_context context = *given, *c = &context; /* local: no output overwrites it */
    const int64_t size = c->size;
    const double *exponentials = c->ascending + 255 - highest_of(q, size, stride, flip);
    const double factor = c->inverse_scale / sum_of(q, size, stride, flip, exponentials);
    int64_t i = 0;
    for (; i + BLOCK <= size; i += BLOCK) {
        scale(c, q + i * stride, out + i * stride, BLOCK, stride, flip, exponentials, factor);
    }
    scale(c, q + i * stride, out + i * stride, size - i, stride, flip, exponentials, factor);
}

INLINE void softmax_flipped(const softmax_context *c, int64_t at, const uint8_t flip) {
    if (c->inner == 1) {
        softmax_line(c, c->q + at, c->out + at, 1, flip);
    } else {
        softmax_line(c, c->q + at, c->out + at, c->inner, flip);
    }
}

static void softmax_range(const void *context, int64_t begin, int64_t end) {
    const softmax_context *c = context;
    for (int64_t line = begin; line < end; line++) {
        const int64_t at = line / c->inner * c->size * c->inner + line % c->inner;
        if (c->flip) {
            softmax_flipped(c, at, 0x80);
        } else {
            softmax_flipped(c, at, 0);
        }
    }
}

void softmax_tensor(const uint8_t *q, uint8_t *out, int64_t outer, int64_t size, int64_t inner,
                    const double exponentials[256], double inverse_scale, enum element_type type,
                    const output_params *p, int threads) {
    double ascending[256];
    for (int i = 0; i < 256; i++) {
        ascending[i] = exponentials[255 - i];
    }
    softmax_context context = {
        q, out, size, inner, ascending, inverse_scale, (uint8_t)flip_of(type), *p,
    };
    context.output.zero_point += flip_of(type);
    parallel(outer * inner, GRAIN / 8 / (size + 1) + 1, threads, softmax_range, &context);
}
