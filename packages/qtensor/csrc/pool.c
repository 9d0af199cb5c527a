/* Drivers: images into rows of output pixels, rows to threads. See pool.h. */
#include "pool.h"

#include <stddef.h>

#include "parallel.h"
#include "pool_scalar.h"

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

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
    const uint8_t *input;
    uint8_t *output;
    uint8_t flip;
    const pool_shape *shape;
    const mean_rule *mean; /* NULL: the maximum */
    int count_padding;
} pool_context;

/* Part of output row `index`, counted over all images and planes, from `column` on. */
static void pool_row_part(const pool_context *c, int64_t index, int64_t column,
                          const pool_run *runs, int64_t run_count) {
    const pool_shape *s = c->shape;
    const int64_t row_bytes = s->width.input * s->channels;
    const int64_t plane_bytes = s->height.input * row_bytes;
    const int64_t image_bytes = s->depth.input * plane_bytes;
    const int64_t plane = index / s->height.output, image = plane / s->depth.output;
    const pool_span deep = span_at(&s->depth, plane % s->depth.output, c->count_padding);
    const pool_span high = span_at(&s->height, index % s->height.output, c->count_padding);
    const pool_row row = {
        .input = c->input + image * image_bytes + deep.first * plane_bytes +
                 high.first * row_bytes,
        .end = c->input + s->batch * image_bytes,
        .planes = deep.taps,
        .plane_stride = plane_bytes * s->depth.dilation,
        .rows = high.taps,
        .row_stride = row_bytes * s->height.dilation,
        .tap_stride = s->channels * s->width.dilation,
        .channels = s->channels,
        .runs = runs,
        .run_count = run_count,
        .extent = deep.extent * high.extent,
    };
    uint8_t *out = c->output + (index * s->width.output + column) * s->channels;
    if (c->mean) {
        c->kernels->mean(&row, out, c->mean, c->flip);
    } else {
        c->kernels->max(&row, out, c->flip);
    }
}

enum { COLUMNS = 64 }; /* output columns whose runs are found at a time */

/* Adds a pixel with this window to the run, if it fits there. */
static int extend(pool_run *run, pool_span span) {
    const pool_span *first = &run->columns;
    const int64_t distance = span.first - first->first;
    const int alike = span.taps == first->taps && span.extent == first->extent;
    if (!alike || (run->pixels > 1 && distance != run->pixels * run->step)) {
        return 0;
    }
    run->step = distance / run->pixels;
    run->pixels++;
    return 1;
}

/* Finds the runs of the output columns begin ... end; returns how many there are. */
static int64_t find_runs(const pool_axis *axis, int64_t begin, int64_t end, int count_padding,
                         pool_run runs[COLUMNS]) {
    int64_t count = 0;
    for (int64_t i = begin; i < end; i++) {
        const pool_span span = span_at(axis, i, count_padding);
        if (count == 0 || !extend(&runs[count - 1], span)) {
            runs[count++] = (pool_run){span, 0, 1};
        }
    }
    return count;
}

/* begin, end: output rows, over all images and planes */
static void pool_rows(const void *context, int64_t begin, int64_t end) {
    const pool_context *c = context;
    const pool_axis *width = &c->shape->width;
    pool_run runs[COLUMNS];
    for (int64_t column = 0; column < width->output; column += COLUMNS) {
        const int64_t last = smaller(column + COLUMNS, width->output);
        const int64_t count = find_runs(width, column, last, c->count_padding, runs);
        for (int64_t index = begin; index < end; index++) {
            pool_row_part(c, index, column, runs, count);
        }
    }
}

/* Output rows are shared among threads; a row's work is measured by what it reads. */
static void pool(const pool_context *c, int threads) {
    const pool_shape *s = c->shape;
    if (s->channels == 0) { /* no step of that size gets through a line */
        return;
    }
    const int64_t rows = s->batch * s->depth.output * s->height.output;
    const int64_t work =
        s->batch * s->channels * s->depth.input * s->height.input * s->width.input;
    const int64_t work_of_row = rows ? work / rows + 1 : 1;
    parallel(rows, GRAIN / work_of_row + 1, threads, pool_rows, c);
}

void max_pool(const pool_kernels *kernels, const uint8_t *input, uint8_t *output,
              enum element_type type, const pool_shape *shape, int threads) {
    const pool_context context = {
        kernels, input, output, (uint8_t)flip_of(type), shape, NULL, 0,
    };
    pool(&context, threads);
}

/* Whether one window covers the axis, and no padding. */
static int is_whole(const pool_axis *axis) {
    return axis->output == 1 && (axis->kernel == 0 || (axis->input == 1 && axis->padding == 0));
}

/* begin, end: images of one channel, each to its mean: bytes that lie side by side. */
static void mean_of_images(const void *context, int64_t begin, int64_t end) {
    const pool_context *c = context;
    const pool_shape *s = c->shape;
    const int64_t size = s->depth.input * s->height.input * s->width.input;
    const int64_t divisor = c->mean->divisor_override ? c->mean->divisor_override : size;
    for (int64_t i = begin; i < end; i++) {
        const int64_t sum = c->kernels->sum(c->input + i * size, size, c->flip);
        const int64_t distance = sum - size * c->mean->zero_point;
        c->output[i] = rounded_mean(distance, divisor, c->mean) ^ c->flip;
    }
}

void mean_pool(const pool_kernels *kernels, const uint8_t *input, uint8_t *output,
               enum element_type type, const pool_shape *shape, const mean_rule *rule,
               int count_padding, int threads) {
    const int32_t flip = flip_of(type);
    mean_rule flipped = *rule;
    flipped.zero_point += flip;
    flipped.output_zero_point += flip;
    flipped.quant_min += flip;
    flipped.quant_max += flip;
    const pool_context context = {
        kernels, input, output, (uint8_t)flip, shape, &flipped, count_padding,
    };
    const pool_shape *s = shape;
    if (s->channels == 1 && is_whole(&s->depth) && is_whole(&s->height) && is_whole(&s->width)) {
        const int64_t size = s->depth.input * s->height.input * s->width.input;
        parallel(s->batch, GRAIN / (size + 1) + 1, threads, mean_of_images, &context);
        return;
    }
    pool(&context, threads);
}
