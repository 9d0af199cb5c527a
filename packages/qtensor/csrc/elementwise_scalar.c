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

static void add(const uint8_t *a, const uint8_t *b, uint8_t *out, int64_t n, const add_params *p,
                uint8_t flip) {
    for (int64_t i = 0; i < n; i++) {
        float t = (float)((a[i] ^ flip) - p->a_zero_point) * p->a_multiplier;
        t += (float)((b[i] ^ flip) - p->b_zero_point) * p->b_multiplier;
        t = t > p->lo ? t : p->lo;
        t = t < p->hi ? t : p->hi;
        out[i] = (uint8_t)((int32_t)lrintf(t) + p->zero_point) ^ flip;
    }
}

const elementwise_kernels elementwise_scalar = {
    .quantize = quantize,
    .dequantize = dequantize,
    .add = add,
};
