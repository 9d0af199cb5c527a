/* The specification of the interpolating kernels. */
#include <math.h>

#include "interpolate.h"

static float between(float low, float high, float weight) {
    return (1.0f - weight) * low + weight * high;
}

static float between_columns(const interpolate_rows *rows, const uint8_t *input, int64_t i,
                             uint8_t flip) {
    const uint8_t low = input[rows->width.low[i] * rows->in.column];
    const uint8_t high = input[rows->width.high[i] * rows->in.column];
    return between((float)((low ^ flip) - rows->zero_point),
                   (float)((high ^ flip) - rows->zero_point), rows->width.weight[i]);
}

static uint8_t value_at(const interpolate_rows *rows, int64_t row, int64_t i, int64_t channel,
                        uint8_t flip) {
    float planes[2];
    for (int p = 0; p < 2; p++) {
        const uint8_t *low = rows->input[p][0] + channel * rows->in.channel;
        const uint8_t *high = rows->input[p][1] + channel * rows->in.channel;
        planes[p] = between(between_columns(rows, low, i, flip),
                            between_columns(rows, high, i, flip), rows->row_weights[row]);
    }
    const float value = between(planes[0], planes[1], rows->plane_weight);
    return (uint8_t)((int32_t)lrintf(value) + rows->zero_point) ^ flip;
}

static void linear(const interpolate_rows *rows, uint8_t *out, uint8_t flip) {
    const pixel_strides *apart = &rows->out;
    for (int64_t row = 0; row < rows->rows; row++) {
        for (int64_t i = 0; i < rows->width.output; i++) {
            for (int64_t c = 0; c < rows->channels; c++) {
                out[row * apart->row + i * apart->column + c * apart->channel] =
                    value_at(rows, row, i, c, flip);
            }
        }
    }
}

static void nearest(const interpolate_rows *rows, uint8_t *out) {
    const pixel_strides *in = &rows->in, *apart = &rows->out;
    for (int64_t i = 0; i < rows->width.output; i++, out += apart->column) {
        const uint8_t *pixel = rows->input[0][0] + rows->width.low[i] * in->column;
        if (in->channel == 1 && apart->channel == 1) {
            copy_short(pixel, out, rows->channels);
            continue;
        }
        for (int64_t c = 0; c < rows->channels; c++) {
            out[c * apart->channel] = pixel[c * in->channel];
        }
    }
}

const interpolate_kernels interpolate_scalar = {.linear = linear, .nearest = nearest};
