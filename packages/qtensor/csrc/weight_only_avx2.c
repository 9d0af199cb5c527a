/* weight_only_scalar.c in AVX2. Compiled with -mavx2, called only where the machine has it.
 *
 * Each lane is one channel, so sums are taken in the same order as there. */
#ifdef __AVX2__
#include <immintrin.h>

#include "gemm.h"

/* 8 accumulators, 2 registers of weights. */
enum { TILE_ROWS = 4 };

static inline __m256 widened(const int8_t *weights, __m256i zero_points) {
    __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)weights));
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(wide, zero_points));
}

static inline __attribute__((always_inline)) void tile(const float *rows, int count, int64_t k,
                                                       const int8_t *weights,
                                                       const int32_t *zero_points, float *sums) {
    __m256 acc[TILE_ROWS][2];
    __m256i low = _mm256_loadu_si256((const __m256i *)zero_points);
    __m256i high = _mm256_loadu_si256((const __m256i *)(zero_points + 8));
#pragma GCC unroll 4
    for (int r = 0; r < count; r++) acc[r][0] = acc[r][1] = _mm256_setzero_ps();
    for (int64_t i = 0; i < k; i++, weights += CHANNELS) {
        __m256 w0 = widened(weights, low), w1 = widened(weights + 8, high);
#pragma GCC unroll 4
        for (int r = 0; r < count; r++) {
            __m256 x = _mm256_broadcast_ss(rows + r * k + i);
            acc[r][0] = _mm256_add_ps(acc[r][0], _mm256_mul_ps(x, w0));
            acc[r][1] = _mm256_add_ps(acc[r][1], _mm256_mul_ps(x, w1));
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < count; r++) {
        _mm256_storeu_ps(sums + r * CHANNELS, acc[r][0]);
        _mm256_storeu_ps(sums + r * CHANNELS + 8, acc[r][1]);
    }
}

void float_rows_avx2(const float *rows, int count, int64_t k, const int8_t *weights,
                     const int32_t *zero_points, float *sums) {
    for (; count >= TILE_ROWS; count -= TILE_ROWS, rows += TILE_ROWS * k,
                               sums += TILE_ROWS * CHANNELS)
        tile(rows, TILE_ROWS, k, weights, zero_points, sums);
    if (count == 1) tile(rows, 1, k, weights, zero_points, sums);
    if (count == 2) tile(rows, 2, k, weights, zero_points, sums);
    if (count == 3) tile(rows, 3, k, weights, zero_points, sums);
}
#else
typedef int no_avx2; /* a translation unit must not be empty */
#endif
