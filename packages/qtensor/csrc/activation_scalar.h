/* The exponential of the activations; qtensor/_ops/_activation.py has the same. */
#ifndef QTENSOR_ACTIVATION_SCALAR_H
#define QTENSOR_ACTIVATION_SCALAR_H

#include <stdint.h>
#include <string.h>

#include "activation.h"

/* e^v - 1 for v <= 0: v = n ln 2 + r, and Taylor's series for r. */
static inline float expm1_negative(float v) {
    v = EXP_LOWEST > v ? EXP_LOWEST : v;
    float shifted = v * LOG2_E + ROUND_TO_INTEGER, n = shifted - ROUND_TO_INTEGER;
    float r = v - n * LN2_HIGH;
    r -= n * LN2_LOW;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = r * r * p + r;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23; /* n as an exponent */
    float power;
    memcpy(&power, &bits, sizeof power);
    return power * p + (power - 1);
}

#endif
