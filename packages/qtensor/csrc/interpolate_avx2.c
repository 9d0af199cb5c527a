/* The interpolating kernels for AVX2: eight channels at a time, of which the last may overlap those
 * before. */
#include <string.h>

#include "bytes_avx2.h"
#include "interpolate.h"

static inline __m256 between(__m256 low, __m256 high, __m256 weight) {
    const __m256 rest = _mm256_sub_ps(_mm256_set1_ps(1.0f), weight);
    return _mm256_add_ps(_mm256_mul_ps(rest, low), _mm256_mul_ps(weight, high));
}

/* Eight channels from `at` on, with their zero point subtracted. */
INLINE __m256 centered8(const uint8_t *at, __m256 zero_point, const uint8_t flip) {
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)at);
    const __m128i unsigned8 = flip ? _mm_xor_si128(bytes, _mm_set1_epi8((char)flip)) : bytes;
    return _mm256_sub_ps(_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(unsigned8)), zero_point);
}

/* `planes` is 1 where the higher plane has no weight: adding nothing of it changes nothing. */
INLINE __m256 value8(const interpolate_row *row, int64_t i, int64_t channel, __m256 zero_point,
                     const uint8_t flip, const int planes) {
    const int64_t low = row->width->low[i] * row->channels + channel;
    const int64_t high = row->width->high[i] * row->channels + channel;
    const __m256 weight = _mm256_set1_ps(row->width->weight[i]);
    __m256 values[2];
    for (int p = 0; p < planes; p++) {
        __m256 rows[2];
        for (int r = 0; r < 2; r++) {
            const uint8_t *input = row->input[p][r];
            rows[r] = between(centered8(input + low, zero_point, flip),
                              centered8(input + high, zero_point, flip), weight);
        }
        values[p] = between(rows[0], rows[1], _mm256_set1_ps(row->row_weight));
    }
    return planes == 1 ? values[0]
                       : between(values[0], values[1], _mm256_set1_ps(row->plane_weight));
}

INLINE void linear_flipped(const interpolate_row *given, uint8_t *out, const uint8_t flip,
                           const int planes) {
    const interpolate_row row = *given; /* a local, which writing bytes cannot change */
    const __m256 zero_points = _mm256_set1_ps((float)row.zero_point);
    const __m256i zero_point = _mm256_set1_epi16((int16_t)row.zero_point);
    for (int64_t i = 0; i < row.width->output; i++, out += row.channels) {
        for (int64_t start = 0; start < row.channels; start += 8) {
            const int64_t channel = start < row.channels - 8 ? start : row.channels - 8;
            const __m256i q =
                _mm256_cvtps_epi32(value8(&row, i, channel, zero_points, flip, planes));
            const __m256i bytes = flipped(pack_bytes(q, q, q, q, zero_point), flip);
            const uint32_t low = (uint32_t)_mm256_extract_epi32(bytes, 0);
            const uint32_t high = (uint32_t)_mm256_extract_epi32(bytes, 4);
            memcpy(out + channel, &low, 4);
            memcpy(out + channel + 4, &high, 4);
        }
    }
}

static void linear(const interpolate_row *row, uint8_t *out, uint8_t flip) {
    if (row->channels < 8) {
        interpolate_scalar.linear(row, out, flip);
    } else if (row->plane_weight != 0) {
        flip ? linear_flipped(row, out, 0x80, 2) : linear_flipped(row, out, 0, 2);
    } else {
        flip ? linear_flipped(row, out, 0x80, 1) : linear_flipped(row, out, 0, 1);
    }
}

const interpolate_kernels interpolate_avx2 = {.linear = linear};
