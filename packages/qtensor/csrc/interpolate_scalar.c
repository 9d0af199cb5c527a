/* The specification of the interpolating kernels. */
#include <math.h>

#include "interpolate.h"

static float between(float low, float high, float weight) {
    return (1.0f - weight) * low + weight * high;
}

static float between_columns(const interpolate_rows *rows, const uint8_t *input, int64_t i,
                             int64_t channel, uint8_t flip) {
    const int64_t low = rows->width->low[i] * rows->channels + channel;
    const int64_t high = rows->width->high[i] * rows->channels + channel;
    return between((float)((input[low] ^ flip) - rows->zero_point),
                   (float)((input[high] ^ flip) - rows->zero_point), rows->width->weight[i]);
}

static uint8_t value_at(const interpolate_rows *rows, int64_t row, int64_t i, int64_t channel,
                        uint8_t flip) {
    float planes[2];
    for (int p = 0; p < 2; p++) {
        planes[p] = between(between_columns(rows, rows->input[p][0], i, channel, flip),
                            between_columns(rows, rows->input[p][1], i, channel, flip),
                            rows->row_weights[row]);
    }
    const float value = between(planes[0], planes[1], rows->plane_weight);
    return (uint8_t)((int32_t)lrintf(value) + rows->zero_point) ^ flip;
}

static void linear(const interpolate_rows *rows, uint8_t *out, uint8_t flip) {
    for (int64_t row = 0; row < rows->rows; row++) {
        for (int64_t i = 0; i < rows->width->output; i++) {
            for (int64_t c = 0; c < rows->channels; c++) {
                *out++ = value_at(rows, row, i, c, flip);
            }
        }
    }
}

const interpolate_kernels interpolate_scalar = {.linear = linear};
