/* Drivers: images into rows of output pixels, these into runs, rows to threads. See pool.h. */
#include "pool.h"

#include <stddef.h>

#include "parallel.h"
#include "pool_scalar.h"

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* What a pooling window covers along one axis. */
typedef struct {
    int64_t first, taps; /* inside the input: positions first, first + dilation, ... */
    int64_t extent;      /* what the window counts as when a mean is taken */
} pool_span;

static pool_span span_at(const pool_axis *axis, int64_t i, int count_padding) {
    if (axis->kernel == 0) {
        const int64_t first = i * axis->input / axis->output;
        const int64_t end = ((i + 1) * axis->input + axis->output - 1) / axis->output;
        return (pool_span){first, end - first, end - first};
    }
    const int64_t step = axis->dilation;
    const int64_t first = i * axis->stride - axis->padding;
    const int64_t last = first + (axis->kernel - 1) * step;
    const int64_t before = first < 0 ? (step - 1 - first) / step : 0; /* taps left of the input */
    const int64_t beyond = last >= axis->input ? (last - axis->input) / step + 1 : 0;
    const int64_t inside = axis->kernel - before - beyond;
    pool_span span = {first + before * step, inside > 0 ? inside : 0, inside};
    if (count_padding) { /* but not what ceil_mode adds beyond the padding; dilation is 1 here */
        span.extent = smaller(axis->kernel, axis->input + axis->padding - first);
    }
    return span;
}

typedef struct {
    const pool_kernels *kernels;
    const uint8_t *input, *end;
    uint8_t *output;
    uint8_t flip;
    const pool_shape *shape;
    image_size output_size;
    const mean_rule *mean; /* NULL: the maximum */
    int count_padding;
} pool_context;

/* Output columns side by side that cover alike columns: each begins `step` after the one before. */
typedef struct {
    pool_span span; /* of the first */
    int64_t step, columns;
} column_run;

enum { COLUMNS = 64 }; /* output columns whose runs are found at a time */

/* Adds a column with this window to the run, if it fits there. Dilated windows may begin before those
 * at their left, which begin in the padding: kernels want no such step. */
static int extend(column_run *run, pool_span span) {
    const pool_span *first = &run->span;
    const int64_t distance = span.first - first->first;
    const int alike = span.taps == first->taps && span.extent == first->extent;
    if (!alike || distance < 0 || (run->columns > 1 && distance != run->columns * run->step)) {
        return 0;
    }
    run->step = distance / run->columns;
    run->columns++;
    return 1;
}

/* Finds the runs of the output columns begin ... end; returns how many there are. */
static int64_t find_runs(const pool_axis *axis, int64_t begin, int64_t end, int count_padding,
                         column_run runs[COLUMNS]) {
    int64_t count = 0;
    for (int64_t i = begin; i < end; i++) {
        const pool_span span = span_at(axis, i, count_padding);
        if (count == 0 || !extend(&runs[count - 1], span)) {
            runs[count++] = (column_run){span, 0, 1};
        }
    }
    return count;
}

/* A column of taps is a row, rows that follow each other are one, and so are planes. An empty window
 * has none of them. */
static void join(pool_run *run) {
    if (run->taps == 1) {
        run->taps = run->rows;
        run->tap_stride = run->row_stride;
        run->rows = 1;
    }
    if (run->row_stride == run->taps * run->tap_stride) {
        run->taps *= run->rows;
        run->rows = 1;
    }
    if (run->rows == 1 && run->plane_stride == run->taps * run->tap_stride) {
        run->taps *= run->planes;
        run->planes = 1;
    }
    if (run->taps * run->rows == 0) {
        run->planes = 0;
    }
}

/* The output columns of these runs, the first being `column`, in output row `index`. */
static void pool_row(const pool_context *c, int64_t index, int64_t column, const column_run *runs,
                     int64_t run_count) {
    const pool_shape *s = c->shape;
    const image_layout *images = &s->images;
    const image_size *strides = &images->strides;
    const image_row row = row_at(images, c->input, c->output, c->output_size, index);
    const pool_span deep = span_at(&s->depth, row.z, c->count_padding);
    const pool_span high = span_at(&s->height, row.y, c->count_padding);
    const uint8_t *input = row.input + deep.first * strides->depth + high.first * strides->height;
    const int64_t pixel = images->channels_last ? row.channels : 1; /* bytes of the output */
    uint8_t *out = row.output + column * pixel;
    for (const column_run *columns = runs; columns < runs + run_count; columns++) {
        const int64_t step = columns->step * strides->width;
        pool_run run = {
            .input = input + columns->span.first * strides->width,
            .end = c->end,
            .planes = deep.taps,
            .plane_stride = s->depth.dilation * strides->depth,
            .rows = high.taps,
            .row_stride = s->height.dilation * strides->height,
            .taps = columns->span.taps,
            .tap_stride = s->width.dilation * strides->width,
            .extent = deep.extent * high.extent * columns->span.extent,
        };
        join(&run);
        if (images->channels_last) {
            run.lanes = row.channels, run.lane_stride = 1;
            run.groups = columns->columns, run.group_stride = step;
            run.output_stride = row.channels;
            run.scratch_end = row.output + s->width.output * pixel;
        } else {
            run.lanes = columns->columns, run.lane_stride = step;
            run.groups = row.channels, run.group_stride = images->channel_stride;
            run.output_stride = pixels_of(c->output_size);
            run.scratch_end = out;
        }
        if (c->mean) {
            c->kernels->mean(&run, out, c->mean, c->flip);
        } else {
            c->kernels->max(&run, out, c->flip);
        }
        out += columns->columns * pixel;
    }
}

/* begin, end: output rows, over all images and planes */
static void pool_rows(const void *context, int64_t begin, int64_t end) {
    const pool_context *c = context;
    const pool_axis *width = &c->shape->width;
    column_run runs[COLUMNS];
    for (int64_t column = 0; column < width->output; column += COLUMNS) {
        const int64_t last = smaller(column + COLUMNS, width->output);
        const int64_t count = find_runs(width, column, last, c->count_padding, runs);
        for (int64_t index = begin; index < end; index++) {
            pool_row(c, index, column, runs, count);
        }
    }
}

/* Output rows are shared among threads; a row's work is measured by what it reads. */
static void pool(pool_context *c, int threads) {
    const pool_shape *s = c->shape;
    const image_layout *images = &s->images;
    c->output_size = (image_size){s->depth.output, s->height.output, s->width.output};
    const int64_t rows = rows_of(images, c->output_size);
    if (rows == 0) {
        return;
    }
    c->end = end_of(images, c->input);
    const int64_t work = images->batch * images->channels * pixels_of(images->size);
    parallel(rows, GRAIN / (work / rows + 1) + 1, threads, pool_rows, c);
}

void max_pool(const pool_kernels *kernels, const uint8_t *input, uint8_t *output,
              enum element_type type, const pool_shape *shape, int threads) {
    pool_context context = {
        .kernels = kernels,
        .input = input,
        .output = output,
        .flip = (uint8_t)flip_of(type),
        .shape = shape,
    };
    pool(&context, threads);
}

static mean_rule flipped_rule(const mean_rule *rule, enum element_type type) {
    const int32_t flip = flip_of(type);
    mean_rule flipped = *rule;
    flipped.zero_point += flip;
    flipped.output_zero_point += flip;
    flipped.quant_min += flip;
    flipped.quant_max += flip;
    return flipped;
}

void mean_pool(const pool_kernels *kernels, const uint8_t *input, uint8_t *output,
               enum element_type type, const pool_shape *shape, const mean_rule *rule,
               int count_padding, int threads) {
    const mean_rule flipped = flipped_rule(rule, type);
    pool_context context = {
        .kernels = kernels,
        .input = input,
        .output = output,
        .flip = (uint8_t)flip_of(type),
        .shape = shape,
        .mean = &flipped,
        .count_padding = count_padding,
    };
    pool(&context, threads);
}

/* ---- Means of what lies in any way --------------------------------------------------------- */

typedef struct {
    const pool_kernels *kernels;
    const operand *input;
    uint8_t *output;
    int64_t size;
    const mean_rule *rule;
    uint8_t flip;
} elements_context;

/* begin, end: outputs */
static void mean_elements(const void *context, int64_t begin, int64_t end) {
    const elements_context *c = context;
    uint8_t block[BUFFER_BYTES];
    for (int64_t i = begin; i < end; i++) {
        int64_t sum = 0;
        for (int64_t at = 0, n; at < c->size; at += n) {
            n = smaller(c->size - at, at_once(c->input, BUFFER_BYTES));
            const uint8_t *bytes = elements(c->input, i * c->size + at, n, 1, block);
            sum += c->kernels->sum(bytes, n, c->flip);
        }
        const int64_t distance = sum - c->size * c->rule->zero_point;
        c->output[i] = rounded_mean(distance, c->size, c->rule) ^ c->flip;
    }
}

void mean_of_elements(const pool_kernels *kernels, const operand *input, uint8_t *output,
                      enum element_type type, int64_t count, int64_t size, const mean_rule *rule,
                      int threads) {
    const mean_rule flipped = flipped_rule(rule, type);
    const elements_context context = {
        kernels, input, output, size, &flipped, (uint8_t)flip_of(type),
    };
    parallel(count, GRAIN / (size + 1) + 1, threads, mean_elements, &context);
}
