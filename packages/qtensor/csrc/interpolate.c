/* Drivers: images into rows of output pixels, rows to threads. See interpolate.h. */
#include "interpolate.h"

#include <stddef.h>
#include <string.h>

#include "parallel.h"

typedef struct {
    const interpolate_kernels *kernels;
    int linear; /* or the nearest pixel */
    const uint8_t *input, *end;
    uint8_t *output;
    const interpolate_shape *shape;
    image_size output_size;
    pixel_strides in, out;
    uint8_t flip;
    int32_t zero_point;
} interpolate_context;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Copies the nearest pixels to rows that are alike. */
static void copy_nearest(const interpolate_context *c, const interpolate_rows *rows,
                         uint8_t *out) {
    const int64_t parts = c->shape->images.channels_last ? 1 : rows->channels; /* that lie apart */
    c->kernels->nearest(rows, out);
    for (int64_t part = 0; part < parts; part++, out += rows->out.channel) {
        for (int64_t row = 1; row < rows->rows; row++) {
            memcpy(out + row * rows->out.row, out, rows->out.row);
        }
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
    const image_size *strides = &s->images.strides;
    for (int64_t index = begin, rows; index < end; index += rows) {
        const image_row row = row_at(&s->images, c->input, c->output, c->output_size, index);
        const int64_t most = smaller(MAX_ROWS, smaller(end - index, height->output - row.y));
        rows = rows_alike(height, row.y, most);
        const uint8_t *low_plane = row.input + depth->low[row.z] * strides->depth;
        const uint8_t *high_plane = row.input + depth->high[row.z] * strides->depth;
        const int64_t low = height->low[row.y] * strides->height;
        const int64_t high = height->high[row.y] * strides->height;
        const interpolate_rows between = {
            .input = {{low_plane + low, low_plane + high}, {high_plane + low, high_plane + high}},
            .end = c->end,
            .plane_weight = depth->weight[row.z],
            .rows = rows,
            .row_weights = height->weight + row.y,
            .width = s->width,
            .channels = row.channels,
            .in = c->in,
            .out = c->out,
            .zero_point = c->zero_point,
        };
        if (c->linear) {
            c->kernels->linear(&between, row.output, c->flip);
        } else {
            copy_nearest(c, &between, row.output);
        }
    }
}

/* `work`: for each byte of the output. */
static void interpolate(interpolate_context *c, int64_t work, int threads) {
    const interpolate_shape *s = c->shape;
    const image_layout *images = &s->images;
    c->output_size = (image_size){s->depth.output, s->height.output, s->width.output};
    const int64_t rows = rows_of(images, c->output_size), width = s->width.output;
    if (rows == 0) {
        return;
    }
    c->end = end_of(images, c->input);
    c->in = (pixel_strides){images->strides.height, images->strides.width, images->channel_stride};
    if (images->channels_last) {
        c->out = (pixel_strides){width * images->channels, images->channels, 1};
    } else {
        c->out = (pixel_strides){width, 1, pixels_of(c->output_size)};
    }
    const int64_t work_of_row = width * channels_at_once(images) * work;
    parallel(rows, GRAIN / (work_of_row + 1) + 1, threads, interpolate_range, c);
}

void interpolate_nearest(const interpolate_kernels *kernels, const uint8_t *input, uint8_t *output,
                         const interpolate_shape *shape, int threads) {
    interpolate_context context = {
        .kernels = kernels,
        .input = input,
        .output = output,
        .shape = shape,
    };
    interpolate(&context, 1, threads);
}

void interpolate_linear(const interpolate_kernels *kernels, const uint8_t *input, uint8_t *output,
                        enum element_type type, const interpolate_shape *shape,
                        int32_t zero_point, int threads) {
    const int32_t flip = flip_of(type);
    interpolate_context context = {
        .kernels = kernels,
        .linear = 1,
        .input = input,
        .output = output,
        .shape = shape,
        .flip = (uint8_t)flip,
        .zero_point = zero_point + flip,
    };
    interpolate(&context, 8, threads); /* some eight times the work of a copy */
}
