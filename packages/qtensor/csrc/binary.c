/* Drivers of operators on two quantized tensors, which may broadcast. */
#include "elementwise.h"
#include "parallel.h"

typedef struct {
    binary_kernel *kernel;
    const operand *a, *b;
    uint8_t *out;
    binary_params params;
    uint8_t flip;
} binary_context;

static void binary_range(const void *context, int64_t begin, int64_t end) {
    const binary_context *c = context;
    const int64_t a_most = at_once(c->a, BUFFER_BYTES), b_most = at_once(c->b, BUFFER_BYTES);
    const int64_t most = a_most < b_most ? a_most : b_most;
    uint8_t a_block[BUFFER_BYTES], b_block[BUFFER_BYTES];
    for (int64_t n; begin < end; begin += n) {
        n = end - begin < most ? end - begin : most;
        const uint8_t *a = elements(c->a, begin, n, 1, a_block);
        const uint8_t *b = elements(c->b, begin, n, 1, b_block);
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
