/* Products of two matrices of activations. The right one is packed in every call, so its steps are
 * not certified, which would take longer than it saves: all of them are wide. */
#include <stdlib.h>
#include <string.h>

#include "gemm.h"
#include "parallel.h"

/* ---- the right matrix as panels ---- */

enum { CHUNK_STEPS = MAX_CHUNK / STEP };

/* A packed matrix whose contents are replaced by the next one's. */
typedef struct {
    packed packed;
    int8_t *weights;
    void *memory;
} matrix;

static int64_t steps_of(const matmul_shape *m) { return divide_up(m->k, STEP); }

static int64_t chunk_steps(const matmul_shape *m, int64_t chunk) {
    return smaller(steps_of(m) - chunk * CHUNK_STEPS, CHUNK_STEPS);
}

/* Panels of all columns, and one that sums the activations. */
static bool allocate(const matmul_shape *m, matrix *x) {
    int64_t steps = steps_of(m), panels = divide_up(m->columns, CHANNELS);
    int64_t chunks = larger(divide_up(steps, CHUNK_STEPS), 1);
    size_t weights = (size_t)((panels + 1) * steps * WIDE_BYTES);
    size_t headers = (size_t)(chunks * (panels + 1)) * sizeof(panel);
    size_t bytes = weights + headers + (size_t)steps * sizeof(int32_t);
    x->memory = aligned_alloc(64, (bytes + 64) & ~(size_t)63);
    if (!x->memory) return false;
    x->weights = x->memory;
    panel *header = (panel *)(x->weights + weights);
    x->packed = (packed){.groups = 1, .channels = m->columns, .group_panels = panels, .k = m->k,
                         .run_length = m->k, .offset_count = steps, .copies = 1,
                         .chunks = chunks,
                         .panels = header, .ones = header + chunks * panels};
    int32_t *offsets = (int32_t *)(header + chunks * (panels + 1));
    for (int64_t s = 0; s < steps; s++) offsets[s] = (int32_t)(s * STEP);
    for (int64_t i = 0; i < chunks * (panels + 1); i++) {
        int64_t chunk = i < chunks * panels ? i / panels : i - chunks * panels;
        int64_t column = i < chunks * panels ? i % panels : panels;
        int32_t count = (int32_t)chunk_steps(m, chunk);
        header[i] = (panel){.wide = count, .offset_count = count,
                            .offsets = offsets + chunk * CHUNK_STEPS,
                            .weights = x->weights +
                                       (column * steps + chunk * CHUNK_STEPS) * WIDE_BYTES};
    }
    return true;
}

/* The layout of a wide step: store_wide() in pack.c. */
static inline void store(const int8_t rows[STEP][CHANNELS], int16_t *out) {
    for (int half = 0; half < 2; half++, out += 32) {
        for (int c = 0; c < 8; c++) {
            out[2 * c] = rows[0][half * 8 + c];
            out[2 * c + 1] = rows[2][half * 8 + c];
            out[2 * c + 16] = rows[1][half * 8 + c];
            out[2 * c + 17] = rows[3][half * 8 + c];
        }
    }
}

/* 4 rows of up to 16 columns as int8, zero where the matrix ends. */
static inline void load(const matmul_shape *m, const uint8_t *b, int64_t row, int64_t column,
                        int8_t rows[STEP][CHANNELS]) {
    int64_t height = smaller(m->k - row, STEP), width = smaller(m->columns - column, CHANNELS);
    const uint8_t flip = m->b_signed ? 0 : 0x80;
    if (height < STEP || width < CHANNELS) memset(rows, 0, STEP * CHANNELS);
    const int64_t down = m->b_row_stride, right = m->b_column_stride;
    const uint8_t *from = b + row * down + column * right;
    if (right == 1) {
        for (int64_t r = 0; r < height; r++)
            for (int64_t c = 0; c < width; c++) rows[r][c] = (int8_t)(from[r * down + c] ^ flip);
    } else {
        for (int64_t c = 0; c < width; c++)
            for (int64_t r = 0; r < height; r++)
                rows[r][c] = (int8_t)(from[c * right + r * down] ^ flip);
    }
}

static void fill(const matmul_shape *m, const uint8_t *b, matrix *x) {
    int64_t steps = steps_of(m), panels = x->packed.group_panels;
    int8_t *out = x->weights, rows[STEP][CHANNELS];
    for (int64_t i = 0; i < panels; i++) {
        for (int64_t s = 0; s < steps; s++, out += WIDE_BYTES) {
            int32_t *sums = x->packed.panels[s / CHUNK_STEPS * panels + i].sums;
            if (s % CHUNK_STEPS == 0) memset(sums, 0, CHANNELS * sizeof *sums);
            load(m, b, s * STEP, i * CHANNELS, rows);
            store(rows, (int16_t *)out);
            for (int c = 0; c < CHANNELS; c++)
                sums[c] += rows[0][c] + rows[1][c] + rows[2][c] + rows[3][c];
        }
    }
    for (int64_t s = 0; s < steps; s++, out += WIDE_BYTES) {
        memset(rows, 0, sizeof rows);
        for (int64_t r = 0; r < smaller(m->k - s * STEP, STEP); r++) rows[r][0] = 1;
        store(rows, (int16_t *)out);
    }
}

/* ---- all products ---- */

typedef struct {
    const product *product;
    const matmul_shape *shape;
    bool failed;
} batch;

static void multiply_range(const void *context, int64_t begin, int64_t end) {
    batch *all = (batch *)context;
    const matmul_shape *m = all->shape;
    matrix right;
    product p = *all->product;
    if (m->batch > 1) p.threads = 1; /* this is one thread's range already */
    p.weights = &right.packed;
    bool ok = allocate(m, &right);
    if (!p.weight_zero_points) right.packed.ones = NULL;
    const int64_t element = p.kind == OUTPUT_BYTES ? 1 : sizeof(int32_t);
    linear_input left = {.kind = m->a_signed ? INPUT_S8 : INPUT_U8, .rows = m->rows,
                         .k = m->k};
    int64_t filled = -1;
    for (int64_t i = begin; ok && i < end; i++) {
        const int64_t offset = offset_of(&m->b_batch, i);
        if (offset != filled) fill(m, m->b + offset, &right);
        filled = offset;
        p.output = (uint8_t *)all->product->output + i * m->rows * m->columns * element;
        left.values = (operand){m->a + offset_of(&m->a_batch, i), &m->a_rows};
        ok = !linear(&p, &left);
    }
    free(right.memory);
    if (!ok) {
#pragma omp atomic write
        all->failed = true;
    }
}

int matmul(const product *p, const matmul_shape *m) {
    batch all = {.product = p, .shape = m};
    parallel(m->batch, 1, p->threads, multiply_range, &all);
    return all.failed ? -1 : 0;
}
