/* The kernels for x86 with AVX2. Compiled with -mavx2, called only where the machine has it. */
#ifdef __AVX2__
#include <float.h>
#include <immintrin.h>
#include <string.h>

#include "one_row.h"

/* GCC 12 interleaves the rows of a tile, runs out of registers and keeps accumulators in memory,
 * which halves the speed. An empty asm after each row, through which the row's accumulators pass,
 * keeps rows apart; a test looks for memory operands in the disassembly. */
#define KEEP_APART(sums) __asm__ volatile("" : "+x"((sums)[0]), "+x"((sums)[1]))

#define ALWAYS_INLINE inline __attribute__((always_inline))

enum { TILE_ROWS = 4 };

static inline __m256i broadcast(const uint8_t *a) {
    int32_t bits;
    memcpy(&bits, a, sizeof bits);
    return _mm256_set1_epi32(bits);
}

static inline __m256i load(const void *weights) {
    return _mm256_load_si256((const __m256i *)weights);
}

static inline __m256i load_sums(const int32_t *sums) {
    return _mm256_loadu_si256((const __m256i *)sums);
}

/* What comes into a bundle beside its products. */
enum extra { NOTHING, CENTRE, COMPLEMENT };

/* Adds the products of one row and a bundle of `steps` steps: added up in 16 bits, with the centre
 * if the bundle has one, then widened once. */
static ALWAYS_INLINE void add_bundle(__m256i *acc, const uint8_t *row, const int32_t *offset,
                                     const int8_t *w, int steps, enum extra extra,
                                     __m256i mask, const int16_t *centre) {
    __m256i a = _mm256_xor_si256(broadcast(row + offset[0]), mask);
    __m256i sum[2] = {_mm256_maddubs_epi16(a, load(w)), _mm256_maddubs_epi16(a, load(w + 32))};
    if (extra == CENTRE) {
        sum[0] = _mm256_add_epi16(sum[0], load(centre));
        sum[1] = _mm256_add_epi16(sum[1], load(centre + CHANNELS));
    }
#pragma GCC unroll 4
    for (int i = 1; i < steps; i++) {
        a = broadcast(row + offset[i]);
        w += STEP_BYTES;
        sum[0] = _mm256_add_epi16(sum[0], _mm256_maddubs_epi16(a, load(w)));
        sum[1] = _mm256_add_epi16(sum[1], _mm256_maddubs_epi16(a, load(w + 32)));
        KEEP_APART(sum);
    }
    const __m256i ones = _mm256_set1_epi16(1);
    acc[0] = _mm256_add_epi32(acc[0], _mm256_madd_epi16(sum[0], ones));
    acc[1] = _mm256_add_epi32(acc[1], _mm256_madd_epi16(sum[1], ones));
    KEEP_APART(acc);
}

/* Products that need 32 bits: weights, and here activations, are widened first. */
static ALWAYS_INLINE void add_wide(__m256i *acc, const uint8_t *row, const int8_t *w) {
    __m256i a = broadcast(row);
    __m256i even = _mm256_and_si256(a, _mm256_set1_epi16(0xff)), odd = _mm256_srli_epi16(a, 8);
    for (int i = 0; i < 2; i++, w += 32) {
        __m256i half = i ? odd : even;
        /* Both products before both additions: a fifth faster than in turns. */
        __m256i products[2] = {_mm256_madd_epi16(half, load(w)),
                               _mm256_madd_epi16(half, load(w + 64))};
        KEEP_APART(products);
        acc[0] = _mm256_add_epi32(acc[0], products[0]);
        acc[1] = _mm256_add_epi32(acc[1], products[1]);
        KEEP_APART(acc);
    }
}

/* Where a tile is in its panel. */
typedef struct {
    const int32_t *offset;
    const int8_t *weights;
    const int16_t *centre;
    const uint8_t *complement;
} cursor;

static ALWAYS_INLINE void add_bundles(__m256i (*acc)[2], const uint8_t *const *rows, int count,
                                      cursor *at, int32_t bundles, int steps, enum extra extra) {
    for (; bundles > 0; bundles--) {
        __m256i mask = extra == COMPLEMENT ? broadcast(at->complement) : _mm256_setzero_si256();
#pragma GCC unroll 4
        for (int r = 0; r < count; r++)
            add_bundle(acc[r], rows[r], at->offset, at->weights, steps, extra, mask,
                       at->centre);
        at->offset += steps;
        at->weights += steps * STEP_BYTES;
        if (extra == CENTRE) at->centre += 2 * CHANNELS;
        if (extra == COMPLEMENT) at->complement += STEP;
    }
}

static ALWAYS_INLINE void tile(const uint8_t *const *rows, int count, const panel *p,
                               const __m256i *start, int32_t *out) {
    __m256i acc[TILE_ROWS][2];
    const uint8_t *a[TILE_ROWS];
    for (int half = 0; half < 2; half++) {
        __m256i from = start[half];
        if (count > 1) from = _mm256_sub_epi32(from, load_sums(p->centred + 8 * half));
#pragma GCC unroll 4
        for (int r = 0; r < count; r++) acc[r][half] = from;
    }
#pragma GCC unroll 4
    for (int r = 0; r < count; r++) a[r] = rows[r];

    cursor at = {p->offsets, p->weights, p->centres, p->complements};
    add_bundles(acc, a, count, &at, p->quads, 4, NOTHING);
    add_bundles(acc, a, count, &at, p->pairs, 2, NOTHING);
    if (count > 1) add_bundles(acc, a, count, &at, p->centred_pairs, 2, CENTRE);
    /* One row waits for its weights to be read: centres would be more to read. */
    if (count == 1) add_bundles(acc, a, count, &at, 2 * p->centred_pairs, 1, NOTHING);
    add_bundles(acc, a, count, &at, p->single, 1, COMPLEMENT);
    for (int32_t s = p->wide; s > 0; s--, at.offset++, at.weights += WIDE_BYTES) {
#pragma GCC unroll 4
        for (int r = 0; r < count; r++) add_wide(acc[r], a[r] + at.offset[0], at.weights);
    }
#pragma GCC unroll 4
    for (int r = 0; r < count; r++) {
        _mm256_storeu_si256((__m256i *)(out + r * CHANNELS), acc[r][0]);
        _mm256_storeu_si256((__m256i *)(out + r * CHANNELS + 8), acc[r][1]);
    }
}

static void dense_avx2(const uint8_t *const *rows, int count, const panel *p, int32_t zero_point,
                       int32_t *acc) {
    __m256i start[2];
    for (int half = 0; half < 2; half++) {
        __m256i sums = load_sums(p->sums + 8 * half);
        __m256i less = _mm256_mullo_epi32(_mm256_set1_epi32(zero_point), sums);
        start[half] = _mm256_sub_epi32(load_sums(p->complemented + 8 * half), less);
    }
    for (; count >= TILE_ROWS; count -= TILE_ROWS, rows += TILE_ROWS, acc += TILE_ROWS * CHANNELS)
        tile(rows, TILE_ROWS, p, start, acc);
    if (count == 1) tile(rows, 1, p, start, acc);
    if (count == 2) tile(rows, 2, p, start, acc);
    if (count == 3) tile(rows, 3, p, start, acc);
}

static void subtract_products(int32_t *acc, int rows, const int32_t *row,
                              const int32_t *channel) {
    for (int r = 0; r < rows; r++) {
        for (int c = 0; c < CHANNELS; c += 8) {
            __m256i *sums = (__m256i *)(acc + r * CHANNELS + c);
            __m256i product =
                _mm256_mullo_epi32(_mm256_set1_epi32(row[r]), load_sums(channel + c));
            _mm256_storeu_si256(sums, _mm256_sub_epi32(_mm256_loadu_si256(sums), product));
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

static void copy_in_orders(uint8_t *row, int64_t bytes) {
    const __m256i step = _mm256_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c, 0, 0x04040404,
                                           0x08080808, 0x0c0c0c0c);
    for (int o = 1; o < ORDERS; o++) {
        const __m256i order = _mm256_add_epi8(broadcast(step_orders[o]), step);
        uint8_t *out = row + o * bytes;
        int64_t i = 0;
        for (; i + 32 <= bytes; i += 32) {
            __m256i steps = _mm256_loadu_si256((const __m256i *)(row + i));
            _mm256_storeu_si256((__m256i *)(out + i), _mm256_shuffle_epi8(steps, order));
        }
        for (; i < bytes; i += STEP) {
            __m256i one = _mm256_shuffle_epi8(broadcast(row + i), order);
            int32_t bits = _mm256_cvtsi256_si32(one);
            memcpy(out + i, &bits, sizeof bits);
        }
    }
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
    .dense = dense_avx2,
    .one_row = one_row_avx2,
    .depthwise = &depthwise_avx2,
    .subtract_products = subtract_products,
    .requantize = requantize_avx2,
    .dequantize = dequantize_avx2,
    .finish_floats = finish_floats_avx2,
    .float_rows = float_rows_avx2,
    .or_bytes = or_bytes,
    .copy_in_orders = copy_in_orders,
    .range = range,
    .elementwise = &elementwise_avx2,
};
#else
typedef int no_avx2; /* a translation unit must not be empty */
#endif
