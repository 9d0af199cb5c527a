/* attention_scalar.c in AVX2, 32 scores at a time. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "activation_avx2.h"
#include "attention.h"
#include "bytes_avx2.h"

enum { BLOCK = 32 };

/* 8 real scores. */
INLINE __m256 real(const int32_t *scores, const float *mask, __m256 scale) {
    const __m256i sums = _mm256_loadu_si256((const __m256i *)scores);
    const __m256 t = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), scale);
    return mask ? _mm256_add_ps(t, _mm256_loadu_ps(mask)) : t;
}

INLINE const float *after(const float *mask, int64_t i) { return mask ? mask + i : NULL; }

/* max_ps gives its second operand where one is NaN. */
INLINE __m256 highest_of(const int32_t *scores, const float *mask, __m256 scale, __m256 highest) {
    for (int i = 0; i < BLOCK; i += 8)
        highest = _mm256_max_ps(real(scores + i, after(mask, i), scale), highest);
    return highest;
}

INLINE __m256i steps_of(const int32_t *scores, const float *mask, __m256 scale, __m256 highest) {
    __m256 t = _mm256_sub_ps(real(scores, mask, scale), highest);
    t = _mm256_max_ps(t, _mm256_set1_ps(EXP_LOWEST));
    t = _mm256_add_ps(expm1_negative(t), _mm256_set1_ps(1));
    return _mm256_cvtps_epi32(_mm256_mul_ps(t, _mm256_set1_ps(255)));
}

INLINE __m256i block_of(const int32_t *scores, const float *mask, __m256 scale, __m256 highest) {
    const __m256i bytes = pack_bytes(steps_of(scores, mask, scale, highest),
                                     steps_of(scores + 8, after(mask, 8), scale, highest),
                                     steps_of(scores + 16, after(mask, 16), scale, highest),
                                     steps_of(scores + 24, after(mask, 24), scale, highest),
                                     _mm256_setzero_si256());
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* In four sums of 64 bits. */
INLINE __m256i sums_of(__m256i bytes) { return _mm256_sad_epu8(bytes, _mm256_setzero_si256()); }

INLINE float highest_lane(__m256 v) {
    float lanes[8], highest = -FLT_MAX;
    _mm256_storeu_ps(lanes, v);
    for (int i = 0; i < 8; i++) highest = lanes[i] > highest ? lanes[i] : highest;
    return highest;
}

/* Inlined with a mask that is known to be NULL, and with one that may not be. */
INLINE int64_t weigh(const int32_t *scores, const float *mask, uint8_t *steps, int64_t n,
                     float given_scale) {
    const int64_t whole = n / BLOCK * BLOCK, rest = n - whole;
    const __m256 scale = _mm256_set1_ps(given_scale);
    /* The last block is filled up with its first score, which changes no maximum. */
    int32_t last_scores[BLOCK];
    float last_mask[BLOCK];
    for (int64_t i = 0; rest && i < BLOCK; i++) {
        const int64_t from = whole + (i < rest ? i : 0);
        last_scores[i] = scores[from];
        if (mask) last_mask[i] = mask[from];
    }
    const float *rest_mask = mask ? last_mask : NULL;

    __m256 highest = _mm256_set1_ps(-FLT_MAX);
    for (int64_t i = 0; i < whole; i += BLOCK)
        highest = highest_of(scores + i, after(mask, i), scale, highest);
    if (rest) highest = highest_of(last_scores, rest_mask, scale, highest);
    highest = _mm256_set1_ps(highest_lane(highest));

    __m256i totals = _mm256_setzero_si256();
    for (int64_t i = 0; i < whole; i += BLOCK) {
        const __m256i bytes = block_of(scores + i, after(mask, i), scale, highest);
        store(steps + i, bytes);
        totals = _mm256_add_epi64(totals, sums_of(bytes));
    }
    if (rest) {
        uint8_t last[BLOCK];
        store(last, block_of(last_scores, rest_mask, scale, highest));
        memset(last + rest, 0, (size_t)(BLOCK - rest));
        memcpy(steps + whole, last, (size_t)rest);
        totals = _mm256_add_epi64(totals, sums_of(load(last)));
    }
    int64_t lanes[4];
    _mm256_storeu_si256((__m256i *)lanes, totals);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

int64_t attention_avx2(const int32_t *scores, const float *mask, uint8_t *steps, int64_t n,
                       float scale) {
    return mask ? weigh(scores, mask, steps, n, scale) : weigh(scores, NULL, steps, n, scale);
}
