/* activation_scalar.h on 8 values. */
#ifndef QTENSOR_ACTIVATION_AVX2_H
#define QTENSOR_ACTIVATION_AVX2_H

#include <immintrin.h>

#include "activation.h"

static inline __m256 times_plus(__m256 a, __m256 b, float c) {
    return _mm256_add_ps(_mm256_mul_ps(a, b), _mm256_set1_ps(c));
}

static inline __m256 expm1_negative(__m256 v) {
    const __m256 rounder = _mm256_set1_ps(ROUND_TO_INTEGER);
    v = _mm256_max_ps(_mm256_set1_ps(EXP_LOWEST), v);
    __m256 shifted = _mm256_add_ps(_mm256_mul_ps(v, _mm256_set1_ps(LOG2_E)), rounder);
    __m256 n = _mm256_sub_ps(shifted, rounder);
    __m256 r = _mm256_sub_ps(v, _mm256_mul_ps(n, _mm256_set1_ps(LN2_HIGH)));
    r = _mm256_sub_ps(r, _mm256_mul_ps(n, _mm256_set1_ps(LN2_LOW)));
    __m256 p = _mm256_set1_ps(1.0f / 5040);
    p = times_plus(p, r, 1.0f / 720);
    p = times_plus(p, r, 1.0f / 120);
    p = times_plus(p, r, 1.0f / 24);
    p = times_plus(p, r, 1.0f / 6);
    p = times_plus(p, r, 0.5f);
    p = _mm256_add_ps(_mm256_mul_ps(_mm256_mul_ps(r, r), p), r);
    __m256i bits = _mm256_add_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(127));
    __m256 power = _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23));
    return _mm256_add_ps(_mm256_mul_ps(power, p), _mm256_sub_ps(power, _mm256_set1_ps(1)));
}

#endif
