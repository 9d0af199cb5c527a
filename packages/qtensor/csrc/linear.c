/* Linear layers: rows are rows of the input, read in place or staged as unsigned bytes. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "one_row.h"

enum {
    BLOCK_BYTES = 128 << 10, /* of activations per block, a part of the L2 cache */
    MIN_BLOCK_ROWS = 16,     /* fewer would read the weights too often */
    ROW_UNIT = 4,            /* kernels like multiples of it */
    TASK_PANELS = 16,        /* of a task, if panels are what threads share */
};

typedef struct {
    const product *product;
    enum input_kind kind;
    const void *input;
    int64_t rows, k;
    int64_t pitch; /* bytes of a row as the kernels read it */
    int copies;    /* of each row, one after the other: see step_orders */
    bool in_place;
    int64_t block_rows;
    int32_t quant_max;
    bool per_row;
    float lowest, highest; /* of the whole input, unless per_row */
    bool finite;
} source;

/* The pieces of a block's staging memory. */
typedef struct {
    const uint8_t **bases;
    float *scales;
    int32_t *zero_points;
    uint8_t *bytes;
} stage;

static size_t stage_bytes(const source *s) {
    size_t per_row = sizeof(uint8_t *) + sizeof(float) + sizeof(int32_t);
    return (size_t)s->block_rows * (per_row + (s->in_place ? 0 : (size_t)(s->copies * s->pitch)));
}

static stage divide(const source *s, void *memory) {
    stage t = {.bases = memory};
    t.scales = (float *)(t.bases + s->block_rows);
    t.zero_points = (int32_t *)(t.scales + s->block_rows);
    t.bytes = (uint8_t *)(t.zero_points + s->block_rows);
    return t;
}

/* Asymmetric parameters for lowest .. highest, which include 0. A row with a NaN or an infinity
 * gets the scale NaN, which makes all of its outputs NaN. */
void choose_parameters(float lowest, float highest, bool finite, int32_t quant_max, float *scale,
                       int32_t *zero_point) {
    *scale = NAN;
    *zero_point = 0;
    if (!finite) return;
    *scale = (float)(((double)highest - (double)lowest) / quant_max);
    if (*scale < FLT_MIN) *scale = FLT_MIN; /* all zero, or nearly: its inverse stays finite */
    *zero_point = (int32_t)smaller((int64_t)rint(-(double)lowest / (double)*scale), quant_max);
}

static void quantize_row(const source *s, int64_t row, float *scale, int32_t *zero_point,
                         uint8_t *out) {
    const kernels *k = s->product->kernels;
    const float *values = (const float *)s->input + row * s->k;
    float lowest = s->lowest, highest = s->highest;
    bool finite = s->per_row ? k->range(values, s->k, &lowest, &highest) : s->finite;
    choose_parameters(lowest, highest, finite, s->quant_max, scale, zero_point);
    quantize_params params = {.inverse_scale = 1.0f / *scale, .zero_point = *zero_point,
                              .quant_max = s->quant_max};
    k->elementwise->quantize(values, out, s->k, &params, 0);
}

static void copy_unsigned(const uint8_t *restrict from, int64_t count, uint8_t flip,
                          uint8_t *restrict out) {
    for (int64_t i = 0; i < count; i++) out[i] = from[i] ^ flip;
}

static row_block stage_rows(const void *context, int64_t block, void *memory) {
    const source *s = context;
    stage t = divide(s, memory);
    int64_t first = block * s->block_rows;
    int64_t count = smaller(s->block_rows, s->rows - first);
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *from = (const uint8_t *)s->input + (first + i) * s->k;
        uint8_t *out = t.bytes + i * s->copies * s->pitch;
        t.bases[i] = s->in_place ? from : out;
        if (s->in_place) continue;
        if (s->kind == INPUT_FLOAT)
            quantize_row(s, first + i, &t.scales[i], &t.zero_points[i], out);
        else
            copy_unsigned(from, s->k, s->kind == INPUT_S8 ? 0x80 : 0, out);
        memset(out + s->k, 0, (size_t)(s->pitch - s->k));
        if (s->copies == ORDERS) s->product->kernels->copy_in_orders(out, s->pitch);
    }
    row_block rows = {.bases = t.bases, .count = count, .first = first, .line = count,
                      .spacing = 1};
    if (s->kind == INPUT_FLOAT) {
        rows.scales = t.scales;
        rows.zero_points = t.zero_points;
    }
    return rows;
}

static int multiply_one(const source *s) {
    void *memory = aligned_alloc(64, (stage_bytes(s) + 63) & ~(size_t)63);
    if (!memory) return -1;
    row_block row = stage_rows(s, 0, memory);
    int32_t zero_point = row.zero_points ? *row.zero_points : s->product->input_zero_point;
    int status = multiply_row(s->product, *row.bases, zero_point, row.scales ? *row.scales : 1);
    free(memory);
    return status;
}

int linear(const product *p, enum input_kind kind, const void *input, int64_t rows, int64_t k,
           int32_t quant_max, bool per_row) {
    const int64_t unit = p->weights->one_row ? GROUP_BYTES : STEP;
    source s = {.product = p, .kind = kind, .input = input, .rows = rows, .k = k,
                .pitch = divide_up(k, unit) * unit,
                .copies = p->weights->copies,
                .quant_max = quant_max, .per_row = per_row};
    s.in_place = kind == INPUT_U8 && k % unit == 0 && s.copies == 1;
    if (kind == INPUT_FLOAT && !per_row)
        s.finite = p->kernels->range(input, rows * k, &s.lowest, &s.highest);

    int64_t block = BLOCK_BYTES / larger(s.copies * s.pitch, 1);
    /* Threads share the rows of a block, which costs reading all weights for fewer rows; or the
     * panels, if each task has enough that few cache lines of the output are written by two. */
    const int64_t tasks = TASKS_PER_THREAD * (int64_t)p->threads;
    bool by_panels = kind != INPUT_FLOAT && p->weights->group_panels >= TASK_PANELS * tasks;
    if (p->threads > 1 && !by_panels) block = smaller(block, divide_up(rows, tasks));
    block = divide_up(larger(block, MIN_BLOCK_ROWS), ROW_UNIT) * ROW_UNIT;
    s.block_rows = smaller(block, larger(rows, 1));
    if (p->weights->one_row) return multiply_one(&s);
    job j = {.product = p, .blocks = divide_up(rows, s.block_rows), .block_rows = s.block_rows,
             .stage_bytes = stage_bytes(&s), .stage = stage_rows, .source = &s};
    return run(&j);
}
