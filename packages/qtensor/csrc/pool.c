/* Drivers: images into rows of output pixels, rows to threads. See pool.h. */
#include "pool.h"

#include "parallel.h"

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
    int64_t channels;
    const pool_axis *height, *width;
    int mean;
    /* of the mean only */
    int32_t zero_point;
    int count_padding;
    int64_t divisor_override;
} pool_context;

enum { SPANS = 64 }; /* output columns whose spans are computed at a time */

static void pool_columns(const pool_context *c, int64_t begin, int64_t end, int64_t column,
                         const pool_span *spans, int64_t pixels) {
    const int64_t row_bytes = c->width->input * c->channels;
    for (int64_t i = begin; i < end; i++) {
        const int64_t image = i / c->height->output;
        const pool_span span = span_at(c->height, i % c->height->output, c->count_padding);
        const pool_row row = {
            .input = c->input + (image * c->height->input + span.first) * row_bytes,
            .rows = span.taps,
            .row_stride = row_bytes * c->height->dilation,
            .tap_stride = c->channels * c->width->dilation,
            .channels = c->channels,
            .columns = spans,
            .pixels = pixels,
            .row_extent = span.extent,
            .divisor_override = c->divisor_override,
        };
        uint8_t *out = c->output + (i * c->width->output + column) * c->channels;
        if (c->mean) {
            c->kernels->mean(&row, out, c->zero_point, c->flip);
        } else {
            c->kernels->max(&row, out, c->flip);
        }
    }
}

/* begin, end: output rows, over all images */
static void pool_rows(const void *context, int64_t begin, int64_t end) {
    const pool_context *c = context;
    pool_span spans[SPANS];
    for (int64_t column = 0; column < c->width->output; column += SPANS) {
        const int64_t pixels = smaller(SPANS, c->width->output - column);
        for (int64_t i = 0; i < pixels; i++) {
            spans[i] = span_at(c->width, column + i, c->count_padding);
        }
        pool_columns(c, begin, end, column, spans, pixels);
    }
}

/* Output rows are shared among threads; a row's work is measured by what it reads. */
static void pool(const pool_context *c, int64_t batch, int threads) {
    const int64_t size = batch * c->height->output;
    const int64_t work = batch * c->height->input * c->width->input * c->channels;
    const int64_t work_of_row = size ? work / size + 1 : 1;
    parallel(size, GRAIN / work_of_row + 1, threads, pool_rows, c);
}

void max_pool(const pool_kernels *kernels, const uint8_t *input, uint8_t *output,
              enum element_type type, int64_t batch, int64_t channels, const pool_axis *height,
              const pool_axis *width, int threads) {
    const pool_context context = {
        .kernels = kernels, .input = input, .output = output, .flip = (uint8_t)flip_of(type),
        .channels = channels, .height = height, .width = width,
    };
    pool(&context, batch, threads);
}

void mean_pool(const pool_kernels *kernels, const uint8_t *input, uint8_t *output,
               enum element_type type, int64_t batch, int64_t channels, const pool_axis *height,
               const pool_axis *width, int32_t zero_point, int count_padding,
               int64_t divisor_override, int threads) {
    const int32_t flip = flip_of(type);
    const pool_context context = {
        .kernels = kernels, .input = input, .output = output, .flip = (uint8_t)flip,
        .channels = channels, .height = height, .width = width,
        .mean = 1, .zero_point = zero_point + flip, .count_padding = count_padding,
        .divisor_override = divisor_override,
    };
    pool(&context, batch, threads);
}
