/* The parameters of activations that are quantized on the way into a product. */
#include <float.h>
#include <math.h>

#include "gemm.h"

extremes joined_extremes(extremes a, extremes b) {
    a.lowest = b.lowest < a.lowest ? b.lowest : a.lowest;
    a.highest = b.highest > a.highest ? b.highest : a.highest;
    a.finite &= b.finite;
    return a;
}

extremes extremes_of(const kernels *k, const operand *values, int64_t count) {
    float block[BUFFER_FLOATS];
    const int64_t most = at_once(values, BUFFER_FLOATS);
    extremes all = OF_NOTHING;
    for (int64_t at = 0, n; at < count; at += n) {
        n = smaller(count - at, most);
        const float *part = elements(values, at, n, sizeof *part, block);
        extremes r;
        r.finite = k->range(part, n, &r.lowest, &r.highest);
        all = joined_extremes(all, r);
    }
    return all;
}

float choose_parameters(extremes r, int32_t quant_max, quantize_params *params) {
    float scale = NAN;
    int32_t zero_point = 0;
    if (r.finite) {
        scale = (float)(((double)r.highest - (double)r.lowest) / quant_max);
        if (scale < FLT_MIN) scale = FLT_MIN; /* all zero, or nearly: its inverse stays finite */
        zero_point = (int32_t)smaller((int64_t)rint(-(double)r.lowest / (double)scale), quant_max);
    }
    *params = (quantize_params){.inverse_scale = 1.0f / scale, .zero_point = zero_point,
                                .quant_max = quant_max};
    return scale;
}
