/* The elementwise and pooling kernels for AVX2, with what makes each equal to its scalar twin.
 * They rely on the rounding mode being the default, to nearest even, as the scalar ones do. */
#include <immintrin.h>

#include "elementwise_scalar.h"

#define INLINE static inline __attribute__((always_inline))

/* 32 bytes from four vectors of eight int32, each pack saturating. The packs work within 128-bit
 * lanes, so values whose order matters must come from `unpack_*` or be permuted afterwards. */
static inline __m256i pack_bytes(__m256i a, __m256i b, __m256i c, __m256i d, __m256i zero_point) {
    const __m256i low = _mm256_adds_epi16(_mm256_packs_epi32(a, b), zero_point);
    const __m256i high = _mm256_adds_epi16(_mm256_packs_epi32(c, d), zero_point);
    return _mm256_packus_epi16(low, high);
}

static inline __m256i clamp_bytes(__m256i q, __m256i lo, __m256i hi) {
    return _mm256_min_epu8(_mm256_max_epu8(q, lo), hi);
}

/* `flip` is a constant wherever this is used in a loop: each kernel is compiled for both. */
static inline __m256i flipped(__m256i v, const uint8_t flip) {
    return flip ? _mm256_xor_si256(v, _mm256_set1_epi8((char)flip)) : v;
}

static inline __m256i load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }

static inline void store(uint8_t *p, __m256i v) { _mm256_storeu_si256((__m256i *)p, v); }

/* The lower bound (and NaN) is left to saturation: what is below the int32 range, and NaN, becomes
 * INT32_MIN, which the packs and byte bounds clamp. Above the range it would too, so the upper
 * bound is applied in float. Clamping before and after rounding to integer bounds is the same. */
static inline __m256i quantize8(const float *x, __m256 inverse_scale, __m256 hi) {
    const __m256 t = _mm256_mul_ps(_mm256_loadu_ps(x), inverse_scale);
    return _mm256_cvtps_epi32(_mm256_min_ps(hi, t)); /* min_ps returns its second operand if NaN */
}

INLINE void quantize_flipped(const float *x, uint8_t *q, int64_t n, const quantize_params *p,
                             const uint8_t flip) {
    const __m256 inverse_scale = _mm256_set1_ps(p->inverse_scale);
    const __m256 hi = _mm256_set1_ps((float)(p->quant_max - p->zero_point));
    const __m256i zero_point = _mm256_set1_epi16((int16_t)p->zero_point);
    const __m256i quant_min = _mm256_set1_epi8((char)p->quant_min);
    const __m256i quant_max = _mm256_set1_epi8((char)p->quant_max);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m256i bytes =
            pack_bytes(quantize8(x + i, inverse_scale, hi), quantize8(x + i + 8, inverse_scale, hi),
                       quantize8(x + i + 16, inverse_scale, hi),
                       quantize8(x + i + 24, inverse_scale, hi), zero_point);
        const __m256i clamped = clamp_bytes(bytes, quant_min, quant_max);
        store(q + i, flipped(_mm256_permutevar8x32_epi32(clamped, order), flip));
    }
    elementwise_scalar.quantize(x + i, q + i, n - i, p, flip);
}

static void quantize(const float *x, uint8_t *q, int64_t n, const quantize_params *p,
                     uint8_t flip) {
    if (p->offset != 0) { /* embedding tables, which are quantized once */
        elementwise_scalar.quantize(x, q, n, p, flip);
    } else if (flip) {
        quantize_flipped(x, q, n, p, 0x80);
    } else {
        quantize_flipped(x, q, n, p, 0);
    }
}

/* ((float)q - zero_point) * scale for the eight bytes from `first` on. `bytes` holds 16 bytes
 * twice, for a byte shuffle cannot cross the halves; in its indices 0x80 stands for a zero. */
INLINE __m256 dequantize8(__m256i bytes, const int first, __m256 scale, __m256 zero_point) {
    const __m256i count = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i indices = _mm256_add_epi32(count, _mm256_set1_epi32((int)0x80808000 + first));
    const __m256 q = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(bytes, indices));
    return _mm256_mul_ps(_mm256_sub_ps(q, zero_point), scale);
}

INLINE void dequantize_flipped(const uint8_t *q, float *x, int64_t n, float scale,
                               float zero_point, const uint8_t flip) {
    const __m256 scales = _mm256_set1_ps(scale), zero_points = _mm256_set1_ps(zero_point);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m128i sixteen = _mm_loadu_si128((const __m128i *)(q + i));
        const __m256i bytes = flipped(_mm256_broadcastsi128_si256(sixteen), flip);
        _mm256_storeu_ps(x + i, dequantize8(bytes, 0, scales, zero_points));
        _mm256_storeu_ps(x + i + 8, dequantize8(bytes, 8, scales, zero_points));
    }
    elementwise_scalar.dequantize(q + i, x + i, n - i, scale, zero_point, flip);
}

static void dequantize(const uint8_t *q, float *x, int64_t n, float scale, float zero_point,
                       uint8_t flip) {
    if (flip) {
        dequantize_flipped(q, x, n, scale, zero_point, 0x80);
    } else {
        dequantize_flipped(q, x, n, scale, zero_point, 0);
    }
}

/* 2^23 as a float has the bits 0x4B000000, and with a small integer v in its low bits it is
 * 2^23 + v. Unpacking bytes with these bits is thus a conversion, and subtracting
 * 2^23 + zero_point leaves v - zero_point exactly. */
static const float MAGIC = 0x1p23f;

typedef struct {
    __m256 v[4];
} floats32;

static inline floats32 centered(__m256i bytes, __m256 magic_zero_point) {
    const __m256i zero = _mm256_setzero_si256(), magic = _mm256_set1_epi16(0x4B00);
    const __m256i low = _mm256_unpacklo_epi8(bytes, zero), high = _mm256_unpackhi_epi8(bytes, zero);
    const __m256i wide[4] = {_mm256_unpacklo_epi16(low, magic), _mm256_unpackhi_epi16(low, magic),
                             _mm256_unpacklo_epi16(high, magic), _mm256_unpackhi_epi16(high, magic)};
    floats32 result;
    for (int k = 0; k < 4; k++) {
        result.v[k] = _mm256_sub_ps(_mm256_castsi256_ps(wide[k]), magic_zero_point);
    }
    return result;
}

INLINE void add_flipped(const uint8_t *a, const uint8_t *b, uint8_t *out, int64_t n,
                        const add_params *p, const uint8_t flip) {
    const __m256 a_multiplier = _mm256_set1_ps(p->a_multiplier);
    const __m256 b_multiplier = _mm256_set1_ps(p->b_multiplier);
    const __m256 a_zero_point = _mm256_set1_ps(MAGIC + (float)p->a_zero_point);
    const __m256 b_zero_point = _mm256_set1_ps(MAGIC + (float)p->b_zero_point);
    const __m256i zero_point = _mm256_set1_epi16((int16_t)p->zero_point);
    /* Rounding is monotone, so rounding and then clamping to the rounded bounds is the same. */
    const __m256i lo = _mm256_set1_epi8((char)(lrintf(p->lo) + p->zero_point));
    const __m256i hi = _mm256_set1_epi8((char)(lrintf(p->hi) + p->zero_point));
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const floats32 va = centered(flipped(load(a + i), flip), a_zero_point);
        const floats32 vb = centered(flipped(load(b + i), flip), b_zero_point);
        __m256i sums[4];
        for (int k = 0; k < 4; k++) {
            sums[k] = _mm256_cvtps_epi32(_mm256_add_ps(_mm256_mul_ps(va.v[k], a_multiplier),
                                                       _mm256_mul_ps(vb.v[k], b_multiplier)));
        }
        /* unpack and pack order values alike, so these are in order */
        const __m256i bytes = pack_bytes(sums[0], sums[1], sums[2], sums[3], zero_point);
        store(out + i, flipped(clamp_bytes(bytes, lo, hi), flip));
    }
    elementwise_scalar.add(a + i, b + i, out + i, n - i, p, flip);
}

static void add(const uint8_t *a, const uint8_t *b, uint8_t *out, int64_t n, const add_params *p,
                uint8_t flip) {
    /* Sums that may leave the int32 range need the clamp in float. They mean that the output's
     * scale is a millionth of an input's: nobody's case. */
    if (!(p->a_multiplier + p->b_multiplier < 0x1p22f)) {
        elementwise_scalar.add(a, b, out, n, p, flip);
    } else if (flip) {
        add_flipped(a, b, out, n, p, 0x80);
    } else {
        add_flipped(a, b, out, n, p, 0);
    }
}

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
        elementwise_scalar.pool_max(row, out, flip);
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
        elementwise_scalar.pool_mean(row, out, zero_point, flip);
    } else if (flip) {
        pool_mean_flipped(row, out, zero_point, 0x80);
    } else {
        pool_mean_flipped(row, out, zero_point, 0);
    }
}

const elementwise_kernels elementwise_avx2 = {
    .quantize = quantize,
    .dequantize = dequantize,
    .add = add,
    .pool_max = pool_max,
    .pool_mean = pool_mean,
};
