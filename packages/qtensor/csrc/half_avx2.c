/* Half floats with AVX2, and F16C, which every processor with AVX2 has. */
#include <immintrin.h>

#include "half.h"

static void from_float16s(const uint16_t *x, float *y, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        _mm256_storeu_ps(y + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(x + i))));
    }
    for (; i < n; i++) {
        y[i] = from_float16(x[i]);
    }
}

static void to_float16s(const float *x, uint16_t *y, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT);
        _mm_storeu_si128((__m128i *)(y + i), halves);
    }
    for (; i < n; i++) {
        y[i] = to_float16(x[i]);
    }
}

const float_format half_avx2[3] = {
    [FLOAT16] = {from_float16s, to_float16s},
    [BFLOAT16] = {from_bfloat16s, to_bfloat16s},
};
