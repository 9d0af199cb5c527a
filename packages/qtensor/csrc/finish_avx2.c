/* finish.c in AVX2. Compiled with -mavx2, called only where the machine has it. */
#ifdef __AVX2__
#include <float.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "activation_avx2.h"
#include "gemm.h"

/* ---- activations: the functions of finish.c on 8 values ---- */

static inline __m256 magnitude(__m256 x) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x); }

static __m256 tanh_of(__m256 x) {
    __m256 m = expm1_negative(_mm256_mul_ps(_mm256_set1_ps(-2), magnitude(x)));
    __m256 y = _mm256_div_ps(m, _mm256_add_ps(m, _mm256_set1_ps(2)));
    __m256 positive = _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_GT_OQ);
    return _mm256_xor_ps(y, _mm256_and_ps(positive, _mm256_set1_ps(-0.0f)));
}

static __m256 normal_tail(__m256 x) {
    const __m256 one = _mm256_set1_ps(1);
    __m256 k = _mm256_div_ps(one, times_plus(magnitude(x), _mm256_set1_ps(ERF_P), 1));
    __m256 p = _mm256_set1_ps(ERF_5);
    p = times_plus(p, k, ERF_4);
    p = times_plus(p, k, ERF_3);
    p = times_plus(p, k, ERF_2);
    p = times_plus(p, k, ERF_1);
    __m256 half = _mm256_mul_ps(_mm256_mul_ps(x, x), _mm256_set1_ps(-0.5f));
    __m256 density = _mm256_add_ps(expm1_negative(half), one);
    return _mm256_mul_ps(_mm256_mul_ps(_mm256_set1_ps(0.5f), _mm256_mul_ps(p, k)), density);
}

static __m256 logistic_tail(__m256 x) {
    __m256 factor = times_plus(_mm256_set1_ps(LOGISTIC_3), _mm256_mul_ps(x, x), LOGISTIC_1);
    __m256 v = _mm256_or_ps(_mm256_mul_ps(x, factor), _mm256_set1_ps(-0.0f)); /* -|v| */
    __m256 m = expm1_negative(v);
    return _mm256_div_ps(_mm256_add_ps(m, _mm256_set1_ps(1)),
                         _mm256_add_ps(m, _mm256_set1_ps(2)));
}

static __attribute__((noinline)) __m256 activated(__m256 t, const finish *f) {
    const __m256 zero = _mm256_setzero_ps();
    t = _mm256_max_ps(_mm256_set1_ps(-FLT_MAX), t);
    if (f->activation == LEAKY_RELU) {
        __m256 scaled_down = _mm256_mul_ps(t, _mm256_set1_ps(f->negative_slope));
        return _mm256_blendv_ps(scaled_down, t, _mm256_cmp_ps(t, zero, _CMP_GT_OQ));
    }
    __m256 x = _mm256_mul_ps(t, _mm256_set1_ps(f->scale));
    if (f->activation == TANH) return _mm256_mul_ps(tanh_of(x), _mm256_set1_ps(f->inverse_scale));
    __m256 tail = f->activation == GELU ? normal_tail(x) : logistic_tail(x);
    __m256 rest = _mm256_sub_ps(_mm256_set1_ps(1), tail);
    return _mm256_mul_ps(t, _mm256_blendv_ps(rest, tail, _mm256_cmp_ps(x, zero, _CMP_LT_OQ)));
}

/* ---- output ---- */

/* 8 bytes as floats, less the residual's zero point, times its multiplier. */
static inline __m256 residual_term(const uint8_t *bytes, const finish *f) {
    __m128i eight = _mm_loadl_epi64((const __m128i *)bytes);
    __m256i wide = f->is_signed ? _mm256_cvtepi8_epi32(eight) : _mm256_cvtepu8_epi32(eight);
    __m256i centred = _mm256_sub_epi32(wide, _mm256_set1_epi32(f->residual_zero_point));
    return _mm256_mul_ps(_mm256_cvtepi32_ps(centred), _mm256_set1_ps(f->residual_multiplier));
}

static inline __m256 bias_of(const finish *f, int row, int c) {
    return _mm256_loadu_ps(f->bias + row * f->bias_step + c);
}

static inline __m256 scaled(__m256 sums, const finish *f, int row, int c) {
    return _mm256_mul_ps(sums, _mm256_loadu_ps(f->multiplier + row * f->multiplier_step + c));
}

static inline __m256 converted(const int32_t *acc) {
    return _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)acc));
}

/* max_ps and min_ps give their second operand where one is NaN. */
static inline __m256i rounded(__m256 t, const finish *f) {
    t = _mm256_max_ps(t, _mm256_set1_ps(f->lowest));
    t = _mm256_min_ps(t, _mm256_set1_ps(f->highest));
    return _mm256_cvtps_epi32(t);
}

/* One row's 16 results in 16 bits, without zero point, channels ordered 0-3, 8-11, 4-7, 12-15. */
static inline __attribute__((always_inline)) __m256i requantize_row(const int32_t *acc, int row,
                                                                    const finish *f,
                                                                    const uint8_t *residual) {
    acc += row * CHANNELS;
    __m256 low = _mm256_add_ps(scaled(converted(acc), f, row, 0), bias_of(f, row, 0));
    __m256 high = _mm256_add_ps(scaled(converted(acc + 8), f, row, 8), bias_of(f, row, 8));
    if (residual) {
        low = _mm256_add_ps(low, residual_term(residual, f));
        high = _mm256_add_ps(high, residual_term(residual + 8, f));
    }
    if (f->activation) {
        low = activated(low, f);
        high = activated(high, f);
    }
    return _mm256_packs_epi32(rounded(low, f), rounded(high, f));
}

/* Two rows' results as bytes, one row in each half. */
static inline __attribute__((always_inline)) __m256i requantize_two(
    const int32_t *acc, int first, int second, const finish *f, const uint8_t *first_residual,
    const uint8_t *second_residual) {
    /* int8 results go through unsigned bytes: 128 more, and then the top bit flipped back. */
    const __m256i zero_point = _mm256_set1_epi16((int16_t)(f->zero_point + 128 * f->is_signed));
    const __m256i flip = _mm256_set1_epi8((int8_t)(-128 * f->is_signed));
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    __m256i a = _mm256_add_epi16(requantize_row(acc, first, f, first_residual), zero_point);
    __m256i b = _mm256_add_epi16(requantize_row(acc, second, f, second_residual), zero_point);
    __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packus_epi16(a, b), order);
    return _mm256_xor_si256(bytes, flip);
}

/* A single row. */
static void requantize_one(const int32_t *acc, int row, const finish *f, const uint8_t *residual,
                           uint8_t *out) {
    __m256i both = requantize_two(acc, row, row, f, residual, residual);
    _mm_storeu_si128((__m128i *)out, _mm256_castsi256_si128(both));
}

/* Fewer channels than the panel has. */
static void requantize_some(const int32_t *acc, int row, const finish *f,
                            const uint8_t *residual, uint8_t *out) {
    uint8_t terms[CHANNELS] = {0}, bytes[CHANNELS];
    if (residual) memcpy(terms, residual, (size_t)f->columns);
    requantize_one(acc, row, f, residual ? terms : NULL, bytes);
    memcpy(out, bytes, (size_t)f->columns);
}

/* ---- the usual case: whole panels of rows, nothing added, no activation ---- */

typedef struct {
    __m256 multiplier[2], bias[2];
    __m256i zero_point, lowest, highest, flip; /* the bounds as unsigned bytes */
} plain_finish;

static inline __m256i plain_row(const int32_t *acc, const plain_finish *p) {
    __m256 low = _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)acc));
    __m256 high = _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)(acc + 8)));
    low = _mm256_add_ps(_mm256_mul_ps(low, p->multiplier[0]), p->bias[0]);
    high = _mm256_add_ps(_mm256_mul_ps(high, p->multiplier[1]), p->bias[1]);
    __m256i both = _mm256_packs_epi32(_mm256_cvtps_epi32(low), _mm256_cvtps_epi32(high));
    return _mm256_adds_epi16(both, p->zero_point);
}

/* Rounding keeps the order of numbers, so the bounds may as well be applied after it, to 32 bytes
 * at once. That holds where no result leaves the range of int32, which is checked for whatever the
 * sums may be; a NaN fails it. Returns whether it did the work. */
static bool requantize_plain(const int32_t *acc, int rows, const finish *restrict f,
                             uint8_t *restrict out) {
    const int shift = f->zero_point + 128 * f->is_signed; /* of a result to its unsigned byte */
    const __m256 sign = _mm256_set1_ps(-0.0f), limit = _mm256_set1_ps(0x1p30f);
    plain_finish p = {
        .zero_point = _mm256_set1_epi16((int16_t)shift),
        .lowest = _mm256_set1_epi8((int8_t)((int)rintf(f->lowest) + shift)),
        .highest = _mm256_set1_epi8((int8_t)((int)rintf(f->highest) + shift)),
        .flip = _mm256_set1_epi8((int8_t)(-128 * f->is_signed)),
    };
    for (int half = 0; half < 2; half++) {
        p.multiplier[half] = _mm256_loadu_ps(f->multiplier + 8 * half);
        p.bias[half] = _mm256_loadu_ps(f->bias + 8 * half);
        __m256 most = _mm256_mul_ps(_mm256_andnot_ps(sign, p.multiplier[half]),
                                    _mm256_set1_ps(0x1p31f));
        most = _mm256_add_ps(most, _mm256_andnot_ps(sign, p.bias[half]));
        if (_mm256_movemask_ps(_mm256_cmp_ps(most, limit, _CMP_LT_OQ)) != 0xff) return false;
    }
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (int r = 0; r < rows; r += 2, acc += 2 * CHANNELS, out += 2 * f->stride) {
        __m256i bytes = _mm256_packus_epi16(plain_row(acc, &p), plain_row(acc + CHANNELS, &p));
        bytes = _mm256_min_epu8(_mm256_max_epu8(bytes, p.lowest), p.highest);
        bytes = _mm256_xor_si256(_mm256_permutevar8x32_epi32(bytes, order), p.flip);
        _mm_storeu_si128((__m128i *)out, _mm256_castsi256_si128(bytes));
        _mm_storeu_si128((__m128i *)(out + f->stride), _mm256_extracti128_si256(bytes, 1));
    }
    return true;
}

void requantize_avx2(const int32_t *acc, int rows, const finish *restrict f,
                     const uint8_t *residual, uint8_t *out) {
    int r = 0;
    const bool alike = !f->multiplier_step && !f->bias_step;
    if (f->columns == CHANNELS && !residual && !f->activation && rows > 1 && alike)
        r = requantize_plain(acc, rows & ~1, f, out) ? rows & ~1 : 0;
    for (; f->columns == CHANNELS && r + 1 < rows; r += 2) {
        int64_t first = r * f->stride, second = first + f->stride;
        __m256i bytes =
            residual ? requantize_two(acc, r, r + 1, f, residual + first, residual + second)
                     : requantize_two(acc, r, r + 1, f, NULL, NULL);
        _mm_storeu_si128((__m128i *)(out + first), _mm256_castsi256_si128(bytes));
        _mm_storeu_si128((__m128i *)(out + second), _mm256_extracti128_si256(bytes, 1));
    }
    for (; r < rows; r++)
        (f->columns == CHANNELS ? requantize_one : requantize_some)(
            acc, r, f, residual ? residual + r * f->stride : NULL, out + r * f->stride);
}

/* 8 real results of one row. */
static inline __m256 real_result(__m256 sums, const finish *f, int row, int c,
                                 const float *row_scales) {
    __m256 t = _mm256_mul_ps(scaled(sums, f, row, c), _mm256_set1_ps(row_scales[row]));
    t = _mm256_add_ps(t, bias_of(f, row, c));
    if (f->activation) t = activated(t, f);
    t = _mm256_max_ps(_mm256_set1_ps(f->lowest), t);
    return _mm256_min_ps(_mm256_set1_ps(f->highest), t);
}

static inline void store_row(__m256 low, __m256 high, const finish *f, float *out) {
    if (f->columns == CHANNELS) {
        _mm256_storeu_ps(out, low);
        _mm256_storeu_ps(out + 8, high);
    } else {
        float values[CHANNELS];
        _mm256_storeu_ps(values, low);
        _mm256_storeu_ps(values + 8, high);
        memcpy(out, values, (size_t)f->columns * sizeof *out);
    }
}

void dequantize_avx2(const int32_t *acc, int rows, const finish *restrict f,
                     const float *row_scales, float *restrict out) {
    for (int r = 0; r < rows; r++, acc += CHANNELS, out += f->stride) {
        __m256 low = real_result(converted(acc), f, r, 0, row_scales);
        __m256 high = real_result(converted(acc + 8), f, r, 8, row_scales);
        store_row(low, high, f, out);
    }
}

void finish_floats_avx2(const float *sums, int rows, const finish *restrict f,
                        const float *row_scales, float *restrict out) {
    for (int r = 0; r < rows; r++, sums += CHANNELS, out += f->stride) {
        __m256 low = real_result(_mm256_loadu_ps(sums), f, r, 0, row_scales);
        __m256 high = real_result(_mm256_loadu_ps(sums + 8), f, r, 8, row_scales);
        store_row(low, high, f, out);
    }
}
#else
typedef int no_avx2; /* a translation unit must not be empty */
#endif
