/* The interpolating kernels for AVX2: blocks of 32 or 8 channels, of which the last of a pixel may
 * overlap those before. What lies between two columns is used for all output rows. */
#include <string.h>

#include "bytes_avx2.h"
#include "interpolate.h"

static inline __m256 between(__m256 low, __m256 high, __m256 weight) {
    const __m256 rest = _mm256_sub_ps(_mm256_set1_ps(1.0f), weight);
    return _mm256_add_ps(_mm256_mul_ps(rest, low), _mm256_mul_ps(weight, high));
}

/* `width` is the bytes of a block, a constant: 32, as four vectors in the order of two unpacks, or
 * 8, as one. */
typedef struct {
    __m256 v[4];
} block;

static inline int vectors_of(const int width) { return width / 8; }

/* The values at `at`, with their zero point subtracted. */
INLINE block block_at(const uint8_t *at, __m256 zero_point, const uint8_t flip, const int width) {
    block values;
    if (width == 32) {
        const __m256i bytes = flipped(load(at), flip);
        for (int k = 0; k < 4; k++) {
            values.v[k] = centered(bytes, k, zero_point);
        }
    } else { /* under the bits of MAGIC, as in centered() */
        const __m128i bytes = _mm_loadl_epi64((const __m128i *)at);
        const __m256i wide = _mm256_cvtepu8_epi32(_mm256_castsi256_si128(
            flipped(_mm256_castsi128_si256(bytes), flip)));
        const __m256i bits = _mm256_or_si256(wide, _mm256_set1_epi32(MAGIC_BITS));
        values.v[0] = _mm256_sub_ps(_mm256_castsi256_ps(bits), zero_point);
    }
    return values;
}

INLINE block blocks_between(block low, block high, __m256 weight, const int width) {
    block values;
    for (int k = 0; k < vectors_of(width); k++) {
        values.v[k] = between(low.v[k], high.v[k], weight);
    }
    return values;
}

INLINE void store_rounded(block values, __m256i zero_point, uint8_t *out, const uint8_t flip,
                          const int width) {
    __m256i q[4];
    for (int k = 0; k < 4; k++) {
        q[k] = _mm256_cvtps_epi32(values.v[k % vectors_of(width)]);
    }
    const __m256i bytes = flipped(pack_bytes(q[0], q[1], q[2], q[3], zero_point), flip);
    if (width == 32) {
        store(out, bytes);
    } else {
        const uint32_t low = (uint32_t)_mm256_extract_epi32(bytes, 0);
        const uint32_t high = (uint32_t)_mm256_extract_epi32(bytes, 4);
        memcpy(out, &low, 4);
        memcpy(out + 4, &high, 4);
    }
}

/* One block of pixel i in each row. `planes` is 1 where the higher plane has no weight: adding
 * nothing of it changes nothing. */
INLINE void linear_block(const interpolate_rows *rows, int64_t i, int64_t channel, uint8_t *out,
                         const uint8_t flip, const int planes, const int width) {
    const __m256 zero_point = magic_plus(rows->zero_point);
    const __m256i rounded_zero_point = _mm256_set1_epi16((int16_t)rows->zero_point);
    const int64_t low = rows->width->low[i] * rows->channels + channel;
    const int64_t high = rows->width->high[i] * rows->channels + channel;
    const int64_t row_bytes = rows->width->output * rows->channels;
    const __m256 weight = _mm256_set1_ps(rows->width->weight[i]);
    block columns[2][2];
    for (int p = 0; p < planes; p++) {
        for (int r = 0; r < 2; r++) {
            const uint8_t *input = rows->input[p][r];
            columns[p][r] = blocks_between(block_at(input + low, zero_point, flip, width),
                                           block_at(input + high, zero_point, flip, width),
                                           weight, width);
        }
    }
    for (int64_t row = 0; row < rows->rows; row++, out += row_bytes) {
        const __m256 row_weight = _mm256_set1_ps(rows->row_weights[row]);
        block values = blocks_between(columns[0][0], columns[0][1], row_weight, width);
        if (planes == 2) {
            values = blocks_between(
                values, blocks_between(columns[1][0], columns[1][1], row_weight, width),
                _mm256_set1_ps(rows->plane_weight), width);
        }
        store_rounded(values, rounded_zero_point, out, flip, width);
    }
}

INLINE void linear_wide(const interpolate_rows *given, uint8_t *out, const uint8_t flip,
                        const int planes, const int width) {
    const interpolate_rows rows = *given; /* a local, which writing bytes cannot change */
    const int64_t last = rows.channels - width;
    for (int64_t i = 0; i < rows.width->output; i++, out += rows.channels) {
        for (int64_t start = 0; start < rows.channels; start += width) {
            const int64_t channel = start < last ? start : last;
            linear_block(&rows, i, channel, out + channel, flip, planes, width);
        }
    }
}

INLINE void linear_flipped(const interpolate_rows *rows, uint8_t *out, const uint8_t flip,
                           const int planes) {
    if (rows->channels >= 32) {
        linear_wide(rows, out, flip, planes, 32);
    } else {
        linear_wide(rows, out, flip, planes, 8);
    }
}

static void linear(const interpolate_rows *rows, uint8_t *out, uint8_t flip) {
    if (rows->channels < 8) {
        interpolate_scalar.linear(rows, out, flip);
    } else if (rows->plane_weight != 0) {
        flip ? linear_flipped(rows, out, 0x80, 2) : linear_flipped(rows, out, 0, 2);
    } else {
        flip ? linear_flipped(rows, out, 0x80, 1) : linear_flipped(rows, out, 0, 1);
    }
}

const interpolate_kernels interpolate_avx2 = {.linear = linear};
