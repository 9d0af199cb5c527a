/* The pooling kernels for AVX2, with what makes each equal to its scalar twin.
 *
 * A pixel is computed in blocks of 64, 32, 16 or 8 channels. Its last block ends with its last
 * channel and may overlap the one before: computing some outputs twice is simpler than a tail, and
 * faster. A pixel of less than 8 channels is one block, which reads and writes beyond it: the next
 * pixel's block then overwrites what was too much. Pixels near the end of the row are stored by
 * themselves, and those that are read near the end of the input are left to the scalar kernel. */
#include <string.h>

#include "bytes_avx2.h"
#include "pool_scalar.h"

/* What an output pixel covers: taps per row, from the first on. */
typedef struct {
    const uint8_t *first;
    int64_t taps;
} pixel_window;

static inline pixel_window window_of(const pool_row *row, int64_t pixel) {
    const pool_span span = row->columns[pixel];
    return (pixel_window){row->input + span.first * row->channels, span.taps};
}

/* `width` is the bytes of a block, a constant: 64, or less for a vector of which the rest is not
 * used. */
static inline int vectors_of(const int width) { return width == 64 ? 2 : 1; }

INLINE __m256i load_block(const uint8_t *p, const int width) {
    if (width == 8) {
        return _mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)p));
    }
    return width == 16 ? _mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p)) : load(p);
}

INLINE void store_block(uint8_t *p, __m256i v, const int width) {
    if (width == 8) {
        _mm_storel_epi64((__m128i *)p, _mm256_castsi256_si128(v));
    } else if (width == 16) {
        _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(v));
    } else {
        store(p, v);
    }
}

/* ---- Maximum ------------------------------------------------------------------------------- */

/* Signed bytes are compared as such, which is what flipping both comes to. */
static inline __m256i larger(__m256i a, __m256i b, const uint8_t flip) {
    return flip ? _mm256_max_epi8(a, b) : _mm256_max_epu8(a, b);
}

/* `taps` is a constant where it is small: its loop is then unrolled. */
INLINE void max_of_taps(const pool_row *row, const uint8_t *first, const int64_t taps,
                        uint8_t *out, const uint8_t flip, const int width) {
    __m256i best[2];
    for (int k = 0; k < vectors_of(width); k++) {
        best[k] = _mm256_set1_epi8((char)flip); /* the smallest */
    }
    for (int64_t plane = 0; plane < row->planes; plane++, first += row->plane_stride) {
        const uint8_t *line = first;
        for (int64_t r = 0; r < row->rows; r++, line += row->row_stride) {
            const uint8_t *tap = line;
            for (int64_t t = 0; t < taps; t++, tap += row->tap_stride) {
                for (int k = 0; k < vectors_of(width); k++) {
                    best[k] = larger(best[k], load_block(tap + 32 * k, width), flip);
                }
            }
        }
    }
    for (int k = 0; k < vectors_of(width); k++) {
        store_block(out + 32 * k, best[k], width);
    }
}

INLINE void max_block(const pool_row *row, pixel_window window, int64_t channel, uint8_t *out,
                      const uint8_t flip, const int width) {
    const uint8_t *first = window.first + channel;
    switch (window.taps) {
    case 2: max_of_taps(row, first, 2, out, flip, width); break;
    case 3: max_of_taps(row, first, 3, out, flip, width); break;
    default: max_of_taps(row, first, window.taps, out, flip, width);
    }
}

/* ---- Sums ---------------------------------------------------------------------------------- */

/* Sums of 32 channels in 16 bits, in the order that unpacking gives and packing undoes. They hold
 * the sum of 257 bytes. */
typedef struct {
    __m256i low, high;
} sums16;

enum { TAPS16 = 256 };

INLINE void add_taps(sums16 *sums, const uint8_t *tap, const int64_t taps, int64_t stride,
                     const uint8_t flip, const int width) {
    const __m256i ones = _mm256_set1_epi8(1), zero = _mm256_setzero_si256();
    int64_t t = 0;
    for (; t + 2 <= taps; t += 2, tap += 2 * stride) { /* multiplying by 1 adds neighbours */
        const __m256i a = flipped(load_block(tap, width), flip), b = flipped(load_block(tap + stride, width), flip);
        const __m256i low = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(a, b), ones);
        const __m256i high = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(a, b), ones);
        sums->low = _mm256_add_epi16(sums->low, low);
        sums->high = _mm256_add_epi16(sums->high, high);
    }
    if (t < taps) {
        const __m256i a = flipped(load_block(tap, width), flip);
        sums->low = _mm256_add_epi16(sums->low, _mm256_unpacklo_epi8(a, zero));
        sums->high = _mm256_add_epi16(sums->high, _mm256_unpackhi_epi8(a, zero));
    }
}

/* Of a window of at most TAPS16 positions; `taps` as in max_of_taps. */
INLINE void sum_of_taps(const pool_row *row, const uint8_t *first, const int64_t taps,
                        sums16 *sums, const uint8_t flip, const int width) {
    for (int k = 0; k < vectors_of(width); k++) {
        sums[k].low = sums[k].high = _mm256_setzero_si256();
    }
    for (int64_t plane = 0; plane < row->planes; plane++, first += row->plane_stride) {
        const uint8_t *line = first;
        for (int64_t r = 0; r < row->rows; r++, line += row->row_stride) {
            for (int k = 0; k < vectors_of(width); k++) {
                add_taps(&sums[k], line + 32 * k, taps, row->tap_stride, flip, width);
            }
        }
    }
}

INLINE void small_sum(const pool_row *row, const uint8_t *first, int64_t taps, sums16 *sums,
                      const uint8_t flip, const int width) {
    switch (taps) {
    case 2: sum_of_taps(row, first, 2, sums, flip, width); break;
    case 3: sum_of_taps(row, first, 3, sums, flip, width); break;
    default: sum_of_taps(row, first, taps, sums, flip, width);
    }
}

enum { LARGE = 1 << 23 };

typedef struct {
    __m256i v[4]; /* 32 channels in 32 bits, in the order of two unpacks */
} sums32;

static inline void widen_into(sums32 *sums, sums16 more) {
    const __m256i zero = _mm256_setzero_si256();
    sums->v[0] = _mm256_add_epi32(sums->v[0], _mm256_unpacklo_epi16(more.low, zero));
    sums->v[1] = _mm256_add_epi32(sums->v[1], _mm256_unpackhi_epi16(more.low, zero));
    sums->v[2] = _mm256_add_epi32(sums->v[2], _mm256_unpacklo_epi16(more.high, zero));
    sums->v[3] = _mm256_add_epi32(sums->v[3], _mm256_unpackhi_epi16(more.high, zero));
}

/* Of a window of at most LARGE positions: its sum fits 31 bits. */
INLINE sums32 large_sum(const pool_row *row, const uint8_t *first, int64_t taps,
                        const uint8_t flip, const int width) {
    const __m256i zero = _mm256_setzero_si256();
    sums32 sums = {{zero, zero, zero, zero}};
    for (int64_t plane = 0; plane < row->planes; plane++) {
        for (int64_t r = 0; r < row->rows; r++) {
            const uint8_t *tap = first + plane * row->plane_stride + r * row->row_stride;
            for (int64_t left = taps; left > 0; left -= TAPS16) {
                sums16 part = {zero, zero};
                const int64_t n = left < TAPS16 ? left : TAPS16;
                add_taps(&part, tap, n, row->tap_stride, flip, width);
                widen_into(&sums, part);
                tap += TAPS16 * row->tap_stride;
            }
        }
    }
    return sums;
}

/* ---- Means --------------------------------------------------------------------------------- */

/* Division of 16-bit sums n <= 255.5 d by a divisor d <= 256, exactly:
 *     n / d = (n * factor >> 16) >> shift,  factor = ceil(2^(16 + shift) / d).
 * With factor * d = 2^(16 + shift) + e the product is too large by n * e / (d * 2^(16 + shift)),
 * which changes no quotient if it is below 1 / d.
 *
 * A mean is round(sum / d - zero_point) + zero_point, ties to even, where the sum includes the
 * padding. Half a divisor added, the quotient rounds up at ties, which are where nothing remains;
 * there it is one too much if its distance from the zero point is odd. */
typedef struct {
    int64_t count, divisor; /* that it is for; 0: for none yet */
    int exact;
    __m128i shift;
    __m256i padding_and_half, factor, divisors, zero_point, tie_step;
} division;

static division division_by(int64_t divisor, int64_t count, int32_t zero_point) {
    int shift = 0;
    while ((2 << shift) < divisor) { /* until 2^shift < divisor <= 2 * 2^shift */
        shift++;
    }
    const int64_t power = INT64_C(1) << (16 + shift), factor = (power + divisor - 1) / divisor;
    const int64_t largest = 255 * divisor + divisor / 2;
    const int64_t padding = zero_point * (divisor - count);
    return (division){
        .count = count,
        .divisor = divisor,
        .exact = factor < 1 << 16 && (factor * divisor - power) * largest < power,
        .shift = _mm_cvtsi32_si128(shift),
        .padding_and_half = _mm256_set1_epi16((int16_t)(padding + divisor / 2)),
        .factor = _mm256_set1_epi16((int16_t)factor),
        .divisors = _mm256_set1_epi16((int16_t)divisor),
        .zero_point = _mm256_set1_epi16((int16_t)zero_point),
        .tie_step = _mm256_set1_epi16(divisor % 2 == 0), /* an odd divisor has no ties */
    };
}

static inline __m256i divided(__m256i sums, const division *by) {
    const __m256i n = _mm256_add_epi16(sums, by->padding_and_half);
    const __m256i up = _mm256_srl_epi16(_mm256_mulhi_epu16(n, by->factor), by->shift);
    const __m256i tie = _mm256_cmpeq_epi16(_mm256_mullo_epi16(up, by->divisors), n);
    const __m256i odd = _mm256_and_si256(_mm256_xor_si256(up, by->zero_point), by->tie_step);
    return _mm256_sub_epi16(up, _mm256_and_si256(odd, tie));
}

/* Four of rounded_mean(), but for the output's zero point. */
INLINE __m128i rounded4(__m128i sums, __m256d bias, __m256d divisor, const mean_rule *rule) {
    const __m256d lo = _mm256_set1_pd(rule->quant_min - rule->output_zero_point);
    const __m256d hi = _mm256_set1_pd(rule->quant_max - rule->output_zero_point);
    __m256d t = _mm256_sub_pd(_mm256_cvtepi32_pd(sums), bias);
    t = _mm256_div_pd(_mm256_mul_pd(t, _mm256_set1_pd(rule->ratio)), divisor);
    t = _mm256_min_pd(_mm256_max_pd(t, lo), hi); /* max_pd returns its second operand if NaN */
    return _mm256_cvtpd_epi32(t);
}

INLINE __m256i rounded_means(sums32 sums, int64_t bias, int64_t divisor, const mean_rule *rule) {
    const __m256d biases = _mm256_set1_pd((double)bias);
    const __m256d divisors = _mm256_set1_pd((double)divisor);
    __m256i means[4];
    for (int k = 0; k < 4; k++) {
        const __m128i low = _mm256_castsi256_si128(sums.v[k]);
        const __m128i high = _mm256_extracti128_si256(sums.v[k], 1);
        means[k] = _mm256_set_m128i(rounded4(high, biases, divisors, rule),
                                    rounded4(low, biases, divisors, rule));
    }
    return pack_bytes(means[0], means[1], means[2], means[3],
                      _mm256_set1_epi16((int16_t)rule->output_zero_point));
}

/* What the means of a row's pixels have in common, and those of a pixel's blocks. */
typedef struct {
    const mean_rule *rule;
    int keeps; /* output and input have the same parameters and the full range */
    int64_t count, divisor;
    division by; /* most often the one for the pixel before fits */
} mean_state;

INLINE void prepare_pixel(mean_state *state, const pool_row *row, int64_t pixel) {
    state->count = row->planes * row->rows * row->columns[pixel].taps;
    state->divisor = divisor_of(state->rule, row, pixel);
    if (state->by.divisor != state->divisor || state->by.count != state->count) {
        const int is_short = 0 < state->divisor && state->divisor <= TAPS16;
        state->by = division_by(is_short ? state->divisor : 1, state->count,
                                state->rule->zero_point);
        state->by.divisor = state->divisor;
        state->by.exact &= state->keeps && is_short && state->count <= state->divisor;
    }
}

INLINE void mean_block(const pool_row *row, pixel_window window, int64_t channel, uint8_t *out,
                       const mean_state *state, const uint8_t flip, const int width) {
    const uint8_t *first = window.first + channel;
    const int64_t bias = state->count * state->rule->zero_point;
    __m256i means[2];
    if (state->by.exact) {
        sums16 sums[2];
        small_sum(row, first, window.taps, sums, flip, width);
        for (int k = 0; k < vectors_of(width); k++) {
            means[k] = _mm256_packus_epi16(divided(sums[k].low, &state->by),
                                           divided(sums[k].high, &state->by));
        }
    } else {
        for (int k = 0; k < vectors_of(width); k++) {
            const sums32 sums = large_sum(row, first + 32 * k, window.taps, flip, width);
            means[k] = rounded_means(sums, bias, state->divisor, state->rule);
        }
    }
    for (int k = 0; k < vectors_of(width); k++) {
        store_block(out + 32 * k, flipped(means[k], flip), width);
    }
}

/* Where a pixel is one byte, its taps along a row are summed 32 at a time. */
static uint8_t line_mean(const pool_row *row, pixel_window window, const mean_state *state,
                         uint8_t flip) {
    const __m256i zero = _mm256_setzero_si256();
    __m256i sums = zero; /* four, in 64 bits */
    int64_t sum = -state->count * state->rule->zero_point;
    for (int64_t plane = 0; plane < row->planes; plane++) {
        for (int64_t r = 0; r < row->rows; r++) {
            const uint8_t *tap = window.first + plane * row->plane_stride + r * row->row_stride;
            int64_t t = 0;
            for (; t + 32 <= window.taps; t += 32) {
                const __m256i bytes = flipped(load(tap + t), flip);
                sums = _mm256_add_epi64(sums, _mm256_sad_epu8(bytes, zero));
            }
            for (; t < window.taps; t++) {
                sum += tap[t] ^ flip;
            }
        }
    }
    int64_t parts[4];
    _mm256_storeu_si256((__m256i *)parts, sums);
    sum += parts[0] + parts[1] + parts[2] + parts[3];
    return rounded_mean(sum, state->divisor, state->rule) ^ flip;
}

/* ---- Rows ---------------------------------------------------------------------------------- */

/* The mean of a block, or the maximum if there is no state. */
INLINE void pool_block(const pool_row *row, pixel_window window, int64_t channel, uint8_t *out,
                       const mean_state *state, const uint8_t flip, const int width) {
    if (state) {
        mean_block(row, window, channel, out, state, flip, width);
    } else {
        max_block(row, window, channel, out, flip, width);
    }
}

static void pool_pixel_scalar(const pool_row *row, int64_t pixel, uint8_t *out,
                              const mean_state *state, uint8_t flip) {
    pool_row one = *row;
    one.pixels = 1;
    one.columns += pixel;
    if (state) {
        pool_scalar.mean(&one, out, state->rule, flip);
    } else {
        pool_scalar.max(&one, out, flip);
    }
}

/* Pixels of `width` channels or more. */
INLINE void pool_wide(const pool_row *row, uint8_t *out, mean_state *state, const uint8_t flip,
                      const int width) {
    const int64_t channels = row->channels, last = channels - width;
    for (int64_t i = 0; i < row->pixels; i++, out += channels) {
        const pixel_window window = window_of(row, i);
        if (state) {
            prepare_pixel(state, row, i);
        }
        int64_t start = 0;
        for (; width == 32 && start + 64 <= channels; start += 64) {
            pool_block(row, window, start, out + start, state, flip, 64);
        }
        for (; start < channels; start += width) {
            const int64_t channel = start < last ? start : last;
            pool_block(row, window, channel, out + channel, state, flip, width);
        }
    }
}

/* Whether a block of 8 can be read at each tap. */
static int readable(const pool_row *row, pixel_window window) {
    const uint8_t *last = window.first + (row->planes - 1) * row->plane_stride +
                          (row->rows - 1) * row->row_stride + (window.taps - 1) * row->tap_stride;
    return last + 8 <= row->end;
}

/* Pixels of less than 8 channels. */
INLINE void pool_narrow(const pool_row *row, uint8_t *out, mean_state *state, const uint8_t flip) {
    const int64_t channels = row->channels;
    const uint8_t *end = out + row->pixels * channels;
    for (int64_t i = 0; i < row->pixels; i++, out += channels) {
        const pixel_window window = window_of(row, i);
        if (state) {
            prepare_pixel(state, row, i);
        }
        if (state && channels == 1 && row->tap_stride == 1 && window.taps >= 32) {
            *out = line_mean(row, window, state, flip);
        } else if (!readable(row, window)) {
            pool_pixel_scalar(row, i, out, state, flip);
        } else if (end - out >= 8) {
            pool_block(row, window, 0, out, state, flip, 8);
        } else {
            uint8_t block[8];
            pool_block(row, window, 0, block, state, flip, 8);
            memcpy(out, block, channels);
        }
    }
}

/* The row is copied: of a local, compilers know that writing bytes does not change it. */
INLINE void pool_flipped(const pool_row *given, uint8_t *out, mean_state *state,
                         const uint8_t flip) {
    const pool_row row = *given;
    if (row.channels >= 32) {
        pool_wide(&row, out, state, flip, 32);
    } else if (row.channels >= 16) {
        pool_wide(&row, out, state, flip, 16);
    } else if (row.channels >= 8) {
        pool_wide(&row, out, state, flip, 8);
    } else {
        pool_narrow(&row, out, state, flip);
    }
}

static void max(const pool_row *row, uint8_t *out, uint8_t flip) {
    if (flip) {
        pool_flipped(row, out, NULL, 0x80);
    } else {
        pool_flipped(row, out, NULL, 0);
    }
}

static int has_larger_window(const pool_row *row) {
    for (int64_t i = 0; i < row->pixels; i++) {
        if (row->planes * row->rows * row->columns[i].taps > LARGE) {
            return 1;
        }
    }
    return 0;
}

static void mean(const pool_row *row, uint8_t *out, const mean_rule *rule, uint8_t flip) {
    mean_state state = {.rule = rule};
    state.keeps = rule->ratio == 1 && rule->output_zero_point == rule->zero_point &&
                  rule->quant_min == 0 && rule->quant_max == 255;
    if (has_larger_window(row)) {
        pool_scalar.mean(row, out, rule, flip);
    } else if (flip) {
        pool_flipped(row, out, &state, 0x80);
    } else {
        pool_flipped(row, out, &state, 0);
    }
}

const pool_kernels pool_avx2 = {.max = max, .mean = mean};
