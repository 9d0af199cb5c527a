/* The kernels of statistics.h for AVX2. */
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "statistics.h"

/* Values are looked at in blocks, small enough for the cache. In one that holds only finite values,
 * which is nearly every one, neither comparisons nor counts depend on it; another is left to the
 * scalar kernel. */
enum { BLOCK = 2048 };

#define INLINE static inline __attribute__((always_inline))

/* The largest and smallest value seen in each lane, and the largest bit pattern of a magnitude. */
typedef struct {
    __m256 lowest, highest;
    __m256i magnitude;
} lanes;

INLINE lanes empty_lanes(void) {
    return (lanes){_mm256_set1_ps(INFINITY), _mm256_set1_ps(-INFINITY), _mm256_setzero_si256()};
}

INLINE lanes take(lanes seen, __m256 v) {
    const __m256i magnitude = _mm256_and_si256(_mm256_castps_si256(v),
                                               _mm256_set1_epi32(0x7FFFFFFF));
    seen.lowest = _mm256_min_ps(seen.lowest, v);
    seen.highest = _mm256_max_ps(seen.highest, v);
    seen.magnitude = _mm256_max_epi32(seen.magnitude, magnitude);
    return seen;
}

INLINE lanes joined(lanes a, lanes b) {
    return (lanes){_mm256_min_ps(a.lowest, b.lowest), _mm256_max_ps(a.highest, b.highest),
                   _mm256_max_epi32(a.magnitude, b.magnitude)};
}

/* The exponent of NaN and infinity is all ones, and that of nothing else. */
INLINE int has_nonfinite(lanes seen) {
    const __m256i largest_finite = _mm256_set1_epi32(0x7F7FFFFF);
    return _mm256_movemask_epi8(_mm256_cmpgt_epi32(seen.magnitude, largest_finite));
}

/* Takes what the lanes have seen of n values into a range. */
INLINE void take_lanes(lanes seen, const float *x, int64_t n, value_range *range) {
    if (has_nonfinite(seen)) {
        statistics_scalar.range(x, n, range);
        return;
    }
    _Alignas(32) float bounds[16];
    _mm256_store_ps(bounds, seen.lowest);
    _mm256_store_ps(bounds + 8, seen.highest);
    for (int k = 0; k < 8; k++) {
        range->lowest = bounds[k] < range->lowest ? bounds[k] : range->lowest;
        range->highest = bounds[8 + k] > range->highest ? bounds[8 + k] : range->highest;
    }
}

INLINE void range_of_block(const float *x, int64_t n, value_range *range) {
    lanes seen[4] = {empty_lanes(), empty_lanes(), empty_lanes(), empty_lanes()};
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (int k = 0; k < 4; k++) {
            seen[k] = take(seen[k], _mm256_loadu_ps(x + i + 8 * k));
        }
    }
    for (; i + 8 <= n; i += 8) {
        seen[0] = take(seen[0], _mm256_loadu_ps(x + i));
    }
    take_lanes(joined(joined(seen[0], seen[1]), joined(seen[2], seen[3])), x, i, range);
    statistics_scalar.range(x + i, n - i, range);
}

static void range(const float *x, int64_t n, value_range *range) {
    for (int64_t i = 0; i < n; i += BLOCK) {
        range_of_block(x + i, n - i < BLOCK ? n - i : BLOCK, range);
    }
}

enum { ROWS = 16, COLUMNS = 16 }; /* of a block, whose ranges stay in registers */

INLINE channel_ranges from_column(const channel_ranges *ranges, int64_t column) {
    return (channel_ranges){ranges->lowest + column, ranges->highest + column,
                            ranges->nonfinite + column};
}

INLINE void columns_of_block(const float *x, int64_t rows, int64_t stride,
                             const channel_ranges *ranges) {
    lanes seen[2];
    for (int k = 0; k < 2; k++) {
        seen[k] = (lanes){_mm256_loadu_ps(ranges->lowest + 8 * k),
                          _mm256_loadu_ps(ranges->highest + 8 * k), _mm256_setzero_si256()};
    }
    for (int64_t r = 0; r < rows; r++) {
        for (int k = 0; k < 2; k++) {
            seen[k] = take(seen[k], _mm256_loadu_ps(x + r * stride + 8 * k));
        }
    }
    if (has_nonfinite(seen[0]) || has_nonfinite(seen[1])) {
        statistics_scalar.column_ranges(x, rows, stride, COLUMNS, ranges);
        return;
    }
    for (int k = 0; k < 2; k++) {
        _mm256_storeu_ps(ranges->lowest + 8 * k, seen[k].lowest);
        _mm256_storeu_ps(ranges->highest + 8 * k, seen[k].highest);
    }
}

static void column_ranges(const float *x, int64_t rows, int64_t stride, int64_t columns,
                          const channel_ranges *ranges) {
    for (int64_t r = 0; r < rows; r += ROWS) {
        const int64_t height = rows - r < ROWS ? rows - r : ROWS;
        const float *row = x + r * stride;
        int64_t c = 0;
        for (; c + COLUMNS <= columns; c += COLUMNS) {
            const channel_ranges here = from_column(ranges, c);
            columns_of_block(row + c, height, stride, &here);
        }
        const channel_ranges rest = from_column(ranges, c);
        statistics_scalar.column_ranges(row + c, height, stride, columns - c, &rest);
    }
}

enum { INDICES = 256 };

/* One beside the bins at either end, 0 in front of them: where what lies in none is counted. */
typedef struct {
    __m256 inverse_width;
    __m256i before, after;
} index_rule;

/* max(floor(v * inverse_width), before) ... after, less before. NaN, infinity and what 32 bits do
 * not hold become the smallest integer. With bins wider than 1 a product may be too small for
 * float32: a negative one then is -0, and its floor must be -1 all the same. */
INLINE __m256i index8(__m256 v, const index_rule *rule, const int wide) {
    const __m256 zero = _mm256_setzero_ps(), product = _mm256_mul_ps(v, rule->inverse_width);
    __m256i floors = _mm256_cvtps_epi32(_mm256_floor_ps(product));
    if (wide) {
        const __m256 lost = _mm256_and_ps(_mm256_cmp_ps(v, zero, _CMP_LT_OQ),
                                          _mm256_cmp_ps(product, zero, _CMP_EQ_OQ));
        floors = _mm256_add_epi32(floors, _mm256_castps_si256(lost));
    }
    floors = _mm256_min_epi32(_mm256_max_epi32(floors, rule->before), rule->after);
    return _mm256_sub_epi32(floors, rule->before);
}

/* The next block is on its way from memory while this one is counted. */
INLINE void fetch_block_after(const float *x) {
    _mm_prefetch((const char *)(x + BLOCK), _MM_HINT_T0);
}

/* n is a multiple of 8. */
INLINE void count_block(const float *x, int64_t n, const index_rule *rule, uint32_t *counters,
                        value_range *range, const int wide) {
    lanes seen = empty_lanes();
    for (int64_t i = 0; i < n;) {
        _Alignas(32) uint32_t at[INDICES];
        const int64_t filled = n - i < INDICES ? n - i : INDICES;
        for (int64_t k = 0; k < filled; k += 8) {
            const __m256 v = _mm256_loadu_ps(x + i + k);
            fetch_block_after(x + i + k);
            seen = take(seen, v);
            const __m256i counter = _mm256_slli_epi32(index8(v, rule, wide), 2); /* COUNTERS */
            _mm256_store_si256((__m256i *)(at + k), counter);
        }
        for (int64_t k = 0; k < filled; k += 4) {
            uint64_t pairs[2]; /* half as many loads, which compete with those of the counters */
            memcpy(pairs, at + k, sizeof pairs);
            counters[(uint32_t)pairs[0]]++;
            counters[(pairs[0] >> 32) + 1]++;
            counters[(uint32_t)pairs[1] + (uint64_t)2]++;
            counters[(pairs[1] >> 32) + 3]++;
        }
        i += filled;
    }
    take_lanes(seen, x, n, range);
}

static void count(const float *x, int64_t n, const dyadic_bins *bins, uint32_t *counters,
                  value_range *range) {
    if (bins->exponent < -126) { /* the inverse width would be infinite */
        statistics_scalar.count(x, n, bins, counters, range);
        return;
    }
    const index_rule rule = {
        _mm256_set1_ps((float)ldexp(1.0, -bins->exponent)),
        _mm256_set1_epi32(bins->first - 1),
        _mm256_set1_epi32(bins->first + (int32_t)bins->size),
    };
    const int64_t whole = n - n % 8;
    for (int64_t i = 0; i < whole; i += BLOCK) {
        const int64_t size = whole - i < BLOCK ? whole - i : BLOCK;
        if (bins->exponent > 0) {
            count_block(x + i, size, &rule, counters, range, 1);
        } else {
            count_block(x + i, size, &rule, counters, range, 0);
        }
    }
    statistics_scalar.count(x + whole, n - whole, bins, counters, range);
}

const statistics_kernels statistics_avx2 = {
    .range = range,
    .column_ranges = column_ranges,
    .count = count,
};
