/* The elementwise kernels for AVX2, with what makes each equal to its scalar twin.
 * They rely on the rounding mode being the default, to nearest even, as the scalar ones do. */
#include "elementwise.h"

#include <math.h>

#include "bytes_avx2.h"

/* ---- Quantize ------------------------------------------------------------------------------
 * The lower bound (and NaN) is left to saturation: the packs are given distances from it, and leave
 * 0 of what is below. That includes INT32_MIN, which is what NaN becomes and all that int32 does
 * not hold; so the upper bound is applied in float. Clamping before and after rounding to integer
 * bounds is the same. */

static inline __m256i quantize8(const float *x, __m256 inverse_scale, __m256 hi) {
    const __m256 t = _mm256_mul_ps(_mm256_loadu_ps(x), inverse_scale);
    return _mm256_cvtps_epi32(_mm256_min_ps(hi, t)); /* min_ps returns its second operand if NaN */
}

/* From the order in which pack_bytes leaves four vectors of consecutive values. */
static inline __m256i in_order(__m256i bytes) {
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* `from_zero` is a constant: whether the lower bound is stored as 0, as most often. Flipping the
 * top bit of a byte is adding 128 to it. */
INLINE void quantize_from(const float *x, uint8_t *q, int64_t n, const quantize_params *p,
                          uint8_t flip, const int from_zero) {
    const __m256 inverse_scale = _mm256_set1_ps(p->inverse_scale);
    const __m256 hi = _mm256_set1_ps((float)(p->quant_max - p->zero_point));
    const __m256i above_min = _mm256_set1_epi16((int16_t)(p->zero_point - p->quant_min));
    const __m256i lowest = _mm256_set1_epi8((char)(p->quant_min + flip));
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m256i distances =
            pack_bytes(quantize8(x + i, inverse_scale, hi), quantize8(x + i + 8, inverse_scale, hi),
                       quantize8(x + i + 16, inverse_scale, hi),
                       quantize8(x + i + 24, inverse_scale, hi), above_min);
        const __m256i bytes = from_zero ? distances : _mm256_add_epi8(distances, lowest);
        store(q + i, in_order(bytes));
    }
    elementwise_scalar.quantize(x + i, q + i, n - i, p, flip);
}

static void quantize(const float *x, uint8_t *q, int64_t n, const quantize_params *p,
                     uint8_t flip) {
    if (p->offset != 0) { /* embedding tables, which are quantized once */
        elementwise_scalar.quantize(x, q, n, p, flip);
    } else if ((uint8_t)(p->quant_min + flip) == 0) {
        quantize_from(x, q, n, p, flip, 1);
    } else {
        quantize_from(x, q, n, p, flip, 0);
    }
}

static void quantize_channels(const float *x, uint8_t *q, int64_t n, const float *inverse_scales,
                              const int32_t *zero_points, int32_t quant_min, int32_t quant_max,
                              uint8_t flip) {
    const __m256i highest = _mm256_set1_epi32(quant_max);
    const __m256i lowest = _mm256_set1_epi8((char)quant_min);
    const __m256i flips = _mm256_set1_epi8((char)flip);
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256i values[4];
        for (int k = 0; k < 4; k++) {
            const int64_t at = i + 8 * k;
            const __m256i zero_point = _mm256_loadu_si256((const __m256i *)(zero_points + at));
            const __m256 hi = _mm256_cvtepi32_ps(_mm256_sub_epi32(highest, zero_point));
            const __m256i value = quantize8(x + at, _mm256_loadu_ps(inverse_scales + at), hi);
            values[k] = _mm256_add_epi32(value, zero_point); /* INT32_MIN + 255: no overflow */
        }
        const __m256i bytes =
            pack_bytes(values[0], values[1], values[2], values[3], _mm256_setzero_si256());
        store(q + i, _mm256_xor_si256(in_order(_mm256_max_epu8(bytes, lowest)), flips));
    }
    elementwise_scalar.quantize_channels(x + i, q + i, n - i, inverse_scales + i, zero_points + i,
                                         quant_min, quant_max, flip);
}

/* ---- Dequantize ---------------------------------------------------------------------------- */

/* The eight bytes from `first` on as floats 2^23 + v. `bytes` holds 16 bytes twice, for a byte
 * shuffle cannot cross the halves; in its indices 0x80 stands for a zero. */
INLINE __m256 magic8(__m256i bytes, const int first) {
    const __m256i count = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i indices = _mm256_add_epi32(count, _mm256_set1_epi32((int)0x80808000 + first));
    const __m256i low = _mm256_shuffle_epi8(bytes, indices);
    return _mm256_castsi256_ps(_mm256_or_si256(low, _mm256_set1_epi32(MAGIC_BITS)));
}

INLINE void dequantize_flipped(const uint8_t *q, float *x, int64_t n, float scale,
                               float zero_point, const uint8_t flip) {
    const __m256 scales = _mm256_set1_ps(scale);
    const __m256 magic = _mm256_set1_ps(MAGIC), zero_points = _mm256_set1_ps(zero_point);
    const __m256 both = _mm256_set1_ps(MAGIC + zero_point);
    int64_t i = 0;
    if (zero_point == rintf(zero_point) && fabsf(zero_point) < 256) {
        for (; i + 16 <= n; i += 16) {
            const __m128i sixteen = _mm_loadu_si128((const __m128i *)(q + i));
            const __m256i bytes = flipped(_mm256_broadcastsi128_si256(sixteen), flip);
            for (int k = 0; k < 2; k++) {
                const __m256 difference = _mm256_sub_ps(magic8(bytes, 8 * k), both);
                _mm256_storeu_ps(x + i + 8 * k, _mm256_mul_ps(difference, scales));
            }
        }
    }
    for (; i + 16 <= n; i += 16) {
        const __m128i sixteen = _mm_loadu_si128((const __m128i *)(q + i));
        const __m256i bytes = flipped(_mm256_broadcastsi128_si256(sixteen), flip);
        for (int k = 0; k < 2; k++) {
            const __m256 value = _mm256_sub_ps(magic8(bytes, 8 * k), magic);
            const __m256 difference = _mm256_sub_ps(value, zero_points);
            _mm256_storeu_ps(x + i + 8 * k, _mm256_mul_ps(difference, scales));
        }
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

static void dequantize_channels(const uint8_t *q, float *x, int64_t n, const float *scales,
                                const float *zero_points, uint8_t flip) {
    const __m128i flips = _mm_set1_epi8((char)flip);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m128i bytes = _mm_xor_si128(_mm_loadl_epi64((const __m128i *)(q + i)), flips);
        const __m256 value = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
        const __m256 difference = _mm256_sub_ps(value, _mm256_loadu_ps(zero_points + i));
        _mm256_storeu_ps(x + i, _mm256_mul_ps(difference, _mm256_loadu_ps(scales + i)));
    }
    elementwise_scalar.dequantize_channels(q + i, x + i, n - i, scales + i, zero_points + i, flip);
}

/* ---- From bytes to bytes -------------------------------------------------------------------
 * 32 bytes at a time, as four vectors in the order of two unpacks; packing puts them back. */

typedef struct {
    __m256i zero_point, lo, hi;
    int unbounded; /* all bytes may occur, and packing has clamped already */
} output_vectors;

/* Rounding is monotone, so rounding and then clamping to the rounded bounds is the same. */
static inline output_vectors output_of(const output_params *p) {
    const int32_t lo = (int32_t)lrintf(p->lo) + p->zero_point;
    const int32_t hi = (int32_t)lrintf(p->hi) + p->zero_point;
    return (output_vectors){
        .zero_point = _mm256_set1_epi16((int16_t)p->zero_point),
        .lo = _mm256_set1_epi8((char)lo),
        .hi = _mm256_set1_epi8((char)hi),
        .unbounded = lo == 0 && hi == 255,
    };
}

static inline __m256i within(__m256i bytes, const output_vectors *v) {
    return v->unbounded ? bytes : _mm256_min_epu8(_mm256_max_epu8(bytes, v->lo), v->hi);
}

static inline __m256i bytes_of(const __m256i t[4], const output_vectors *v) {
    return within(pack_bytes(t[0], t[1], t[2], t[3], v->zero_point), v);
}

/* Results beyond the int32 range would need a clamp in float. Such a multiplier means that the
 * output's scale is a millionth of an input's: nobody's case, so left to the scalar kernels. */
static const float ADD_LIMIT = 0x1p22f, MUL_LIMIT = 0x1p14f;

INLINE void add_flipped(const uint8_t *a, const uint8_t *b, uint8_t *out, int64_t n,
                        const binary_params *p, const uint8_t flip) {
    const __m256 a_multiplier = _mm256_set1_ps(p->a_multiplier);
    const __m256 b_multiplier = _mm256_set1_ps(p->b_multiplier);
    const __m256 a_zero_point = magic_plus(p->a_zero_point);
    const __m256 b_zero_point = magic_plus(p->b_zero_point);
    const output_vectors output = output_of(&p->output);
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m256i va = flipped(load(a + i), flip), vb = flipped(load(b + i), flip);
        __m256i sums[4];
        for (int k = 0; k < 4; k++) {
            const __m256 ta = _mm256_mul_ps(centered(va, k, a_zero_point), a_multiplier);
            const __m256 tb = _mm256_mul_ps(centered(vb, k, b_zero_point), b_multiplier);
            sums[k] = _mm256_cvtps_epi32(_mm256_add_ps(ta, tb));
        }
        store(out + i, flipped(bytes_of(sums, &output), flip));
    }
    elementwise_scalar.add(a + i, b + i, out + i, n - i, p, flip);
}

/* Sixteen sums in fixed point, from bytes of a and b in turns. */
INLINE __m256i fixed_sums(__m256i bytes, const __m256i factors[SUM_DIGITS],
                          const __m256i constants[SUM_DIGITS], __m128i shift) {
    __m256i sums = _mm256_maddubs_epi16(bytes, factors[0]);
    for (int k = 1; k < SUM_DIGITS; k++) {
        const __m256i carry = _mm256_srai_epi16(sums, DIGIT_BITS);
        sums = _mm256_add_epi16(_mm256_maddubs_epi16(bytes, factors[k]), carry);
        sums = _mm256_adds_epi16(sums, constants[k]);
    }
    return _mm256_sra_epi16(sums, shift);
}

INLINE void add_fixed(const uint8_t *a, const uint8_t *b, uint8_t *out, int64_t n,
                      const binary_params *p, const uint8_t flip) {
    const fixed_sum *fixed = &p->fixed;
    const __m128i shift = _mm_cvtsi32_si128(fixed->shift);
    const output_vectors output = output_of(&p->output);
    __m256i factors[SUM_DIGITS], constants[SUM_DIGITS];
    for (int k = 0; k < SUM_DIGITS; k++) {
        const int pair = (uint8_t)fixed->a[k] | (uint8_t)fixed->b[k] << 8;
        factors[k] = _mm256_set1_epi16((int16_t)pair);
        constants[k] = _mm256_set1_epi16(fixed->c[k]);
    }
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m256i va = flipped(load(a + i), flip), vb = flipped(load(b + i), flip);
        const __m256i bytes = _mm256_packus_epi16(
            fixed_sums(_mm256_unpacklo_epi8(va, vb), factors, constants, shift),
            fixed_sums(_mm256_unpackhi_epi8(va, vb), factors, constants, shift));
        store(out + i, flipped(within(bytes, &output), flip));
    }
    elementwise_scalar.add(a + i, b + i, out + i, n - i, p, flip);
}

INLINE void add_either(const uint8_t *a, const uint8_t *b, uint8_t *out, int64_t n,
                       const binary_params *p, const uint8_t flip) {
    if (p->fixed.proven) {
        add_fixed(a, b, out, n, p, flip);
    } else {
        add_flipped(a, b, out, n, p, flip);
    }
}

static void add(const uint8_t *a, const uint8_t *b, uint8_t *out, int64_t n,
                const binary_params *p, uint8_t flip) {
    if (!(p->a_multiplier + p->b_multiplier < ADD_LIMIT)) {
        elementwise_scalar.add(a, b, out, n, p, flip);
    } else if (flip) {
        add_either(a, b, out, n, p, 0x80);
    } else {
        add_either(a, b, out, n, p, 0);
    }
}

INLINE void mul_flipped(const uint8_t *a, const uint8_t *b, uint8_t *out, int64_t n,
                        const binary_params *p, const uint8_t flip) {
    const __m256 multiplier = _mm256_set1_ps(p->a_multiplier);
    const __m256 a_zero_point = magic_plus(p->a_zero_point);
    const __m256 b_zero_point = magic_plus(p->b_zero_point);
    const output_vectors output = output_of(&p->output);
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m256i va = flipped(load(a + i), flip), vb = flipped(load(b + i), flip);
        __m256i products[4];
        for (int k = 0; k < 4; k++) {
            const __m256 ab = _mm256_mul_ps(centered(va, k, a_zero_point),
                                            centered(vb, k, b_zero_point)); /* exact */
            products[k] = _mm256_cvtps_epi32(_mm256_mul_ps(ab, multiplier));
        }
        store(out + i, flipped(bytes_of(products, &output), flip));
    }
    elementwise_scalar.mul(a + i, b + i, out + i, n - i, p, flip);
}

static void mul(const uint8_t *a, const uint8_t *b, uint8_t *out, int64_t n,
                const binary_params *p, uint8_t flip) {
    if (!(p->a_multiplier < MUL_LIMIT)) {
        elementwise_scalar.mul(a, b, out, n, p, flip);
    } else if (flip) {
        mul_flipped(a, b, out, n, p, 0x80);
    } else {
        mul_flipped(a, b, out, n, p, 0);
    }
}

INLINE __m256i requantized(__m256i v, const requantize_params *p, const output_vectors *output) {
    const __m256 multiplier = _mm256_set1_ps(p->multiplier);
    const __m256 zero_point = magic_plus(p->zero_point);
    __m256i t[4];
    for (int k = 0; k < 4; k++) {
        t[k] = _mm256_cvtps_epi32(_mm256_mul_ps(centered(v, k, zero_point), multiplier));
    }
    return bytes_of(t, output);
}

/* Sixteen bytes that are the upper halves of `wide`, in fixed point. */
INLINE __m256i fixed_rescaled(__m256i wide, const fixed_rescaling *fixed) {
    const __m256i product = _mm256_mulhi_epu16(wide, _mm256_set1_epi16((int16_t)fixed->factor));
    const __m256i sum = _mm256_adds_epu16(product, _mm256_set1_epi16((int16_t)fixed->plus));
    const __m256i difference = _mm256_subs_epu16(sum, _mm256_set1_epi16((int16_t)fixed->minus));
    return _mm256_srl_epi16(difference, _mm_cvtsi32_si128(fixed->shift));
}

INLINE __m256i requantized_fixed(__m256i v, const requantize_params *p,
                                 const output_vectors *output) {
    const __m256i below = _mm256_set1_epi8((char)p->fixed.below);
    const __m256i low = fixed_rescaled(_mm256_unpacklo_epi8(below, v), &p->fixed);
    const __m256i high = fixed_rescaled(_mm256_unpackhi_epi8(below, v), &p->fixed);
    return within(_mm256_packus_epi16(low, high), output);
}

/* The last 32 bytes of a row may overlap those before: to compute some twice beats a tail. */
INLINE void requantize_rows(const uint8_t *q, uint8_t *out, int64_t rows, int64_t length,
                            int64_t stride, const requantize_params *given, const int fixed) {
    const requantize_params params = *given, *p = &params; /* local: no output overwrites it */
    const __m256i flip = _mm256_set1_epi8((char)p->flip);
    const __m256i output_flip = _mm256_set1_epi8((char)p->output_flip);
    const output_vectors output = output_of(&p->output);
    for (int64_t row = 0; row < rows; row++, q += length, out += stride) {
        for (int64_t start = 0; start < length; start += 32) {
            const int64_t i = start + 32 <= length ? start : length - 32;
            const __m256i v = _mm256_xor_si256(load(q + i), flip);
            const __m256i bytes =
                fixed ? requantized_fixed(v, p, &output) : requantized(v, p, &output);
            store(out + i, _mm256_xor_si256(bytes, output_flip));
        }
    }
}

static void requantize(const uint8_t *q, uint8_t *out, int64_t rows, int64_t length,
                       int64_t stride, const requantize_params *p) {
    if (length < 32 || !(p->multiplier < ADD_LIMIT)) {
        elementwise_scalar.requantize(q, out, rows, length, stride, p);
    } else if (p->fixed.proven) {
        requantize_rows(q, out, rows, length, stride, p, 1);
    } else {
        requantize_rows(q, out, rows, length, stride, p, 0);
    }
}

/* Slopes in the order of the unpacks: vector k holds elements first ... first + 3 of each half. */
INLINE __m256 slopes_of(const float *slopes, const int each, const int k) {
    return each ? _mm256_loadu2_m128(slopes + 16 + 4 * k, slopes + 4 * k)
                : _mm256_set1_ps(*slopes);
}

INLINE void prelu_each(const uint8_t *q, uint8_t *out, int64_t n, const requantize_params *p,
                       const float *slopes, const int each) {
    const __m256 multiplier = _mm256_set1_ps(p->multiplier), one = _mm256_set1_ps(1.0f);
    const __m256 zero_point = magic_plus(p->zero_point), limit = _mm256_set1_ps(0x1p30f);
    const __m256i flip = _mm256_set1_epi8((char)p->flip);
    const __m256i output_flip = _mm256_set1_epi8((char)p->output_flip);
    const output_vectors output = output_of(&p->output);
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m256i v = _mm256_xor_si256(load(q + i), flip);
        __m256i results[4];
        for (int k = 0; k < 4; k++) {
            const __m256 difference = centered(v, k, zero_point);
            /* the sign bit of the difference chooses */
            const __m256 slope =
                _mm256_blendv_ps(one, slopes_of(slopes + (each ? i : 0), each, k), difference);
            const __m256 t = _mm256_mul_ps(_mm256_mul_ps(difference, multiplier), slope);
            results[k] = _mm256_cvtps_epi32(_mm256_min_ps(limit, t)); /* slopes know no bound */
        }
        store(out + i, _mm256_xor_si256(bytes_of(results, &output), output_flip));
    }
    elementwise_scalar.prelu(q + i, out + i, n - i, p, slopes + (each ? i : 0), each);
}

static void prelu(const uint8_t *q, uint8_t *out, int64_t n, const requantize_params *p,
                  const float *slopes, int each) {
    if (each) {
        prelu_each(q, out, n, p, slopes, 1);
    } else {
        prelu_each(q, out, n, p, slopes, 0);
    }
}

/* ---- Lookup --------------------------------------------------------------------------------
 * A byte shuffle looks up 32 bytes in a table of 16, by their low four bits, and gives 0 where the
 * top bit is set. For bytes v below 128, the rows 0 ... v >> 4 of the table are looked up, and no
 * others, by subtracting 16 with saturation each time; if each row holds its difference from (its
 * exclusive or with) the one before, the exclusive or of these is row v >> 4. The upper half of
 * the table is looked up likewise with the top bit flipped, and gives 0 below 128. */

INLINE __m256i lookup_half(__m256i v, const __m256i rows[8]) {
    __m256i result = _mm256_shuffle_epi8(rows[0], v);
    for (int k = 1; k < 8; k++) {
        v = _mm256_subs_epi8(v, _mm256_set1_epi8(16));
        result = _mm256_xor_si256(result, _mm256_shuffle_epi8(rows[k], v));
    }
    return result;
}

static void lookup(const uint8_t *q, uint8_t *out, int64_t n, const uint8_t *table) {
    __m256i rows[16], previous = _mm256_setzero_si256();
    int64_t i = 0;
    for (int k = 0; k < 16 && n >= 32; k++) {
        const __m128i row = _mm_loadu_si128((const __m128i *)(table + 16 * k));
        const __m256i both = _mm256_broadcastsi128_si256(row);
        rows[k] = k == 8 ? both : _mm256_xor_si256(both, previous);
        previous = both;
    }
    for (; i + 32 <= n; i += 32) {
        const __m256i v = load(q + i), upper = _mm256_xor_si256(v, _mm256_set1_epi8((char)0x80));
        store(out + i, _mm256_xor_si256(lookup_half(v, rows), lookup_half(upper, rows + 8)));
    }
    elementwise_scalar.lookup(q + i, out + i, n - i, table);
}

static void clamp(const uint8_t *q, uint8_t *out, int64_t n, uint8_t low, uint8_t high,
                  uint8_t flip) {
    const __m256i lowest = _mm256_set1_epi8((char)low), highest = _mm256_set1_epi8((char)high);
    const __m256i flips = _mm256_set1_epi8((char)flip);
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        const __m256i v = _mm256_max_epu8(_mm256_xor_si256(load(q + i), flips), lowest);
        store(out + i, _mm256_xor_si256(_mm256_min_epu8(v, highest), flips));
    }
    elementwise_scalar.clamp(q + i, out + i, n - i, low, high, flip);
}

const elementwise_kernels elementwise_avx2 = {
    .quantize = quantize,
    .dequantize = dequantize,
    .quantize_channels = quantize_channels,
    .dequantize_channels = dequantize_channels,
    .add = add,
    .mul = mul,
    .requantize = requantize,
    .prelu = prelu,
    .lookup = lookup,
    .clamp = clamp,
};
