/* The pooling kernels for AVX2, with what makes each equal to its scalar twin.
 *
 * A pixel is computed in blocks of 32, 16 or 8 channels. Its last block ends with its last
 * channel and may overlap the one before: computing some outputs twice is simpler than a tail, and
 * faster. A pixel of less than 8 channels is one block, which reads and writes beyond it: the next
 * pixel's block then overwrites what was too much. Pixels near the end of the row are stored by
 * themselves, and those that are read near the end of the input are left to the scalar kernel. */
#include <string.h>

#include "bytes_avx2.h"
#include "pool_scalar.h"

/* The shape of a window: constants where it is a common one, whose loops are then unrolled. */
typedef struct {
    int64_t planes, rows, taps;
} window_shape;

/* `width` is the bytes of a block, a constant; the rest of a vector is not used. */
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

INLINE __m256i max_block(const pool_row *row, const uint8_t *first, const window_shape window,
                         const uint8_t flip, const int width) {
    __m256i best = _mm256_set1_epi8((char)flip); /* the smallest */
    for (int64_t plane = 0; plane < window.planes; plane++, first += row->plane_stride) {
        const uint8_t *line = first;
        for (int64_t r = 0; r < window.rows; r++, line += row->row_stride) {
            const uint8_t *tap = line;
            for (int64_t t = 0; t < window.taps; t++, tap += row->tap_stride) {
                best = larger(best, load_block(tap, width), flip);
            }
        }
    }
    return best;
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
        const __m256i a = flipped(load_block(tap, width), flip);
        const __m256i b = flipped(load_block(tap + stride, width), flip);
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

/* Of a window of at most TAPS16 positions. */
INLINE sums16 small_sum(const pool_row *row, const uint8_t *first, const window_shape window,
                        const uint8_t flip, const int width) {
    sums16 sums = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int64_t plane = 0; plane < window.planes; plane++, first += row->plane_stride) {
        const uint8_t *line = first;
        for (int64_t r = 0; r < window.rows; r++, line += row->row_stride) {
            add_taps(&sums, line, window.taps, row->tap_stride, flip, width);
        }
    }
    return sums;
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
INLINE sums32 large_sum(const pool_row *row, const uint8_t *first, const window_shape window,
                        const uint8_t flip, const int width) {
    const __m256i zero = _mm256_setzero_si256();
    sums32 sums = {{zero, zero, zero, zero}};
    for (int64_t plane = 0; plane < window.planes; plane++) {
        for (int64_t r = 0; r < window.rows; r++) {
            const uint8_t *tap = first + plane * row->plane_stride + r * row->row_stride;
            for (int64_t left = window.taps; left > 0; left -= TAPS16) {
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
    int exact, ties; /* whether it is; whether there are ties: an odd divisor has none */
    __m128i shift;
    __m256i padding_and_half, factor, divisors, zero_point;
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
        .ties = divisor % 2 == 0,
        .exact = factor < 1 << 16 && (factor * divisor - power) * largest < power,
        .shift = _mm_cvtsi32_si128(shift),
        .padding_and_half = _mm256_set1_epi16((int16_t)(padding + divisor / 2)),
        .factor = _mm256_set1_epi16((int16_t)factor),
        .divisors = _mm256_set1_epi16((int16_t)divisor),
        .zero_point = _mm256_set1_epi16((int16_t)zero_point),
    };
}

static inline __m256i divided(__m256i sums, const division *by) {
    const __m256i n = _mm256_add_epi16(sums, by->padding_and_half);
    const __m256i up = _mm256_srl_epi16(_mm256_mulhi_epu16(n, by->factor), by->shift);
    if (!by->ties) {
        return up;
    }
    const __m256i tie = _mm256_cmpeq_epi16(_mm256_mullo_epi16(up, by->divisors), n);
    const __m256i odd = _mm256_and_si256(_mm256_xor_si256(up, by->zero_point),
                                         _mm256_set1_epi16(1));
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

/* What the means of a run's pixels have in common. */
typedef struct {
    const mean_rule *rule;
    int64_t count, divisor;
    division by;
} mean_state;

static mean_state state_of(const pool_row *row, const pool_run *run, const mean_rule *rule) {
    const int keeps = rule->ratio == 1 && rule->output_zero_point == rule->zero_point &&
                      rule->quant_min == 0 && rule->quant_max == 255;
    mean_state state = {
        .rule = rule,
        .count = row->planes * row->rows * run->columns.taps,
        .divisor = divisor_of(rule, row, run),
    };
    if (keeps && 0 < state.divisor && state.divisor <= TAPS16 && state.count <= state.divisor) {
        state.by = division_by(state.divisor, state.count, rule->zero_point);
    }
    return state;
}

INLINE __m256i mean_block(const pool_row *row, const uint8_t *first, const window_shape window,
                          const mean_state *state, const uint8_t flip, const int width) {
    if (state->by.exact) {
        const sums16 sums = small_sum(row, first, window, flip, width);
        return flipped(_mm256_packus_epi16(divided(sums.low, &state->by),
                                           divided(sums.high, &state->by)),
                       flip);
    }
    const int64_t bias = state->count * state->rule->zero_point;
    const sums32 sums = large_sum(row, first, window, flip, width);
    return flipped(rounded_means(sums, bias, state->divisor, state->rule), flip);
}

/* ---- Sums of few channels ------------------------------------------------------------------
 * Pixels of up to FEW channels that lie side by side are a line of bytes, of which every
 * `channels`-th belongs to one channel. Vectors that are `channels` apart have its bytes in the
 * same places, so there are `channels` squared sums. */

enum { FEW = 4, WORTH_A_SUM = 16 }; /* the latter: taps in a line, for each of these times */

/* How many taps lie side by side: those of a row, or of all rows where these follow each other. */
static inline int64_t taps_of_line(const pool_row *row, const window_shape window) {
    return row->row_stride == window.taps * row->channels ? window.rows * window.taps
                                                          : window.taps;
}

static inline int worth_lines(const pool_row *row, const window_shape window) {
    const int64_t channels = row->channels;
    return channels <= FEW && row->tap_stride == channels &&
           taps_of_line(row, window) >= WORTH_A_SUM * channels * channels;
}

/* Adds the sums of the bytes that the mask leaves, of each `channels`-th vector from `at` on. */
static int64_t masked_sum(const uint8_t *line, int64_t at, int64_t bytes, int64_t channels,
                          __m256i mask, uint8_t flip) {
    const __m256i flips = _mm256_set1_epi8((char)flip), zero = _mm256_setzero_si256();
    __m256i sums = zero; /* four, in 64 bits */
    for (; at + 32 <= bytes; at += 32 * channels) {
        const __m256i values = _mm256_xor_si256(load(line + at), flips);
        sums = _mm256_add_epi64(sums, _mm256_sad_epu8(_mm256_and_si256(values, mask), zero));
    }
    int64_t parts[4];
    _mm256_storeu_si256((__m256i *)parts, sums);
    return parts[0] + parts[1] + parts[2] + parts[3];
}

static void add_line(const uint8_t *line, int64_t bytes, int64_t channels, int64_t sums[FEW],
                     uint8_t flip) {
    uint8_t mask[32 + FEW] = {0}; /* all bits of each `channels`-th byte */
    for (int64_t i = 0; i < 32 + FEW; i += channels) {
        mask[i] = 0xFF;
    }
    for (int64_t c = 0; c < channels; c++) {
        for (int64_t v = 0; v < channels; v++) {
            /* byte i of vector v is one of channel (32 v + i) % channels */
            const __m256i places = load(mask + (32 * v + channels - c) % channels);
            sums[c] += masked_sum(line, 32 * v, bytes, channels, places, flip);
        }
    }
    for (int64_t i = bytes - bytes % 32; i < bytes; i++) {
        sums[i % channels] += line[i] ^ flip;
    }
}

static void mean_of_lines(const pool_row *row, const uint8_t *first, const window_shape window,
                          uint8_t *out, const mean_state *state, uint8_t flip) {
    const int64_t taps = taps_of_line(row, window);
    const int64_t lines = window.rows * window.taps / taps;
    int64_t sums[FEW] = {0};
    for (int64_t plane = 0; plane < window.planes; plane++, first += row->plane_stride) {
        for (int64_t i = 0; i < lines; i++) {
            add_line(first + i * row->row_stride, taps * row->channels, row->channels, sums, flip);
        }
    }
    for (int64_t c = 0; c < row->channels; c++) {
        const int64_t sum = sums[c] - state->count * state->rule->zero_point;
        out[c] = rounded_mean(sum, state->divisor, state->rule) ^ flip;
    }
}

/* ---- Rows ---------------------------------------------------------------------------------- */

/* The mean of a block, or the maximum if there is no state. */
INLINE void pool_block(const pool_row *row, const uint8_t *first, const window_shape window,
                       uint8_t *out, const mean_state *state, const uint8_t flip,
                       const int width) {
    const __m256i result = state ? mean_block(row, first, window, state, flip, width)
                                 : max_block(row, first, window, flip, width);
    store_block(out, result, width);
}

static void pool_pixel_scalar(const pool_row *row, const pool_run *run, int64_t pixel,
                              uint8_t *out, const mean_state *state, uint8_t flip) {
    pool_run first = *run;
    first.columns.first += pixel * run->step;
    first.pixels = 1;
    pool_row one = *row;
    one.runs = &first;
    one.run_count = 1;
    if (state) {
        pool_scalar.mean(&one, out, state->rule, flip);
    } else {
        pool_scalar.max(&one, out, flip);
    }
}

/* Pixels of `width` channels or more. */
INLINE void pool_wide(const pool_row *row, const pool_run *run, const window_shape window,
                      uint8_t *out, const mean_state *state, const uint8_t flip,
                      const int width) {
    const int64_t channels = row->channels, last = channels - width;
    const uint8_t *first = row->input + run->columns.first * channels;
    for (int64_t i = 0; i < run->pixels; i++, out += channels, first += run->step * channels) {
        for (int64_t start = 0; start < channels; start += width) {
            const int64_t channel = start < last ? start : last;
            pool_block(row, first + channel, window, out + channel, state, flip, width);
        }
    }
}

/* Whether a block of 8 can be read at each tap. */
static int readable(const pool_row *row, const uint8_t *first, int64_t taps) {
    const uint8_t *last = first + (row->planes - 1) * row->plane_stride +
                          (row->rows - 1) * row->row_stride + (taps - 1) * row->tap_stride;
    return last + 8 <= row->end;
}

/* Pixels of less than 8 channels; `end` is that of the row's output. */
INLINE void pool_narrow(const pool_row *row, const pool_run *run, const window_shape window,
                        uint8_t *out, const uint8_t *end, const mean_state *state,
                        const uint8_t flip) {
    const int64_t channels = row->channels;
    const int lines = state && worth_lines(row, window);
    const uint8_t *first = row->input + run->columns.first * channels;
    for (int64_t i = 0; i < run->pixels; i++, out += channels, first += run->step * channels) {
        if (lines) {
            mean_of_lines(row, first, window, out, state, flip);
        } else if (!readable(row, first, window.taps)) {
            pool_pixel_scalar(row, run, i, out, state, flip);
        } else if (end - out >= 8) {
            pool_block(row, first, window, out, state, flip, 8);
        } else {
            uint8_t block[8];
            pool_block(row, first, window, block, state, flip, 8);
            memcpy(out, block, channels);
        }
    }
}

INLINE void pool_shaped(const pool_row *row, const pool_run *run, const window_shape window,
                        uint8_t *out, const uint8_t *end, const mean_state *state,
                        const uint8_t flip) {
    if (row->channels >= 32) {
        pool_wide(row, run, window, out, state, flip, 32);
    } else if (row->channels >= 16) {
        pool_wide(row, run, window, out, state, flip, 16);
    } else if (row->channels >= 8) {
        pool_wide(row, run, window, out, state, flip, 8);
    } else {
        pool_narrow(row, run, window, out, end, state, flip);
    }
}

INLINE void pool_run_flipped(const pool_row *row, const pool_run *run, uint8_t *out,
                             const uint8_t *end, const mean_state *state, const uint8_t flip) {
    const window_shape window = {row->planes, row->rows, run->columns.taps};
    const int square = window.planes == 1 && window.rows == window.taps;
    if (square && window.taps == 2) {
        pool_shaped(row, run, (window_shape){1, 2, 2}, out, end, state, flip);
    } else if (square && window.taps == 3) {
        pool_shaped(row, run, (window_shape){1, 3, 3}, out, end, state, flip);
    } else {
        pool_shaped(row, run, window, out, end, state, flip);
    }
}

/* The row is copied: of a local, compilers know that writing bytes does not change it. */
INLINE void pool_flipped(const pool_row *given, uint8_t *out, const mean_rule *rule,
                         const uint8_t flip) {
    const pool_row row = *given;
    const uint8_t *end = out;
    for (int64_t i = 0; i < row.run_count; i++) {
        end += row.runs[i].pixels * row.channels;
    }
    for (int64_t i = 0; i < row.run_count; i++) {
        const pool_run run = row.runs[i];
        if (rule) {
            const mean_state state = state_of(&row, &run, rule);
            pool_run_flipped(&row, &run, out, end, &state, flip);
        } else {
            pool_run_flipped(&row, &run, out, end, NULL, flip);
        }
        out += run.pixels * row.channels;
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
    for (int64_t i = 0; i < row->run_count; i++) {
        if (row->planes * row->rows * row->runs[i].columns.taps > LARGE) {
            return 1;
        }
    }
    return 0;
}

static void mean(const pool_row *row, uint8_t *out, const mean_rule *rule, uint8_t flip) {
    if (has_larger_window(row)) {
        pool_scalar.mean(row, out, rule, flip);
    } else if (flip) {
        pool_flipped(row, out, rule, 0x80);
    } else {
        pool_flipped(row, out, rule, 0);
    }
}

static int64_t sum(const uint8_t *bytes, int64_t n, uint8_t flip) {
    const __m256i all = _mm256_set1_epi8(-1);
    const int64_t whole = n - n % 32;
    return masked_sum(bytes, 0, n, 1, all, flip) + pool_scalar.sum(bytes + whole, n - whole, flip);
}

const pool_kernels pool_avx2 = {.max = max, .mean = mean, .sum = sum};
