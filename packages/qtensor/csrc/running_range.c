/* Running ranges and the parameters that follow from them. See running_range.h. */
#include "running_range.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

/* ---- Running ranges ------------------------------------------------------------------------- */

static void take(const running_range *range, int64_t channel, const value_range *found) {
    float *min = range->min + channel, *max = range->max + channel;
    if (found->lowest > found->highest) { /* nothing finite */
        return;
    }
    if (!range->averaged) {
        *min = found->lowest < *min ? found->lowest : *min;
        *max = found->highest > *max ? found->highest : *max;
        return;
    }
    *min = isinf(*min) ? found->lowest : *min + range->constant * (found->lowest - *min);
    *max = isinf(*max) ? found->highest : *max + range->constant * (found->highest - *max);
}

static int64_t observe_channels(const statistics_kernels *kernels, const strided_tensor *tensor,
                                int axis, const running_range *range, int threads) {
    const int64_t channels = tensor->sizes[axis];
    int64_t *nonfinite = malloc((size_t)channels * (sizeof *nonfinite + 2 * sizeof(float)) + 1);
    if (!nonfinite) {
        return -1;
    }
    float *lowest = (float *)(nonfinite + channels), *highest = lowest + channels;
    const channel_ranges found = {lowest, highest, nonfinite};
    ranges_of_channels(kernels, tensor, axis, &found, threads);
    int64_t dropped = 0;
    for (int64_t c = 0; c < channels; c++) {
        const value_range of_channel = {lowest[c], highest[c], nonfinite[c]};
        take(range, c, &of_channel);
        dropped += nonfinite[c];
    }
    free(nonfinite);
    return dropped;
}

int64_t observe_range(const statistics_kernels *kernels, const strided_tensor *tensor, int axis,
                      const running_range *range, int threads) {
    if (axis != PER_TENSOR) {
        return observe_channels(kernels, tensor, axis, range, threads);
    }
    const value_range found = range_of(kernels, tensor, threads);
    take(range, 0, &found);
    return found.nonfinite;
}

/* ---- Parameters ----------------------------------------------------------------------------- */

static float smaller(float a, float b) { return a < b ? a : b; }

static float larger(float a, float b) { return a > b ? a : b; }

/* The smallest power of two that is not below a positive scale. */
static float next_power_of_two(float scale) {
    int exponent;
    const float mantissa = frexpf(scale, &exponent); /* 0.5 ... 1 */
    return ldexpf(1.0f, mantissa == 0.5f ? exponent - 1 : exponent);
}

static int64_t affine_zero_point(float below, float scale, const range_rule *rule) {
    const double z = (double)rule->quant_min - rintf(below / scale);
    if (z <= (double)rule->quant_min) {
        return rule->quant_min;
    }
    return z < (double)rule->quant_max ? (int64_t)z : rule->quant_max;
}

static void write(const range_parameters *parameters, int64_t channel, float scale,
                  int64_t zero_point, float real_zero_point) {
    parameters->scale[channel] = scale;
    if (parameters->zero_points) {
        parameters->zero_points[channel] = (int32_t)zero_point;
    } else if (parameters->wide_zero_points) {
        parameters->wide_zero_points[channel] = zero_point;
    } else {
        parameters->real_zero_points[channel] = real_zero_point;
    }
}

static void write_parameters(const range_parameters *parameters, int64_t channel, float min,
                             float max, const range_rule *rule) {
    const float levels = (float)(rule->quant_max - rule->quant_min);
    if (rule->scheme == REAL_ZERO_POINTS) {
        const float step = (max - min) / levels, scale = step > rule->eps ? step : 1.0f;
        write(parameters, channel, scale, 0, -min / scale);
        return;
    }
    const int symmetric = rule->scheme == SYMMETRIC;
    const float below = smaller(min, 0.0f), above = larger(max, 0.0f);
    const float span = symmetric ? 2.0f * larger(-below, above) : above - below;
    float scale = larger(smaller(span, FLT_MAX) / levels, rule->eps);
    if (rule->power_of_two) {
        scale = next_power_of_two(scale);
    }
    const int64_t zero_point =
        symmetric ? rule->zero_point : affine_zero_point(below, scale, rule);
    write(parameters, channel, scale, zero_point, 0.0f);
}

int affine_parameters(const float *min, const float *max, int64_t channels,
                      const range_rule *rule, const range_parameters *parameters) {
    for (int64_t c = 0; c < channels; c++) {
        const int unseen = min[c] == INFINITY && max[c] == -INFINITY;
        if (!unseen && !(min[c] <= max[c])) {
            return 0;
        }
    }
    for (int64_t c = 0; c < channels; c++) {
        if (min[c] <= max[c]) {
            write_parameters(parameters, c, min[c], max[c], rule);
        } else {
            write(parameters, c, 1.0f, 0, 0.0f);
        }
    }
    return 1;
}
