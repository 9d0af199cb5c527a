/* Shares the rows among threads: attention.h. */
#include "attention.h"

#include <stddef.h>

#include "parallel.h"

typedef struct {
    attention_kernel *kernel;
    const int32_t *scores;
    const float *mask;
    const int64_t *mask_rows;
    uint8_t *steps;
    float *scales;
    int64_t n;
    float scale;
} attention_context;

static void weigh_rows(const void *context, int64_t begin, int64_t end) {
    const attention_context *c = context;
    for (int64_t row = begin; row < end; row++) {
        const float *mask = c->mask ? c->mask + c->mask_rows[row] * c->n : NULL;
        const int64_t at = row * c->n;
        const int64_t total = c->kernel(c->scores + at, mask, c->steps + at, c->n, c->scale);
        c->scales[row] = 1.0f / (float)(total > 0 ? total : 1);
    }
}

void attention_weights(attention_kernel *kernel, const int32_t *scores, const float *mask,
                       const int64_t *mask_rows, uint8_t *steps, float *scales, int64_t rows,
                       int64_t n, float scale, int threads) {
    const attention_context context = {kernel, scores, mask, mask_rows, steps, scales, n, scale};
    parallel(rows, GRAIN / 8 / (n + 1) + 1, threads, weigh_rows, &context);
}
