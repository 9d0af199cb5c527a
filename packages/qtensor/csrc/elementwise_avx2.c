/* The elementwise kernels for AVX2, with what makes each equal to its scalar twin.
 * They rely on the rounding mode being the default, to nearest even, as the scalar ones do. */
#include "elementwise.h"

#include <math.h>

#include "bytes_avx2.h"

static inline __m256i clamp_bytes(__m256i q, __m256i lo, __m256i hi) {
    return _mm256_min_epu8(_mm256_max_epu8(q, lo), hi);
}

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

const elementwise_kernels elementwise_avx2 = {
    .quantize = quantize,
    .dequantize = dequantize,
    .add = add,
};
