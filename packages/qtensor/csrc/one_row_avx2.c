/* one_row_scalar.c in AVX2. Compiled with -mavx2, called only where the machine has it.
 *
 * vpmaddubsw adds two products in 16 bits, and saturates. Nothing has to be proven of the weights
 * here, since the activations leave room for any:
 *
 *     up to 127:      2 * 127 * 128 = 32 512 in one step, which is widened by itself;
 *     4 bits of them: 8 * 2 * 15 * 128 = 30 720 in a whole group, which is widened once.
 */
#ifdef __AVX2__
#include <immintrin.h>
#include <string.h>

#include "one_row.h"

enum { VECTORS = ROW_STEP_BYTES / 32 };

/* Keeps the compiler from mixing what comes before with what comes after. */
#define KEEP_APART(sum) __asm__ volatile("" : "+x"(sum))

#define ALWAYS_INLINE inline __attribute__((always_inline))

static inline __m256i broadcast(const uint8_t *step) {
    int32_t bits;
    memcpy(&bits, step, sizeof bits);
    return _mm256_set1_epi32(bits);
}

static inline __m256i products(__m256i activations, const int8_t *weights) {
    return _mm256_maddubs_epi16(activations, _mm256_load_si256((const __m256i *)weights));
}

/* acc += sums * factor, in 32 bits. */
static inline __m256i widen(__m256i acc, __m256i sums, int16_t factor) {
    return _mm256_add_epi32(acc, _mm256_madd_epi16(sums, _mm256_set1_epi16(factor)));
}

static ALWAYS_INLINE void add_step(__m256i *acc, const uint8_t *row, const int8_t *weights) {
    __m256i a = broadcast(row);
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) acc[v] = widen(acc[v], products(a, weights + 32 * v), 1);
}

static ALWAYS_INLINE void add_group(__m256i *acc, const uint8_t *halves, const int8_t *weights) {
    /* The weights that pass have pushed the row out of the L1 cache since the last panel. */
    _mm_prefetch((const char *)halves + 2 * GROUP_BYTES, _MM_HINT_T0);
    __m256i sums[2][VECTORS];
#pragma GCC unroll 8
    for (int step = 0; step < GROUP_STEPS; step++, weights += ROW_STEP_BYTES) {
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            __m256i a = broadcast(halves + half * GROUP_BYTES + step * STEP);
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; v++) {
                __m256i more = products(a, weights + 32 * v);
                sums[half][v] = step ? _mm256_add_epi16(sums[half][v], more) : more;
                KEEP_APART(sums[half][v]);
            }
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++)
        acc[v] = widen(widen(acc[v], sums[0][v], 16), sums[1][v], 1);
}

void one_row_avx2(const struct one_row *row, const int8_t *weights, const int32_t *weight_sums,
                  int32_t *sums) {
    const int64_t bytes = row->groups * GROUP_BYTES;
    const __m256i less = _mm256_set1_epi32(-row->zero_point);
    __m256i acc[VECTORS];
    for (int v = 0; v < VECTORS; v++)
        acc[v] = _mm256_mullo_epi32(less, _mm256_loadu_si256((const __m256i *)weight_sums + v));
    if (row->halves) {
        for (int64_t i = 0; i < bytes; i += GROUP_BYTES)
            add_group(acc, row->halves + 2 * i, weights + i * ROW_CHANNELS);
    } else {
        for (int64_t i = 0; i < bytes; i += STEP)
            add_step(acc, row->bytes + i, weights + i * ROW_CHANNELS);
    }
    for (int v = 0; v < VECTORS; v++) _mm256_storeu_si256((__m256i *)sums + v, acc[v]);
}
#else
typedef int no_avx2; /* a translation unit must not be empty */
#endif
