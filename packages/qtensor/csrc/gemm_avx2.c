/* The kernels for x86 with AVX2. Compiled with -mavx2, called only where the machine has it. */
#ifdef __AVX2__
#include <float.h>
#include <immintrin.h>
#include <string.h>

#include "gemm.h"

/* GCC 12 interleaves the rows of a tile, runs out of registers and keeps accumulators in memory,
 * which halves the speed. An empty asm after each row, through which the row's accumulators pass,
 * keeps rows apart; a test looks for memory operands in the disassembly. */
#define KEEP_ROWS_APART(acc) __asm__ volatile("" : "+x"((acc)[0]), "+x"((acc)[1]))

/* 8 accumulators, 4 registers of weights, 4 for everything else. */
enum { TILE_ROWS = 4 };

static inline __m256i broadcast(const uint8_t *a) {
    int32_t bits;
    memcpy(&bits, a, sizeof bits);
    return _mm256_set1_epi32(bits);
}

static inline __m256i load(const int8_t *weights) {
    return _mm256_load_si256((const __m256i *)weights);
}

/* T = 2: the products of two steps are added in 16 bits, then widened once. */
static inline __m256i pair_sum(__m256i a0, __m256i w0, __m256i a1, __m256i w1) {
    __m256i sum = _mm256_add_epi16(_mm256_maddubs_epi16(a0, w0), _mm256_maddubs_epi16(a1, w1));
    return _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
}

static inline __m256i single_sum(__m256i a, __m256i w) {
    return _mm256_madd_epi16(_mm256_maddubs_epi16(a, w), _mm256_set1_epi16(1));
}

/* Both products before both additions: a fifth faster than in turns. */
static inline __attribute__((always_inline)) void add_both(__m256i *acc, __m256i low,
                                                           __m256i high) {
    __asm__ volatile("" : "+x"(low), "+x"(high));
    acc[0] = _mm256_add_epi32(acc[0], low);
    acc[1] = _mm256_add_epi32(acc[1], high);
    KEEP_ROWS_APART(acc);
}

static inline __attribute__((always_inline)) void tile(const uint8_t *const *rows, int count,
                                                       const panel *p, const int32_t *start,
                                                       int32_t *out) {
    __m256i acc[TILE_ROWS][2];
    const uint8_t *a[TILE_ROWS];
#pragma GCC unroll 4
    for (int r = 0; r < count; r++) {
        a[r] = rows[r];
        acc[r][0] = _mm256_loadu_si256((const __m256i *)start);
        acc[r][1] = _mm256_loadu_si256((const __m256i *)(start + 8));
    }
    const int32_t *offset = p->offsets;
    const int8_t *w = p->weights;

    for (int32_t s = p->pairs; s > 0; s--, offset += 2, w += 2 * STEP_BYTES) {
        int64_t first = offset[0], second = offset[1];
        __m256i w0 = load(w), w1 = load(w + 32), w2 = load(w + 64), w3 = load(w + 96);
#pragma GCC unroll 4
        for (int r = 0; r < count; r++) {
            __m256i a0 = broadcast(a[r] + first), a1 = broadcast(a[r] + second);
            acc[r][0] = _mm256_add_epi32(acc[r][0], pair_sum(a0, w0, a1, w2));
            acc[r][1] = _mm256_add_epi32(acc[r][1], pair_sum(a0, w1, a1, w3));
            KEEP_ROWS_APART(acc[r]);
        }
    }
    for (int32_t s = p->single[0]; s > 0; s--, offset++, w += STEP_BYTES) {
        int64_t first = offset[0];
        __m256i w0 = load(w), w1 = load(w + 32);
#pragma GCC unroll 4
        for (int r = 0; r < count; r++) {
            __m256i a0 = broadcast(a[r] + first);
            acc[r][0] = _mm256_add_epi32(acc[r][0], single_sum(a0, w0));
            acc[r][1] = _mm256_add_epi32(acc[r][1], single_sum(a0, w1));
            KEEP_ROWS_APART(acc[r]);
        }
    }
    for (int order = 1; order < ORDERS; order++) {
        __m256i shuffle = broadcast(step_orders[order]); /* the activations are all alike */
        for (int32_t s = p->single[order]; s > 0; s--, offset++, w += STEP_BYTES) {
            int64_t first = offset[0];
            __m256i w0 = load(w), w1 = load(w + 32);
#pragma GCC unroll 4
            for (int r = 0; r < count; r++) {
                __m256i a0 = _mm256_shuffle_epi8(broadcast(a[r] + first), shuffle);
                acc[r][0] = _mm256_add_epi32(acc[r][0], single_sum(a0, w0));
                acc[r][1] = _mm256_add_epi32(acc[r][1], single_sum(a0, w1));
                KEEP_ROWS_APART(acc[r]);
            }
        }
    }
    for (int32_t s = p->wide; s > 0; s--, offset++, w += WIDE_BYTES) {
        int64_t first = offset[0];
        __m256i w0 = load(w), w1 = load(w + 32), w2 = load(w + 64), w3 = load(w + 96);
#pragma GCC unroll 4
        for (int r = 0; r < count; r++) {
            __m256i a0 = broadcast(a[r] + first);
            __m256i even = _mm256_and_si256(a0, _mm256_set1_epi16(0xff));
            __m256i odd = _mm256_srli_epi16(a0, 8);
            add_both(acc[r], _mm256_madd_epi16(even, w0), _mm256_madd_epi16(even, w2));
            add_both(acc[r], _mm256_madd_epi16(odd, w1), _mm256_madd_epi16(odd, w3));
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < count; r++) {
        _mm256_storeu_si256((__m256i *)(out + r * CHANNELS), acc[r][0]);
        _mm256_storeu_si256((__m256i *)(out + r * CHANNELS + 8), acc[r][1]);
    }
}

static void dense(const uint8_t *const *rows, int count, const panel *p, const int32_t *start,
                  int32_t *acc) {
    for (; count >= TILE_ROWS; count -= TILE_ROWS, rows += TILE_ROWS, acc += TILE_ROWS * CHANNELS)
        tile(rows, TILE_ROWS, p, start, acc);
    if (count == 1) tile(rows, 1, p, start, acc);
    if (count == 2) tile(rows, 2, p, start, acc);
    if (count == 3) tile(rows, 3, p, start, acc);
}

static void rank_one(int32_t *acc, int rows, const int32_t *row, const int32_t *channel) {
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < CHANNELS; c += 8) {
            __m256i *sums = (__m256i *)(acc + r * CHANNELS + c);
            __m256i factor = _mm256_loadu_si256((const __m256i *)(channel + c));
            __m256i product = _mm256_mullo_epi32(_mm256_set1_epi32(row[r]), factor);
            _mm256_storeu_si256(sums, _mm256_add_epi32(_mm256_loadu_si256(sums), product));
        }
    }
}

static uint8_t or_bytes(const uint8_t *bytes, int64_t count) {
    __m256i all = _mm256_setzero_si256(), more = all;
    int64_t i = 0;
    for (; i + 64 <= count; i += 64) {
        all = _mm256_or_si256(all, _mm256_loadu_si256((const __m256i *)(bytes + i)));
        more = _mm256_or_si256(more, _mm256_loadu_si256((const __m256i *)(bytes + i + 32)));
    }
    uint8_t lanes[32], result = 0;
    _mm256_storeu_si256((__m256i *)lanes, _mm256_or_si256(all, more));
    for (int j = 0; j < 32; j++) result |= lanes[j];
    for (; i < count; i++) result |= bytes[i];
    return result;
}

/* min_ps and max_ps give their second operand where one is NaN, so NaN does not get in. */
static bool range(const float *values, int64_t count, float *lowest, float *highest) {
    __m256 low = _mm256_setzero_ps(), high = low, magnitude = low;
    const __m256 sign = _mm256_set1_ps(-0.0f);
    int64_t i = 0;
    bool finite = true;
    for (; i + 8 <= count; i += 8) {
        __m256 v = _mm256_loadu_ps(values + i);
        low = _mm256_min_ps(v, low);
        high = _mm256_max_ps(v, high);
        /* As integers, the bits of NaN and infinity are above those of all finite magnitudes. */
        __m256i bits = _mm256_castps_si256(_mm256_andnot_ps(sign, v));
        magnitude = _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(magnitude), bits));
    }
    float lows[8], highs[8];
    _mm256_storeu_ps(lows, low);
    _mm256_storeu_ps(highs, high);
    __m256i unbounded = _mm256_cmpgt_epi32(_mm256_castps_si256(magnitude),
                                           _mm256_castps_si256(_mm256_set1_ps(FLT_MAX)));
    finite = _mm256_testz_si256(unbounded, unbounded);
    float l = 0, h = 0;
    for (int j = 0; j < 8; j++) {
        l = lows[j] < l ? lows[j] : l;
        h = highs[j] > h ? highs[j] : h;
    }
    for (; i < count; i++) {
        l = values[i] < l ? values[i] : l;
        h = values[i] > h ? values[i] : h;
        finite &= values[i] >= -FLT_MAX && values[i] <= FLT_MAX;
    }
    *lowest = l;
    *highest = h;
    return finite;
}

const kernels avx2_kernels = {
    .name = "avx2",
    .dense = dense,
    .depthwise = depthwise_avx2,
    .rank_one = rank_one,
    .requantize = requantize_avx2,
    .dequantize = dequantize_avx2,
    .finish_floats = finish_floats_avx2,
    .float_rows = float_rows_avx2,
    .or_bytes = or_bytes,
    .range = range,
    .elementwise = &elementwise_avx2,
};
#else
typedef int no_avx2; /* a translation unit must not be empty */
#endif
