/* The specification of the elementwise kernels. */
#include <math.h>

#include "elementwise.h"

static void quantize(const float *x, uint8_t *q, int64_t n, const quantize_params *p,
                     uint8_t flip) {
    const float lo = (float)(p->quant_min - p->zero_point);
    const float hi = (float)(p->quant_max - p->zero_point);
    for (int64_t i = 0; i < n; i++) {
        float t = x[i] * p->inverse_scale + p->offset;
        t = t > lo ? t : lo; /* NaN compares false: lo */
        t = t < hi ? t : hi;
        q[i] = (uint8_t)((int32_t)lrintf(t) + p->zero_point) ^ flip;
    }
}

static void dequantize(const uint8_t *q, float *x, int64_t n, float scale, float zero_point,
                       uint8_t flip) {
    for (int64_t i = 0; i < n; i++) {
        x[i] = ((float)(q[i] ^ flip) - zero_point) * scale;
    }
}

static void quantize_channels(const float *x, uint8_t *q, int64_t n, const float *inverse_scales,
                              const int32_t *zero_points, int32_t quant_min, int32_t quant_max,
                              uint8_t flip) {
    for (int64_t i = 0; i < n; i++) {
        const quantize_params params = {inverse_scales[i], 0, zero_points[i], quant_min, quant_max};
        quantize(x + i, q + i, 1, &params, flip);
    }
}

static void dequantize_channels(const uint8_t *q, float *x, int64_t n, const float *scales,
                                const float *zero_points, uint8_t flip) {
    for (int64_t i = 0; i < n; i++) {
        dequantize(q + i, x + i, 1, scales[i], zero_points[i], flip);
    }
}

/* NaN gives lo. */
static uint8_t rounded(float t, const output_params *p, uint8_t flip) {
    t = t > p->lo ? t : p->lo;
    t = t < p->hi ? t : p->hi;
    return (uint8_t)((int32_t)lrintf(t) + p->zero_point) ^ flip;
}

static void add(const uint8_t *a, const uint8_t *b, uint8_t *out, int64_t n,
                const binary_params *p, uint8_t flip) {
    for (int64_t i = 0; i < n; i++) {
        const float ta = (float)((a[i] ^ flip) - p->a_zero_point) * p->a_multiplier;
        const float tb = (float)((b[i] ^ flip) - p->b_zero_point) * p->b_multiplier;
        out[i] = rounded(ta + tb, &p->output, flip);
    }
}

static void mul(const uint8_t *a, const uint8_t *b, uint8_t *out, int64_t n,
                const binary_params *p, uint8_t flip) {
    for (int64_t i = 0; i < n; i++) {
        const int32_t product =
            ((a[i] ^ flip) - p->a_zero_point) * ((b[i] ^ flip) - p->b_zero_point);
        out[i] = rounded((float)product * p->a_multiplier, &p->output, flip);
    }
}

static void requantize(const uint8_t *q, uint8_t *out, int64_t rows, int64_t length,
                       int64_t stride, const requantize_params *p) {
    for (int64_t row = 0; row < rows; row++, q += length, out += stride) {
        for (int64_t i = 0; i < length; i++) {
            const float difference = (float)((q[i] ^ p->flip) - p->zero_point);
            out[i] = rounded(difference * p->multiplier, &p->output, p->output_flip);
        }
    }
}

static void prelu(const uint8_t *q, uint8_t *out, int64_t n, const requantize_params *p,
                  const float *slopes, int each) {
    for (int64_t i = 0; i < n; i++) {
        const float difference = (float)((q[i] ^ p->flip) - p->zero_point);
        const float slope = difference < 0 ? slopes[each ? i : 0] : 1.0f;
        out[i] = rounded(difference * p->multiplier * slope, &p->output, p->output_flip);
    }
}

static void lookup(const uint8_t *q, uint8_t *out, int64_t n, const uint8_t *table) {
    for (int64_t i = 0; i < n; i++) {
        out[i] = table[q[i]];
    }
}

static void clamp(const uint8_t *q, uint8_t *out, int64_t n, uint8_t low, uint8_t high,
                  uint8_t flip) {
    for (int64_t i = 0; i < n; i++) {
        const uint8_t v = q[i] ^ flip, above = v > low ? v : low;
        out[i] = (above < high ? above : high) ^ flip;
    }
}

const elementwise_kernels elementwise_scalar = {
    .quantize = quantize,
    .dequantize = dequantize,
    .quantize_channels = quantize_channels,
    .dequantize_channels = dequantize_channels,
    .add = add,
    .mul = mul,
    .requantize = requantize,
    .prelu = prelu,
    .lookup = lookup,
    .clamp = clamp,
};
