/* Drivers of operators on two quantized tensors, which may broadcast. */
#include <string.h>

#include "elementwise.h"
#include "parallel.h"

enum { BLOCK = 4096 }; /* bytes of an operand brought into the output's order at a time */

typedef struct {
    binary_kernel *kernel;
    const operand *a, *b;
    uint8_t *out;
    binary_params params;
    uint8_t flip;
} binary_context;

static void copy_run(const uint8_t *from, int64_t stride, uint8_t *to, int64_t n) {
    if (stride == 1) {
        memcpy(to, from, n);
    } else if (stride == 0) {
        memset(to, *from, n);
    } else {
        for (int64_t i = 0; i < n; i++) {
            to[i] = from[i * stride];
        }
    }
}

/* The first `period` bytes again and again, up to n: what is there already is copied at once. */
static void repeat(uint8_t *block, int64_t period, int64_t n) {
    for (int64_t done = period; done < n; done *= 2) {
        memcpy(block + done, block, done < n - done ? done : n - done);
    }
}

/* Elements begin ... begin + n of the output's order, gathered in `block`; or where they are, if
 * they lie in that order already. */
static const uint8_t *elements(const operand *x, int64_t begin, int64_t n, uint8_t *block) {
    if (x->dims == 0) {
        return x->data + begin;
    }
    const int last = x->dims - 1;
    int64_t index[MAX_DIMS];
    const uint8_t *from = x->data;
    for (int d = last; d >= 0; d--) {
        index[d] = begin % x->sizes[d];
        begin /= x->sizes[d];
        from += index[d] * x->strides[d];
    }
    for (int64_t done = 0; done < n;) {
        const int64_t left = x->sizes[last] - index[last], run = left < n - done ? left : n - done;
        copy_run(from, x->strides[last], block + done, run);
        if (last > 0 && x->strides[last - 1] == 0 && run == x->sizes[last]) {
            const int64_t rows = x->sizes[last - 1] - index[last - 1], whole = (n - done) / run;
            const int64_t repeats = rows < whole ? rows : whole;
            repeat(block + done, run, repeats * run);
            done += (repeats - 1) * run;
            index[last - 1] += repeats - 1;
        }
        done += run;
        index[last] += run;
        from += run * x->strides[last];
        for (int d = last; d > 0 && index[d] == x->sizes[d]; d--) { /* carry */
            from += x->strides[d - 1] - x->sizes[d] * x->strides[d];
            index[d] = 0;
            index[d - 1]++;
        }
    }
    return block;
}

static void binary_range(const void *context, int64_t begin, int64_t end) {
    const binary_context *c = context;
    if (c->a->dims == 0 && c->b->dims == 0) {
        c->kernel(c->a->data + begin, c->b->data + begin, c->out + begin, end - begin, &c->params,
                  c->flip);
        return;
    }
    uint8_t a_block[BLOCK], b_block[BLOCK];
    for (; begin < end; begin += BLOCK) {
        const int64_t n = end - begin < BLOCK ? end - begin : BLOCK;
        const uint8_t *a = elements(c->a, begin, n, a_block);
        const uint8_t *b = elements(c->b, begin, n, b_block);
        c->kernel(a, b, c->out + begin, n, &c->params, c->flip);
    }
}

void binary_tensors(binary_kernel *kernel, const operand *a, const operand *b, uint8_t *out,
                    enum element_type type, int64_t n, const binary_params *p, int threads) {
    const int32_t flip = flip_of(type);
    binary_context context = {kernel, a, b, out, *p, (uint8_t)flip};
    context.params.a_zero_point += flip;
    context.params.b_zero_point += flip;
    context.params.output.zero_point += flip;
    parallel(n, GRAIN / 2, threads, binary_range, &context);
}
