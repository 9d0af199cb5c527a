/* From a running range to scale and zero point. One value a channel: no kernels needed. */
#include <float.h>
#include <math.h>
#include <stddef.h>

#include "fake_quantize.h"

static float moved(float average, float value, float constant) {
    if (isinf(value)) {
        return average;
    }
    return isinf(average) ? value : average + constant * (value - average);
}

static float min_of(float a, float b) { return a < b ? a : b; }

static float max_of(float a, float b) { return a > b ? a : b; }

static int32_t affine_zero_point(float below, float scale, const range_rule *rule) {
    const double z = (double)rule->quant_min - rintf(below / scale);
    if (z <= (double)rule->quant_min) {
        return (int32_t)rule->quant_min;
    }
    return z < (double)rule->quant_max ? (int32_t)z : (int32_t)rule->quant_max;
}

void follow_range(const float *lowest, const float *highest, int64_t channels,
                  const range_rule *rule, const running_range *range) {
    const float levels = (float)(rule->quant_max - rule->quant_min);
    const int64_t middle = (rule->quant_min + rule->quant_max + 1) >> 1;
    for (int64_t c = 0; c < channels; c++) {
        if (lowest) {
            range->min[c] = moved(range->min[c], lowest[c], rule->averaging_constant);
            range->max[c] = moved(range->max[c], highest[c], rule->averaging_constant);
        }
        if (!(range->min[c] <= range->max[c])) {
            continue;
        }
        const float below = min_of(range->min[c], 0.0f), above = max_of(range->max[c], 0.0f);
        const float span = rule->symmetric ? 2.0f * max_of(-below, above) : above - below;
        range->scale[c] = max_of(min_of(span, FLT_MAX) / levels, rule->smallest_scale);
        range->zero_point[c] = !rule->symmetric      ? affine_zero_point(below, range->scale[c], rule)
                               : rule->quant_min < 0 ? 0
                                                     : (int32_t)middle;
    }
}
