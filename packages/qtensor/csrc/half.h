/* float16 and bfloat16 to float32 and back, in integers and additions of floats. */
#ifndef QTENSOR_HALF_H
#define QTENSOR_HALF_H

#include <string.h>

#include "blocks.h"

static inline uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float float_of(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Of float32: all bits but the sign, infinity, what makes a NaN quiet; and two powers of two. */
enum { MAGNITUDE = 0x7FFFFFFF, INFINITE = 0x7F800000, QUIET = 0x00400000 };
enum { ONE_HALF = 0x3F000000, TWO_TO_MINUS_14 = 0x38800000, TWO_TO_16 = 0x47800000 };
enum { REBIAS = (127 - 15) << 23 }; /* between the exponents of float16 and float32 */

/* An integer m of up to 23 bits put under the exponent of 1/2 is 1/2 + m * 2^-24, and a float16
 * below 2^-14, the lowest normal one, is m * 2^-24. */
static inline float from_float16(uint16_t x) {
    const uint32_t magnitude = x & 0x7FFF, sign = (uint32_t)(x & 0x8000) << 16;
    if (magnitude < 0x0400) {
        return float_of(sign | bits_of(float_of(ONE_HALF | magnitude) - 0.5f));
    }
    if (magnitude < 0x7C00) {
        return float_of(sign | ((magnitude << 13) + REBIAS));
    }
    return float_of(sign | magnitude << 13 | INFINITE | (magnitude > 0x7C00 ? QUIET : 0));
}

static inline uint16_t to_float16(float x) {
    const uint32_t bits = bits_of(x), magnitude = bits & MAGNITUDE, sign = bits >> 16 & 0x8000;
    if (magnitude > INFINITE) {
        return (uint16_t)(sign | 0x7E00 | (magnitude >> 13 & 0x03FF));
    }
    if (magnitude >= TWO_TO_16) {
        return (uint16_t)(sign | 0x7C00);
    }
    if (magnitude < TWO_TO_MINUS_14) { /* the sum rounds it */
        return (uint16_t)(sign | (bits_of(float_of(magnitude) + 0.5f) - ONE_HALF));
    }
    /* Just under a half is added to what is cut off, or a half where what stays is odd. A carry
     * may go into the exponent, and from the highest one to infinity. */
    return (uint16_t)(sign | (magnitude - REBIAS + 0x0FFF + (magnitude >> 13 & 1)) >> 13);
}

/* bfloat16 is the upper half of a float32. */
static inline float from_bfloat16(uint16_t x) {
    const uint32_t bits = (uint32_t)x << 16;
    return float_of(bits | ((bits & MAGNITUDE) > INFINITE ? QUIET : 0));
}

static inline uint16_t to_bfloat16(float x) {
    const uint32_t bits = bits_of(x), nan = x == x ? 0 : ~UINT32_C(0);
    const uint32_t half = 0x7FFF + (bits >> 16 & 1); /* as above */
    return (uint16_t)((bits + (half & ~nan)) >> 16 | (nan & QUIET) >> 16);
}

/* Compilers vectorize these. */
static inline void from_bfloat16s(const uint16_t *restrict x, float *restrict y, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        y[i] = from_bfloat16(x[i]);
    }
}

static inline void to_bfloat16s(const float *restrict x, uint16_t *restrict y, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        y[i] = to_bfloat16(x[i]);
    }
}

#endif
