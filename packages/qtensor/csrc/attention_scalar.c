/* The specification of attention.h, in float32 and without fused multiply-add. */
#include <float.h>
#include <math.h>

#include "activation_scalar.h"
#include "attention.h"

static float real(const int32_t *scores, const float *mask, int64_t i, float scale) {
    const float t = (float)scores[i] * scale;
    return mask ? t + mask[i] : t;
}

int64_t attention_scalar(const int32_t *scores, const float *mask, uint8_t *steps, int64_t n,
                         float scale) {
    float highest = -FLT_MAX; /* a row of nothing but -infinity has no differences */
    for (int64_t i = 0; i < n; i++) {
        const float t = real(scores, mask, i, scale);
        highest = t > highest ? t : highest;
    }
    int64_t total = 0;
    for (int64_t i = 0; i < n; i++) {
        float t = real(scores, mask, i, scale) - highest;
        t = t > EXP_LOWEST ? t : EXP_LOWEST; /* so NaN becomes the lowest */
        steps[i] = (uint8_t)rintf((expm1_negative(t) + 1) * 255);
        total += steps[i];
    }
    return total;
}
