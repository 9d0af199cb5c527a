/* Packs weights for single rows, and multiplies a row by them. */
#include "one_row.h"

#include <stdlib.h>
#include <string.h>

#include "parallel.h"

/* One panel, of which `weights` are those of the first of so many channels. */
static void pack_panel(const int8_t *weights, int64_t channels, int64_t k, int8_t *out,
                       int32_t *sums) {
    for (int64_t c = 0; c < smaller(channels, ROW_CHANNELS); c++, weights += k) {
        int32_t sum = 0;
        for (int64_t i = 0; i < k; i++) sum += weights[i];
        sums[c] = sum;
        for (int64_t i = 0; i < k; i += STEP)
            memcpy(out + i * ROW_CHANNELS + c * STEP, weights + i, (size_t)smaller(k - i, STEP));
    }
}

packed *pack_one_row(const int8_t *weights, int64_t channels, int64_t k) {
    int64_t panels = divide_up(channels, ROW_CHANNELS), groups = divide_up(k, GROUP_BYTES);
    int64_t panel_bytes = groups * GROUP_STEPS * ROW_STEP_BYTES;
    struct one_row_weights all = {.groups = groups};
    size_t head = (sizeof all + 63) & ~(size_t)63;
    size_t sums_bytes = (size_t)(panels * ROW_CHANNELS) * sizeof(int32_t);
    size_t bytes = head + sums_bytes + (size_t)(panels * panel_bytes);

    packed *p = calloc(1, sizeof *p);
    char *memory = aligned_alloc(64, bytes);
    if (!p || !memory) {
        free(p);
        free(memory);
        return NULL;
    }
    memset(memory, 0, bytes);
    int32_t *sums = (int32_t *)(memory + head);
    int8_t *out = (int8_t *)sums + sums_bytes;
    for (int64_t i = 0, first = 0; i < panels; i++, first += ROW_CHANNELS)
        pack_panel(weights + first * k, channels - first, k, out + i * panel_bytes, sums + first);
    all.sums = sums;
    all.weights = out;
    *p = (packed){.channels = channels, .groups = 1, .k = k, .copies = 1, .bytes = (int64_t)bytes,
                  .one_row = memcpy(memory, &all, sizeof all), .memory = memory};
    return p;
}

typedef struct {
    const product *product;
    struct one_row row;
    int32_t sum; /* of the activations, less their zero points; 0 if no weight has one */
    float row_scale;
    int32_t *sums; /* of all channels */
} task;

/* Takes off what weights' zero points add, as with any number of rows: README.md. */
static void subtract_zero_points(const task *t, int64_t begin, int64_t end) {
    const int64_t *zero_points = t->product->weight_zero_points;
    for (int64_t c = begin; zero_points && c < end; c++)
        t->sums[c] = (int32_t)((uint32_t)t->sums[c] - (uint32_t)t->sum * (uint32_t)zero_points[c]);
}

/* Turns sums into output. Every CHANNELS of them are taken for a row of a product with so many
 * channels, so that many are finished at once. */
static void finish_channels(const task *t, int64_t begin, int64_t end) {
    const product *p = t->product;
    finish f = start_finish(p, CHANNELS);
    f.multiplier_step = p->multiplier_stride * CHANNELS;
    f.bias_step = p->bias ? CHANNELS : 0;
    float scales[MAX_ROWS];
    for (int i = 0; i < MAX_ROWS; i++) scales[i] = t->row_scale;
    for (int64_t c = begin, rows; c < end; c += rows * CHANNELS) {
        int64_t whole = (end - c) / CHANNELS;
        rows = larger(smaller(whole, MAX_ROWS), 1);
        choose_channels(&f, p, c, (int)(whole ? CHANNELS : end - c));
        put_sums(p, &f, t->sums + c, (int)rows, scales, c);
    }
}

static void multiply_panels(const void *context, int64_t begin, int64_t end) {
    const task *t = context;
    const product *p = t->product;
    const struct one_row_weights *w = p->weights->one_row;
    const int64_t first = begin * ROW_CHANNELS;
    const int64_t last = smaller(end * ROW_CHANNELS, p->weights->channels);
    /* All weights before anything else, so that reading them never pauses. */
    for (int64_t c = first; c < last; c += ROW_CHANNELS)
        p->kernels->one_row(&t->row, w->weights + c * w->groups * GROUP_BYTES, w->sums + c,
                            t->sums + c);
    subtract_zero_points(t, first, last);
    finish_channels(t, first, last);
}

/* The row's bytes as two numbers of 4 bits, group by group. */
static void split(const uint8_t *restrict bytes, int64_t groups, uint8_t *restrict halves) {
    for (; groups > 0; groups--, bytes += GROUP_BYTES, halves += 2 * GROUP_BYTES) {
        for (int i = 0; i < GROUP_BYTES; i++) {
            halves[i] = bytes[i] >> 4;
            halves[GROUP_BYTES + i] = bytes[i] & 15;
        }
    }
}

int multiply_row(const product *p, const uint8_t *bytes, int32_t zero_point, float row_scale) {
    const packed *weights = p->weights;
    const int64_t groups = weights->one_row->groups, count = groups * GROUP_BYTES;
    const int64_t panels = divide_up(weights->channels, ROW_CHANNELS);
    task t = {.product = p, .row_scale = row_scale,
              .row = {.groups = groups, .bytes = bytes, .zero_point = zero_point}};
    size_t sums_bytes = (size_t)(panels * ROW_CHANNELS) * sizeof *t.sums;
    char *memory = aligned_alloc(64, sums_bytes + (size_t)(2 * count));
    if (!memory) return -1;
    t.sums = (int32_t *)memory;
    if (p->kernels->or_bytes(bytes, count) > 127) {
        uint8_t *halves = (uint8_t *)memory + sums_bytes;
        split(bytes, groups, halves);
        t.row.halves = halves;
    }
    for (int64_t i = 0; p->weight_zero_points && i < weights->k; i++)
        t.sum += bytes[i] - zero_point;
    parallel(panels, divide_up(GRAIN, larger(count * ROW_CHANNELS, 1)), p->threads,
             multiply_panels, &t);
    free(memory);
    return 0;
}
