/* Runs kernels over blocks of rows and panels, and turns their sums into output. */
#include "gemm.h"

#include <stdlib.h>
#include <string.h>

const kernels *find_kernels(const char *name) {
    if (!strcmp(name, scalar_kernels.name)) return &scalar_kernels;
#ifdef __x86_64__
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c");
    if (!strcmp(name, avx2_kernels.name) && avx2) return &avx2_kernels;
#endif
    return NULL;
}

/* ---- from sums to output ---- */

finish start_finish(const product *p, int64_t stride) {
    bool bytes = p->kind == OUTPUT_BYTES;
    return (finish){
        .stride = stride,
        .lowest = p->lowest,
        .highest = p->highest,
        .zero_point = p->output_zero_point,
        .is_signed = p->is_signed,
        .residual_multiplier = p->residual_multiplier,
        .residual_zero_point = p->residual_zero_point,
        .activation = p->activation,
        .negative_slope = p->negative_slope,
        .scale = bytes ? (float)p->output_scale : 1.0f,
        .inverse_scale = bytes ? (float)(1.0 / p->output_scale) : 1.0f,
    };
}

/* Whole panels are read where they are: with one row a copy counts, above all one in smaller
 * pieces than it is read in, for which a processor waits. */
static const float *whole(const float *from, int columns, float *filled) {
    if (columns == CHANNELS) return from;
    return memcpy(filled, from, (size_t)columns * sizeof *from);
}

void choose_channels(finish *f, const product *p, int64_t first, int columns) {
    static const float zeros[CHANNELS];
    f->columns = columns;
    if (p->kind == OUTPUT_INT32) return;
    f->bias = p->bias ? whole(p->bias + first, columns, f->filled[0]) : zeros;
    if (p->multiplier_stride) {
        f->multiplier = whole(p->multipliers + first, columns, f->filled[1]);
        return;
    }
    for (int c = 0; c < CHANNELS; c++) f->filled[1][c] = p->multipliers[0];
    f->multiplier = f->filled[1];
}

static void store_int32(const int32_t *acc, int rows, const finish *f, int32_t *out) {
    for (int r = 0; r < rows; r++)
        memcpy(out + r * f->stride, acc + r * CHANNELS, (size_t)f->columns * sizeof *out);
}

void put_sums(const product *p, const finish *f, const int32_t *acc, int rows,
              const float *row_scales, int64_t at) {
    const kernels *k = p->kernels;
    const uint8_t *residual = p->residual ? p->residual + at : NULL;
    if (p->kind == OUTPUT_BYTES)
        k->requantize(acc, rows, f, residual, (uint8_t *)p->output + at);
    else if (p->kind == OUTPUT_FLOAT)
        k->dequantize(acc, rows, f, row_scales, (float *)p->output + at);
    else
        store_int32(acc, rows, f, (int32_t *)p->output + at);
}

/* ---- one block of rows ---- */

/* What multiply() carries from one panel to the next, beside its arguments. */
typedef struct {
    const product *p;
    const row_block *rows;
    const panel *panels; /* the current panel: its chunks, */
    int64_t stride;      /* so far apart */
    panel *moved;        /* [chunks]: copies with offsets that hold for these rows, */
    int32_t *offsets;    /* theirs, one chunk's after the other's */
    int64_t *row_sums; /* [rows]: of the activations less zero points, if weights have some */
    int64_t channels;  /* of the output */
    finish finish;
    int64_t channel;      /* the panel's first one, in the output */
    int64_t input_offset; /* from a row's base to the panel's activations */
    /* With zero points za of the activations and zw of the weights,
     *     sum (a - za)(w - zw)  =  sum a*w  -  za * sum w  -  zw * sum (a - za).
     * Where za is the same for all rows, kernels take the first two terms together. */
    int32_t input_zero_point;           /* za, or 0 if rows have their own */
    int32_t weight_zero_points[CHANNELS]; /* zw */
} walk;

static size_t multiply_scratch(const packed *weights, int64_t rows) {
    return (size_t)weights->chunks * sizeof(panel) + (size_t)rows * sizeof(int64_t) +
           (size_t)weights->offset_count * sizeof(int32_t);
}

/* Makes a panel the current one: chunk 0, 1, ... of it, each `stride` apart. */
static void locate(walk *w, const panel *first, int64_t stride) {
    const int32_t *table = w->rows->step_offsets;
    w->panels = table ? w->moved : first;
    w->stride = table ? 1 : stride;
    if (!table) return;
    int32_t *offsets = w->offsets;
    for (int64_t chunk = 0; chunk < w->p->weights->chunks; chunk++) {
        panel *p = &w->moved[chunk];
        *p = first[chunk * stride];
        for (int32_t i = 0; i < p->offset_count; i++) offsets[i] = table[p->offsets[i] / STEP];
        p->offsets = offsets;
        offsets += p->offset_count;
    }
}

static void prepare_panel(walk *w, int64_t index) {
    const packed *weights = w->p->weights;
    int64_t group = index / weights->group_panels;
    int64_t within = index - group * weights->group_panels;
    int columns = (int)smaller(weights->channels - within * CHANNELS, CHANNELS);
    w->channel = group * weights->channels + within * CHANNELS;
    w->input_offset = group * weights->group_stride;
    choose_channels(&w->finish, w->p, w->channel, columns);
    for (int c = 0; w->p->weight_zero_points && c < columns; c++)
        w->weight_zero_points[c] = (int32_t)w->p->weight_zero_points[w->channel + c];
}

/* Sums of products of up to MAX_ROWS rows in 64 bits, without zero points. */
static void sum_chunks(const walk *w, const uint8_t *const *rows, int count, int64_t *sums) {
    const packed *weights = w->p->weights;
    const kernels *k = w->p->kernels;
    memset(sums, 0, MAX_ROWS * CHANNELS * sizeof *sums);
    for (int64_t chunk = 0; chunk < weights->chunks; chunk++) {
        int32_t acc[MAX_ROWS * CHANNELS];
        k->dense(rows, count, &w->panels[chunk * w->stride], 0, acc);
        for (int i = 0; i < count * CHANNELS; i++) sums[i] += acc[i];
    }
}

static void row_pointers(const walk *w, int64_t row, int count, const uint8_t **rows) {
    for (int r = 0; r < count; r++) rows[r] = w->rows->bases[row + r] + w->input_offset;
}

static int64_t input_zero_point(const walk *w, int64_t row) {
    return w->rows->zero_points ? w->rows->zero_points[row] : w->p->input_zero_point;
}

static void sum_rows(walk *w) {
    locate(w, w->p->weights->ones, 1);
    for (int64_t row = 0; row < w->rows->count; row += MAX_ROWS) {
        int count = (int)smaller(w->rows->count - row, MAX_ROWS);
        const uint8_t *rows[MAX_ROWS];
        int64_t sums[MAX_ROWS * CHANNELS];
        row_pointers(w, row, count, rows);
        sum_chunks(w, rows, count, sums);
        for (int r = 0; r < count; r++)
            w->row_sums[row + r] =
                sums[r * CHANNELS] - w->p->weights->k * input_zero_point(w, row + r);
    }
}

/* Where in the output the panel's first channel of a row is. */
static int64_t place(const walk *w, int64_t row) {
    const row_block *b = w->rows;
    int64_t index = b->first + row / b->line * b->line_spacing + row % b->line * b->spacing;
    return index * w->channels + w->channel;
}

/* From sums to output. */
static void finish_rows(const walk *w, int32_t *acc, int64_t row, int count) {
    const row_block *b = w->rows;
    if (b->zero_points)
        w->p->kernels->subtract_products(acc, count, b->zero_points + row, w->panels->sums);
    put_sums(w->p, &w->finish, acc, count, b->scales ? b->scales + row : NULL, place(w, row));
}

/* The usual case: 32 bits hold every sum, so wrapping arithmetic is exact. */
static void short_sums(const walk *w, const uint8_t *const *rows, int64_t row, int count) {
    const kernels *k = w->p->kernels;
    _Alignas(64) int32_t acc[MAX_ROWS * CHANNELS];
    k->dense(rows, count, w->panels, w->input_zero_point, acc);
    if (w->p->weights->ones) {
        int32_t sums[MAX_ROWS];
        for (int r = 0; r < count; r++) sums[r] = (int32_t)w->row_sums[row + r];
        k->subtract_products(acc, count, sums, w->weight_zero_points);
    }
    finish_rows(w, acc, row, count);
}

/* K is too long for 32 bits. */
static void long_sums(const walk *w, const uint8_t *const *rows, int64_t row, int count) {
    const product *p = w->p;
    int64_t exact[MAX_ROWS * CHANNELS];
    float sums[MAX_ROWS * CHANNELS];
    int32_t low[MAX_ROWS * CHANNELS];
    int64_t weight_sums[CHANNELS] = {0};
    for (int64_t chunk = 0; chunk < p->weights->chunks; chunk++)
        for (int c = 0; c < CHANNELS; c++)
            weight_sums[c] += w->panels[chunk * w->stride].sums[c];
    sum_chunks(w, rows, count, exact);
    for (int i = 0; i < count * CHANNELS; i++) {
        int64_t r = row + i / CHANNELS, c = i % CHANNELS;
        exact[i] -= input_zero_point(w, r) * weight_sums[c];
        if (p->weights->ones) exact[i] -= w->weight_zero_points[c] * w->row_sums[r];
        sums[i] = (float)exact[i];
        low[i] = (int32_t)exact[i];
    }

    int64_t at = place(w, row);
    const uint8_t *residual = p->residual ? p->residual + at : NULL;
    if (p->kind == OUTPUT_BYTES)
        requantize_sums(sums, count, &w->finish, residual, (uint8_t *)p->output + at);
    else if (p->kind == OUTPUT_FLOAT)
        dequantize_sums(sums, count, &w->finish, w->rows->scales + row, (float *)p->output + at);
    else
        store_int32(low, count, &w->finish, (int32_t *)p->output + at);
}

/* How many rows from this one on are equally far apart in the output, and no more than fit. */
static int64_t rows_at_once(const row_block *rows, int64_t row) {
    return smaller(smaller(rows->count - row, rows->line - row % rows->line), MAX_ROWS);
}

/* Computes panels first_panel <= i < end_panel of the outputs of a block of rows. */
static void multiply(const product *p, const row_block *rows, int64_t first_panel, int64_t end_panel,
              void *scratch) {
    const packed *weights = p->weights;
    walk w = {.p = p, .rows = rows, .moved = scratch};
    w.input_zero_point = rows->zero_points ? 0 : p->input_zero_point;
    w.row_sums = (int64_t *)(w.moved + weights->chunks);
    w.offsets = (int32_t *)(w.row_sums + rows->count);
    w.channels = weights->groups * weights->channels;
    w.finish = start_finish(p, w.channels * rows->spacing);
    int64_t summed_group = -1;
    for (int64_t i = first_panel; i < end_panel; i++) {
        prepare_panel(&w, i);
        if (weights->ones && i / weights->group_panels != summed_group) {
            summed_group = i / weights->group_panels;
            sum_rows(&w);
        }
        locate(&w, weights->panels + i, weights->groups * weights->group_panels);
        for (int64_t row = 0, count; row < rows->count; row += count) {
            count = rows_at_once(rows, row);
            const uint8_t *pointers[MAX_ROWS];
            row_pointers(&w, row, (int)count, pointers);
            (weights->chunks == 1 ? short_sums : long_sums)(&w, pointers, row, (int)count);
        }
    }
}

/* ---- all blocks, on several threads ---- */

static bool run_tasks(const job *j, int64_t parts, int64_t *next) {
    const packed *weights = j->product->weights;
    int64_t panels = weights->groups * weights->group_panels;
    size_t scratch = (multiply_scratch(weights, j->block_rows) + 63) & ~(size_t)63;
    char *memory = aligned_alloc(64, (scratch + j->stage_bytes + 63) & ~(size_t)63);
    if (!memory) return false;
    int64_t staged = -1;
    row_block rows;
    for (;;) {
        int64_t task;
#pragma omp atomic capture
        task = (*next)++;
        if (task >= j->blocks * parts) break;
        int64_t block = task / parts, part = task % parts;
        if (block != staged) rows = j->stage(j->source, block, memory + scratch);
        staged = block;
        multiply(j->product, &rows, panels * part / parts, panels * (part + 1) / parts, memory);
    }
    free(memory);
    return true;
}

int run(const job *j) {
    const packed *weights = j->product->weights;
    int64_t panels = weights->groups * weights->group_panels, next = 0;
    int threads = j->product->threads;
    if (j->blocks == 0 || panels == 0) return 0;
    if (threads <= 1) return run_tasks(j, 1, &next) ? 0 : -1;

    /* Too few blocks to go round: each is cut along its panels, and staged by every thread. */
    int64_t wanted = TASKS_PER_THREAD * (int64_t)threads;
    int64_t parts = divide_up(wanted, j->blocks);
    if (parts > 1) parts = smaller(divide_up(parts, threads) * threads, panels);
    bool ok = true;
#pragma omp parallel num_threads(threads) reduction(&& : ok)
    ok = run_tasks(j, parts, &next);
    return ok ? 0 : -1;
}
