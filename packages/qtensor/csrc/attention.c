/* Shares the rows among threads: attention.h. */
#include "attention.h"

#include <stdbool.h>
#include <stdlib.h>

#include "parallel.h"

typedef struct {
    attention_kernel *kernel;
    const operand *scores, *mask;
    uint8_t *steps;
    float *scales;
    int64_t n;
    float scale;
    bool failed;
} attention_context;

static bool lies_in_order(const operand *x) { return !x || x->layout->dims == 0; }

static void weigh_rows(const void *context, int64_t begin, int64_t end) {
    attention_context *c = (attention_context *)context;
    const int64_t n = c->n;
    int32_t *score_row = NULL; /* where what is in pieces is gathered */
    float *mask_row = NULL;
    if (!lies_in_order(c->scores) || !lies_in_order(c->mask)) {
        score_row = malloc((size_t)n * (sizeof *score_row + sizeof *mask_row));
        if (!score_row) {
#pragma omp atomic write
            c->failed = true;
            return;
        }
        mask_row = (float *)(score_row + n);
    }
    for (int64_t row = begin; row < end; row++) {
        const int64_t at = row * n;
        const int32_t *scores = elements(c->scores, at, n, sizeof *scores, score_row);
        const float *mask = NULL;
        if (c->mask) mask = elements(c->mask, at, n, sizeof *mask, mask_row);
        const int64_t total = c->kernel(scores, mask, c->steps + at, n, c->scale);
        c->scales[row] = 1.0f / (float)(total > 0 ? total : 1);
    }
    free(score_row);
}

int attention_weights(attention_kernel *kernel, const operand *scores, const operand *mask,
                      uint8_t *steps, float *scales, int64_t rows, int64_t n, float scale,
                      int threads) {
    attention_context context = {kernel, scores, mask, steps, scales, n, scale, false};
    parallel(rows, GRAIN / 8 / (n + 1) + 1, threads, weigh_rows, &context);
    return context.failed ? -1 : 0;
}
