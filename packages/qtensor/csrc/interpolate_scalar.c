/* The specification of the interpolating kernels. */
#include <math.h>

#include "interpolate.h"

static float between(float low, float high, float weight) {
    return (1.0f - weight) * low + weight * high;
}

static float between_columns(const interpolate_row *row, const uint8_t *input, int64_t i,
                             int64_t channel, uint8_t flip) {
    const int64_t low = row->width->low[i] * row->channels + channel;
    const int64_t high = row->width->high[i] * row->channels + channel;
    return between((float)((input[low] ^ flip) - row->zero_point),
                   (float)((input[high] ^ flip) - row->zero_point), row->width->weight[i]);
}

static void linear(const interpolate_row *row, uint8_t *out, uint8_t flip) {
    for (int64_t i = 0; i < row->width->output; i++) {
        for (int64_t c = 0; c < row->channels; c++) {
            float planes[2];
            for (int p = 0; p < 2; p++) {
                planes[p] = between(between_columns(row, row->input[p][0], i, c, flip),
                                    between_columns(row, row->input[p][1], i, c, flip),
                                    row->row_weight);
            }
            const float value = between(planes[0], planes[1], row->plane_weight);
            *out++ = (uint8_t)((int32_t)lrintf(value) + row->zero_point) ^ flip;
        }
    }
}

const interpolate_kernels interpolate_scalar = {.linear = linear};
