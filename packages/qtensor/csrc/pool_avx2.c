/* The pooling kernels for AVX2, with what makes each equal to its scalar twin. */
#include "bytes_avx2.h"
#include "pool_scalar.h"

/* Pooling runs over blocks of channels. The last block ends with the last channel and may overlap
 * the one before: computing some outputs twice is simpler than a tail, and faster. */

INLINE void max_block(const pool_row *row, pool_span span, int64_t start, uint8_t *out,
                      const uint8_t flip, const int vectors) {
    const uint8_t *first = row->input + span.first * row->channels + start;
    __m256i best[2];
    for (int k = 0; k < vectors; k++) {
        best[k] = _mm256_setzero_si256();
    }
    for (int64_t r = 0; r < row->rows; r++) {
        const uint8_t *tap = first + r * row->row_stride;
        for (int64_t t = 0; t < span.taps; t++, tap += row->tap_stride) {
            for (int k = 0; k < vectors; k++) {
                best[k] = _mm256_max_epu8(best[k], flipped(load(tap + 32 * k), flip));
            }
        }
    }
    for (int k = 0; k < vectors; k++) {
        store(out + start + 32 * k, flipped(best[k], flip));
    }
}

INLINE void pool_max_flipped(const pool_row *row, uint8_t *out, const uint8_t flip) {
    const int64_t channels = row->channels;
    for (int64_t i = 0; i < row->pixels; i++, out += channels) {
        int64_t start = 0;
        for (; start + 64 <= channels; start += 64) {
            max_block(row, row->columns[i], start, out, flip, 2);
        }
        for (; start < channels; start += 32) {
            const int64_t last = channels - 32;
            max_block(row, row->columns[i], start < last ? start : last, out, flip, 1);
        }
    }
}

static void pool_max(const pool_row *row, uint8_t *out, uint8_t flip) {
    if (row->channels < 32) {
        pool_scalar.max(row, out, flip);
    } else if (flip) {
        pool_max_flipped(row, out, 0x80);
    } else {
        pool_max_flipped(row, out, 0);
    }
}

typedef struct {
    __m256i v[4]; /* 32 channels in the order of two unpacks */
} sums32;

static inline void widen_into(sums32 *sums, __m256i low, __m256i high) {
    const __m256i zero = _mm256_setzero_si256();
    sums->v[0] = _mm256_add_epi32(sums->v[0], _mm256_unpacklo_epi16(low, zero));
    sums->v[1] = _mm256_add_epi32(sums->v[1], _mm256_unpackhi_epi16(low, zero));
    sums->v[2] = _mm256_add_epi32(sums->v[2], _mm256_unpacklo_epi16(high, zero));
    sums->v[3] = _mm256_add_epi32(sums->v[3], _mm256_unpackhi_epi16(high, zero));
}

INLINE sums32 sum_block(const pool_row *row, pool_span span, int64_t start,
                        const uint8_t flip) {
    const __m256i zero = _mm256_setzero_si256();
    const uint8_t *first = row->input + span.first * row->channels + start;
    sums32 sums = {{zero, zero, zero, zero}};
    __m256i low = zero, high = zero; /* sums of at most 256 bytes: they fit 16 bits */
    int pending = 0;
    for (int64_t r = 0; r < row->rows; r++) {
        const uint8_t *tap = first + r * row->row_stride;
        for (int64_t t = 0; t < span.taps; t++, tap += row->tap_stride) {
            const __m256i bytes = flipped(load(tap), flip);
            low = _mm256_add_epi16(low, _mm256_unpacklo_epi8(bytes, zero));
            high = _mm256_add_epi16(high, _mm256_unpackhi_epi8(bytes, zero));
            if (++pending == 256) {
                widen_into(&sums, low, high);
                low = high = zero;
                pending = 0;
            }
        }
    }
    widen_into(&sums, low, high);
    return sums;
}

/* Float32 quotients round as the exact ones do while the sum is below 2^24 and the divisor d at
 * most 2^13. Only magnitudes below 256 matter, for which an error is at most 2^-16, or 2^-15 when
 * multiplying by the reciprocal; a quotient that is no tie is at least 1 / 2d from one. */
static const int64_t FLOAT_LIMIT = 1 << 13;

/* A tie must come out exactly. Odd divisors have none, powers of two an exact reciprocal; others
 * need the division, which is the slowest instruction here. */
static int reciprocal_is_exact(int64_t divisor) {
    return (divisor & 1) || (divisor & (divisor - 1)) == 0;
}

INLINE __m256i mean_small(sums32 sums, int32_t bias, int64_t divisor, int32_t zero_point) {
    const __m256 divisors = _mm256_set1_ps((float)divisor);
    const __m256 reciprocals = _mm256_set1_ps(1.0f / (float)divisor);
    const int multiply = reciprocal_is_exact(divisor);
    __m256i means[4];
    for (int k = 0; k < 4; k++) {
        const __m256 sum =
            _mm256_cvtepi32_ps(_mm256_sub_epi32(sums.v[k], _mm256_set1_epi32(bias)));
        means[k] = _mm256_cvtps_epi32(multiply ? _mm256_mul_ps(sum, reciprocals)
                                               : _mm256_div_ps(sum, divisors));
    }
    return pack_bytes(means[0], means[1], means[2], means[3],
                      _mm256_set1_epi16((int16_t)zero_point));
}

static __m256i mean_large(sums32 sums, int64_t bias, int64_t divisor, int32_t zero_point) {
    _Alignas(32) uint32_t values[32];
    _Alignas(32) uint8_t means[32];
    for (int k = 0; k < 4; k++) {
        /* from the order of the unpacks to that of the channels */
        const int channel = (k & 1) * 4 + (k >> 1) * 8;
        _mm_store_si128((__m128i *)(values + channel), _mm256_castsi256_si128(sums.v[k]));
        _mm_store_si128((__m128i *)(values + channel + 16), _mm256_extracti128_si256(sums.v[k], 1));
    }
    for (int i = 0; i < 32; i++) {
        means[i] = rounded_mean((int64_t)values[i] - bias, divisor, zero_point);
    }
    return load(means);
}

INLINE void pool_mean_flipped(const pool_row *row, uint8_t *out, int32_t zero_point,
                              const uint8_t flip) {
    const int64_t channels = row->channels, last = channels - 32;
    for (int64_t i = 0; i < row->pixels; i++, out += channels) {
        const pool_span span = row->columns[i];
        const int64_t count = row->rows * span.taps, divisor = divisor_of(row, i);
        const int small = count <= FLOAT_LIMIT && divisor <= FLOAT_LIMIT && divisor > 0;
        for (int64_t start = 0; start < channels; start += 32) {
            const int64_t block = start < last ? start : last;
            const sums32 sums = sum_block(row, span, block, flip);
            const __m256i mean =
                small ? mean_small(sums, (int32_t)(count * zero_point), divisor, zero_point)
                      : mean_large(sums, count * zero_point, divisor, zero_point);
            store(out + block, flipped(mean, flip));
        }
    }
}

/* A window of more positions might overflow 32-bit sums. */
static int has_large_window(const pool_row *row) {
    for (int64_t i = 0; i < row->pixels; i++) {
        if (row->rows * row->columns[i].taps >= 1 << 24) {
            return 1;
        }
    }
    return 0;
}

static void pool_mean(const pool_row *row, uint8_t *out, int32_t zero_point, uint8_t flip) {
    if (row->channels < 32 || has_large_window(row)) {
        pool_scalar.mean(row, out, zero_point, flip);
    } else if (flip) {
        pool_mean_flipped(row, out, zero_point, 0x80);
    } else {
        pool_mean_flipped(row, out, zero_point, 0);
    }
}

const pool_kernels pool_avx2 = {
    .max = pool_max,
    .mean = pool_mean,
};
