/* Addition and requantization in 16-bit fixed point, for parameters of which it is proven that
 * this gives what the specification in float32 gives.
 *
 * 16 results fit a vector instead of 8, and nothing is converted, which is a third less work for a
 * sum and half for a rescaling. Whether the results are the same depends on the parameters alone:
 * where a result lies so near a tie that float32's own roundings decide, they may not be. There
 * are 65 536 pairs of bytes, so all of them are tried, once. Most parameters pass; the others keep
 * to float32. */
#ifndef QTENSOR_FIXED_POINT_H
#define QTENSOR_FIXED_POINT_H

#include <stdint.h>

/* The sum of two bytes, as floor((a A + b B + C) / 2^(21 + shift)), then clamped. A, B and C are
 * cut into digits of base 128, and the sum is taken from the lowest to the highest:
 *     s[0] = a A[0] + b B[0],  s[k] = a A[k] + b B[k] + C[k] + floor(s[k - 1] / 128),
 *     result = floor(s[3] / 2^shift),
 * which is the same, since floors nest. (C needs no lowest digit.) Digits lie in -64 ... 63, and
 * those of B in -63 ... 64, so that with a and b up to 255 nothing leaves 16 bits:
 *     255 (63 + 64) + 63 + 255 = 32703,  -255 (64 + 63) - 64 - 256 = -32705.
 * The highest digits of A and B are what is left, not negative and 121 together at most; C's may
 * take the sum above 32767, where it saturates, and 32767 / 2^shift is 255 or more. */
enum { SUM_DIGITS = 4, DIGIT_BITS = 7 };
typedef struct {
    int proven;
    int shift;
    int16_t a[SUM_DIGITS], b[SUM_DIGITS], c[SUM_DIGITS];
} fixed_sum;

/* One byte, rescaled: floor((floor((256 q + below) factor / 2^16) + plus - minus) / 2^shift), then
 * clamped. The first floor is what a multiplication of 16 bits keeps, and sum and difference
 * saturate within 0 ... 65535. */
typedef struct {
    int proven;
    int shift;
    uint16_t below, factor, plus, minus;
} fixed_rescaling;

#endif
