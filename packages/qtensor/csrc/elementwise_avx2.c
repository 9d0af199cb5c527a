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

static void dequantize(const uint8_t *q, float *x, int64_t n, float scale, float zero_point,
                       uint8_t flip) {
    const __m256 scales = _mm256_set1_ps(scale), zero_points = _mm256_set1_ps(zero_point);
    const __m128i flips = _mm_set1_epi8((char)flip);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m128i bytes = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(q + i)), flips);
        const __m256 low = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
        const __m256 high = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_unpackhi_epi64(bytes, bytes)));
        _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_sub_ps(low, zero_points), scales));
        _mm256_storeu_ps(x + i + 8, _mm256_mul_ps(_mm256_sub_ps(high, zero_points), scales));
    }
    elementwise_scalar.dequantize(q + i, x + i, n - i, scale, zero_point, flip);
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

static inline void max_block(const pool_window *w, int64_t start, uint8_t *out, __m256i flips,
                             const int vectors) {
    __m256i best[4];
    for (int k = 0; k < vectors; k++) {
        best[k] = _mm256_setzero_si256();
    }
    for (int64_t r = 0; r < w->rows; r++) {
        const uint8_t *pixel = w->first + r * w->row_stride + start;
        for (int64_t c = 0; c < w->columns; c++, pixel += w->column_stride) {
            for (int k = 0; k < vectors; k++) {
                const __m256i value = _mm256_xor_si256(load(pixel + 32 * k), flips);
                best[k] = _mm256_max_epu8(best[k], value);
            }
        }
    }
    for (int k = 0; k < vectors; k++) {
        store(out + start + 32 * k, _mm256_xor_si256(best[k], flips));
    }
}

static void window_max(const pool_window *w, int64_t channels, uint8_t *out, uint8_t flip) {
    const __m256i flips = _mm256_set1_epi8((char)flip);
    if (channels < 32) {
        elementwise_scalar.window_max(w, channels, out, flip);
        return;
    }
    int64_t start = 0;
    for (; start + 64 <= channels; start += 64) {
        max_block(w, start, out, flips, 2);
    }
    for (; start < channels; start += 32) {
        max_block(w, start + 32 <= channels ? start : channels - 32, out, flips, 1);
    }
}

typedef struct {
    __m256i v[4]; /* in the order of two unpacks */
} sums32;

static inline void widen_into(sums32 *sums, __m256i low, __m256i high) {
    const __m256i zero = _mm256_setzero_si256();
    sums->v[0] = _mm256_add_epi32(sums->v[0], _mm256_unpacklo_epi16(low, zero));
    sums->v[1] = _mm256_add_epi32(sums->v[1], _mm256_unpackhi_epi16(low, zero));
    sums->v[2] = _mm256_add_epi32(sums->v[2], _mm256_unpacklo_epi16(high, zero));
    sums->v[3] = _mm256_add_epi32(sums->v[3], _mm256_unpackhi_epi16(high, zero));
}

static inline sums32 sum_block(const pool_window *w, int64_t start, __m256i flips) {
    const __m256i zero = _mm256_setzero_si256();
    sums32 sums = {{zero, zero, zero, zero}};
    __m256i low = zero, high = zero; /* sums of at most 256 bytes: they fit 16 bits */
    int pending = 0;
    for (int64_t r = 0; r < w->rows; r++) {
        const uint8_t *pixel = w->first + r * w->row_stride + start;
        for (int64_t c = 0; c < w->columns; c++, pixel += w->column_stride) {
            const __m256i bytes = _mm256_xor_si256(load(pixel), flips);
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

/* With the sum's magnitude below 2^24 and the divisor's up to 2^15 a float32 quotient near the
 * bytes' range rounds as the exact one does: what is no tie is 2^-16 away from one, the quotient's
 * error at most 2^-17. */
static const int64_t FLOAT_LIMIT = 1 << 15;

static inline __m256i mean_small(sums32 sums, int32_t bias, float divisor, int32_t zero_point) {
    __m256i means[4];
    for (int k = 0; k < 4; k++) {
        const __m256i sum = _mm256_sub_epi32(sums.v[k], _mm256_set1_epi32(bias));
        const __m256 mean = _mm256_div_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(divisor));
        means[k] = _mm256_cvtps_epi32(mean);
    }
    return pack_bytes(means[0], means[1], means[2], means[3],
                      _mm256_set1_epi16((int16_t)zero_point));
}

static inline __m256i mean_large(sums32 sums, int64_t bias, int64_t divisor, int32_t zero_point) {
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

static void window_mean(const pool_window *w, int64_t channels, uint8_t *out, int32_t zero_point,
                        int64_t divisor, uint8_t flip) {
    const int64_t count = w->rows * w->columns;
    if (channels < 32 || count >= 1 << 24) { /* sums must fit 32 bits */
        elementwise_scalar.window_mean(w, channels, out, zero_point, divisor, flip);
        return;
    }
    const int small = count <= FLOAT_LIMIT && divisor <= FLOAT_LIMIT && divisor >= -FLOAT_LIMIT;
    const __m256i flips = _mm256_set1_epi8((char)flip);
    const int64_t bias = count * zero_point;
    for (int64_t block = 0; block < channels; block += 32) {
        const int64_t start = block + 32 <= channels ? block : channels - 32;
        const sums32 sums = sum_block(w, start, flips);
        const __m256i mean = small ? mean_small(sums, (int32_t)bias, (float)divisor, zero_point)
                                   : mean_large(sums, bias, divisor, zero_point);
        store(out + start, _mm256_xor_si256(mean, flips));
    }
}

const elementwise_kernels elementwise_avx2 = {
    .quantize = quantize,
    .dequantize = dequantize,
    .add = add,
    .window_max = window_max,
    .window_mean = window_mean,
};
