/* Drivers: images into rows of output pixels, rows to threads. See interpolate.h. */
#include "interpolate.h"

#include <stddef.h>
#include <string.h>

#include "parallel.h"

typedef struct {
    const interpolate_kernels *kernels; /* NULL: the nearest pixel */
    const uint8_t *input;
    uint8_t *output;
    const interpolate_shape *shape;
    uint8_t flip;
    int32_t zero_point;
} interpolate_context;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static const uint8_t *input_row(const interpolate_context *c, int64_t image, int64_t plane,
                                int64_t row) {
    const interpolate_shape *s = c->shape;
    const int64_t index = (image * s->depth.input + plane) * s->height.input + row;
    return c->input + index * s->width.input * s->channels;
}

static void copy_nearest(const interpolate_shape *s, const uint8_t *row, uint8_t *out) {
    for (int64_t i = 0; i < s->width.output; i++, out += s->channels) {
        copy_short(row + s->width.low[i] * s->channels, out, s->channels);
    }
}

/* How many output rows from y on, `most` at most, lie between the same input rows. */
static int64_t rows_alike(const interpolate_axis *height, int64_t y, int64_t most) {
    int64_t count = 1;
    while (count < most && height->low[y + count] == height->low[y] &&
           height->high[y + count] == height->high[y]) {
        count++;
    }
    return count;
}

/* begin, end: output rows, over all images and planes */
static void interpolate_range(const void *context, int64_t begin, int64_t end) {
    const interpolate_context *c = context;
    const interpolate_shape *s = c->shape;
    const interpolate_axis *depth = &s->depth, *height = &s->height;
    const int64_t row_bytes = s->width.output * s->channels;
    for (int64_t index = begin, rows; index < end; index += rows) {
        const int64_t y = index % height->output, plane = index / height->output;
        const int64_t z = plane % depth->output, image = plane / depth->output;
        const int64_t most = smaller(MAX_ROWS, smaller(end - index, height->output - y));
        uint8_t *out = c->output + index * row_bytes;
        const uint8_t *nearest = input_row(c, image, depth->low[z], height->low[y]);
        rows = rows_alike(height, y, most);
        if (!c->kernels) {
            copy_nearest(s, nearest, out);
            for (int64_t i = 1; i < rows; i++) {
                memcpy(out + i * row_bytes, out, row_bytes);
            }
            continue;
        }
        const interpolate_rows between = {
            .input = {{nearest, input_row(c, image, depth->low[z], height->high[y])},
                      {input_row(c, image, depth->high[z], height->low[y]),
                       input_row(c, image, depth->high[z], height->high[y])}},
            .plane_weight = depth->weight[z],
            .rows = rows,
            .row_weights = height->weight + y,
            .width = &s->width,
            .channels = s->channels,
            .zero_point = c->zero_point,
        };
        c->kernels->linear(&between, out, c->flip);
    }
}

static void interpolate(const interpolate_context *c, int64_t bytes_of_pixel, int threads) {
    const interpolate_shape *s = c->shape;
    const int64_t rows = s->batch * s->depth.output * s->height.output;
    const int64_t work_of_row = s->width.output * bytes_of_pixel + 1;
    parallel(rows, GRAIN / work_of_row + 1, threads, interpolate_range, c);
}

void interpolate_nearest(const uint8_t *input, uint8_t *output, const interpolate_shape *shape,
                         int threads) {
    const interpolate_context context = {NULL, input, output, shape, 0, 0};
    interpolate(&context, shape->channels, threads);
}

void interpolate_linear(const interpolate_kernels *kernels, const uint8_t *input, uint8_t *output,
                        enum element_type type, const interpolate_shape *shape,
                        int32_t zero_point, int threads) {
    const int32_t flip = flip_of(type);
    const interpolate_context context = {
        kernels, input, output, shape, (uint8_t)flip, zero_point + flip,
    };
    interpolate(&context, shape->channels * 8, threads); /* some eight times the work of a copy */
}
