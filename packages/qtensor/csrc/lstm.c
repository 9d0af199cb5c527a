/* The recurrent part of LSTM layers: what each step computes from the step before.
 *
 * A step is a product, requantized with the gates of the input as its residual, and then functions
 * of single bytes: lookups, products and a sum, by the same kernels as the operators of these names
 * use. So the result is theirs, bit for bit.
 */
#include <stdlib.h>

#include "gemm.h"
#include "parallel.h"

enum { GATES = 4, PASSES = 9 }; /* PASSES: over the hidden values, by combine() */

typedef struct {
    const elementwise_kernels *kernels;
    const lstm_cell *cell;
    int64_t size;
    uint8_t *gates;  /* [batch][GATES][size], overwritten */
    uint8_t *cells;  /* [batch][size]: in and out */
    uint8_t *hidden; /* [batch][size]: out */
} step;

static void combine(const void *context, int64_t begin, int64_t end) {
    const step *s = context;
    const lstm_cell *cell = s->cell;
    const elementwise_kernels *k = s->kernels;
    const int64_t n = s->size;
    for (int64_t row = begin; row < end; row++) {
        uint8_t *input = s->gates + row * GATES * n, *forget = input + n;
        uint8_t *candidate = forget + n, *output = candidate + n, *c = s->cells + row * n;
        for (int gate = 0; gate < GATES; gate++)
            k->lookup(input + gate * n, input + gate * n, n, cell->gate_tables[gate]);
        k->mul(forget, c, forget, n, &cell->forgotten, cell->flip);
        k->mul(input, candidate, input, n, &cell->added, cell->flip);
        k->add(forget, input, c, n, &cell->sum, cell->flip);
        k->lookup(c, candidate, n, cell->tanh_table);
        k->mul(output, candidate, s->hidden + row * n, n, &cell->output, cell->flip);
    }
}

int lstm(const product *p, const lstm_cell *cell, int64_t steps, int64_t batch, int64_t size,
         const uint8_t *input_gates, const uint8_t *hidden, uint8_t *cells, uint8_t *outputs) {
    const memory_layout dense = {.dims = 0};
    const int64_t state = batch * size;
    const enum input_kind kind = p->is_signed ? INPUT_S8 : INPUT_U8;
    uint8_t *gates = malloc((size_t)larger(GATES * state, 1));
    if (!gates) return -1;
    product q = *p;
    q.output = gates;
    int status = 0;
    for (int64_t t = 0; t < steps && status == 0; t++) {
        q.residual = input_gates + t * GATES * state;
        linear_input x = {.kind = kind, .values = {hidden, &dense}, .rows = batch, .k = size};
        status = linear(&q, &x);
        step s = {p->kernels->elementwise, cell, size, gates, cells, outputs + t * state};
        parallel(batch, GRAIN / (PASSES * size + 1) + 1, p->threads, combine, &s);
        hidden = s.hidden;
    }
    free(gates);
    return status;
}
