/* Linear layers of float activations and int8 weights, which become floats in registers. */
#include "gemm.h"
#include "parallel.h"

typedef struct {
    const product *product;
    const weight_only_shape *shape;
} task;

static void multiply_panels(const void *context, int64_t begin, int64_t end) {
    const task *j = context;
    const product *p = j->product;
    const weight_only_shape *s = j->shape;
    static const float ones[MAX_ROWS] = {[0 ... MAX_ROWS - 1] = 1};
    finish f = start_finish(p, s->channels);
    for (int64_t i = begin; i < end; i++) {
        int64_t channel = i * CHANNELS;
        choose_channels(&f, p, channel, (int)smaller(s->channels - channel, CHANNELS));
        int32_t zero_points[CHANNELS] = {0};
        for (int c = 0; p->weight_zero_points && c < f.columns; c++)
            zero_points[c] = (int32_t)p->weight_zero_points[channel + c];
        for (int64_t row = 0; row < s->rows; row += MAX_ROWS) {
            int count = (int)smaller(s->rows - row, MAX_ROWS);
            float sums[MAX_ROWS * CHANNELS];
            p->kernels->float_rows(s->input + row * s->k, count, s->k,
                                   s->panels + i * s->k * CHANNELS, zero_points, sums);
            p->kernels->finish_floats(sums, count, &f, ones,
                                      (float *)p->output + row * s->channels + channel);
        }
    }
}

void weight_only(const product *p, const weight_only_shape *s) {
    task j = {p, s};
    int64_t panels = divide_up(s->channels, CHANNELS);
    int64_t grain = divide_up(GRAIN, larger(s->k * CHANNELS, 1)); /* panels worth a thread */
    parallel(panels, grain, p->threads, multiply_panels, &j);
}
