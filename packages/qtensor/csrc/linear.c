/* Linear layers: rows are rows of the input, read in place or staged as unsigned bytes. */
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
    const linear_input *input;
    int64_t element; /* bytes of a value */
    int64_t pitch;   /* bytes of a row as the kernels read it */
    int copies;      /* of each row, one after the other: see step_orders */
    bool whole_rows; /* the values of a row follow each other in memory; */
    int64_t apart;   /* and so far from one row to the next, in values; 0 if that differs */
    bool in_place;
    int64_t block_rows;
    extremes extremes; /* of the whole input, unless each row has its own */
} source;

/* The pieces of a block's staging memory. */
typedef struct {
    const uint8_t **bases;
    float *scales;
    int32_t *zero_points;
    uint8_t *values; /* of a row that is in pieces */
    uint8_t *bytes;
} stage;

static int64_t gathered_bytes(const source *s) {
    return s->whole_rows ? 0 : s->input->k * s->element;
}

static size_t stage_bytes(const source *s) {
    size_t per_row = sizeof(uint8_t *) + sizeof(float) + sizeof(int32_t);
    if (!s->in_place) per_row += (size_t)(s->copies * s->pitch);
    return (size_t)s->block_rows * per_row + (size_t)gathered_bytes(s);
}

static stage divide(const source *s, void *memory) {
    stage t = {.bases = memory};
    t.scales = (float *)(t.bases + s->block_rows);
    t.zero_points = (int32_t *)(t.scales + s->block_rows);
    t.values = (uint8_t *)(t.zero_points + s->block_rows);
    t.bytes = t.values + gathered_bytes(s);
    return t;
}

static void quantize_row(const source *s, const float *values, float *scale, int32_t *zero_point,
                         uint8_t *out) {
    const kernels *k = s->product->kernels;
    const linear_input *x = s->input;
    extremes of = s->extremes;
    if (x->per_row) of.finite = k->range(values, x->k, &of.lowest, &of.highest);
    quantize_params params;
    *scale = choose_parameters(of, x->quant_max, &params);
    *zero_point = params.zero_point;
    k->elementwise->quantize(values, out, x->k, &params, 0);
}

static void copy_unsigned(const uint8_t *restrict from, int64_t count, uint8_t flip,
                          uint8_t *restrict out) {
    for (int64_t i = 0; i < count; i++) out[i] = from[i] ^ flip;
}

/* A row's values; `memory` is for those that are in pieces. */
static const void *values_of(const source *s, int64_t row, void *memory) {
    const linear_input *x = s->input;
    if (s->apart) return (const char *)x->values.data + row * s->apart * s->element;
    return elements(&x->values, row * x->k, x->k, (int)s->element, memory);
}

static row_block stage_rows(const void *context, int64_t block, void *memory) {
    const source *s = context;
    const linear_input *x = s->input;
    stage t = divide(s, memory);
    int64_t first = block * s->block_rows;
    int64_t count = smaller(s->block_rows, x->rows - first);
    for (int64_t i = 0; i < count; i++) {
        const void *from = values_of(s, first + i, t.values);
        uint8_t *out = t.bytes + i * s->copies * s->pitch;
        t.bases[i] = s->in_place ? from : out;
        if (s->in_place) continue;
        if (x->kind == INPUT_FLOAT)
            quantize_row(s, from, &t.scales[i], &t.zero_points[i], out);
        else
            copy_unsigned(from, x->k, x->kind == INPUT_S8 ? 0x80 : 0, out);
        memset(out + x->k, 0, (size_t)(s->pitch - x->k));
        if (s->copies == ORDERS) s->product->kernels->copy_in_orders(out, s->pitch);
    }
    row_block rows = {.bases = t.bases, .count = count, .first = first, .line = count,
                      .spacing = 1};
    if (x->kind == INPUT_FLOAT) {
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

/* Finds where rows lie. */
static void find_rows(source *s) {
    const memory_layout *layout = s->input->values.layout;
    const int last = layout->dims - 1;
    const int64_t k = s->input->k;
    s->whole_rows = last < 0 || (layout->strides[last] == 1 && layout->sizes[last] % k == 0);
    if (last < 0)
        s->apart = k;
    else if (last == 1 && s->whole_rows && layout->sizes[last] == k)
        s->apart = layout->strides[0];
}

int linear(const product *p, const linear_input *x) {
    const int64_t unit = p->weights->one_row ? GROUP_BYTES : STEP, rows = x->rows;
    source s = {.product = p, .input = x,
                .element = x->kind == INPUT_FLOAT ? sizeof(float) : 1,
                .pitch = divide_up(x->k, unit) * unit,
                .copies = p->weights->copies};
    find_rows(&s);
    s.in_place = s.whole_rows && x->kind == INPUT_U8 && x->k % unit == 0 && s.copies == 1;
    if (x->kind == INPUT_FLOAT && !x->per_row)
        s.extremes = extremes_of(p->kernels, &x->values, rows * x->k);

    int64_t block = BLOCK_BYTES / larger(s.copies * s.pitch, 1);
    /* Threads share the rows of a block, which costs reading all weights for fewer rows; or the
     * panels, if each task has enough that few cache lines of the output are written by two. */
    const int64_t tasks = TASKS_PER_THREAD * (int64_t)p->threads;
    bool by_panels = x->kind != INPUT_FLOAT && p->weights->group_panels >= TASK_PANELS * tasks;
    if (p->threads > 1 && !by_panels) block = smaller(block, divide_up(rows, tasks));
    block = divide_up(larger(block, MIN_BLOCK_ROWS), ROW_UNIT) * ROW_UNIT;
    s.block_rows = smaller(block, larger(rows, 1));
    if (p->weights->one_row) return multiply_one(&s);
    job j = {.product = p, .blocks = divide_up(rows, s.block_rows), .block_rows = s.block_rows,
             .stage_bytes = stage_bytes(&s), .stage = stage_rows, .source = &s};
    return run(&j);
}
