/* The pooling kernels for AVX2, with what makes each equal to its scalar twin.
 *
 * Lanes that follow each other, or lie in every second byte, are computed in blocks of 32, 16 or 8.
 * A group's last block ends with its last lane and may overlap the one before: computing some
 * outputs twice is simpler than a tail, and faster. A group of less than 32 lanes is one block, which
 * reads beyond it, and writes there if what belongs there is written later. Of other lanes each is
 * computed by itself, from taps that follow each other. What would read beyond the end of the input
 * is left to the scalar kernel. */
#include <string.h>

#include "bytes_avx2.h"
#include "pool_scalar.h"

/* The shape of a window: constants where it is a common one, whose loops are then unrolled. */
typedef struct {
    int64_t planes, rows, taps;
} window_shape;

/* How a block lies: so many lanes, `stride` bytes apart. Constants wherever this is used; the rest
 * of a vector is not. */
typedef struct {
    int width, stride;
    uint8_t flip;
} block_form;

static inline __m128i load_half(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)p); }

/* Every second byte; of 32, in the order that packing gives and store_block() undoes. */
INLINE __m256i load_every_second(const uint8_t *p, const int width) {
    const __m256i even = _mm256_set1_epi16(0xFF);
    if (width == 32) {
        return _mm256_packus_epi16(_mm256_and_si256(load(p), even),
                                   _mm256_and_si256(load(p + 32), even));
    }
    const __m128i even_half = _mm256_castsi256_si128(even);
    const __m128i low = _mm_and_si128(load_half(p), even_half);
    const __m128i high = width == 16 ? _mm_and_si128(load_half(p + 16), even_half) : low;
    return _mm256_castsi128_si256(_mm_packus_epi16(low, high));
}

INLINE __m256i load_block(const uint8_t *p, const block_form form) {
    if (form.stride == 2) {
        return load_every_second(p, form.width);
    }
    if (form.width == 8) {
        return _mm256_castsi128_si256(_mm_loadl_epi64((const __m128i *)p));
    }
    return form.width == 16 ? _mm256_castsi128_si256(load_half(p)) : load(p);
}

INLINE void store_block(uint8_t *p, __m256i v, const block_form form) {
    if (form.width == 8) {
        _mm_storel_epi64((__m128i *)p, _mm256_castsi256_si128(v));
    } else if (form.width == 16) {
        _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(v));
    } else {
        store(p, form.stride == 2 ? _mm256_permute4x64_epi64(v, 0xD8) : v);
    }
}

/* ---- Maximum ------------------------------------------------------------------------------- */

/* Signed bytes are compared as such, which is what flipping both comes to. */
static inline __m256i larger(__m256i a, __m256i b, const uint8_t flip) {
    return flip ? _mm256_max_epi8(a, b) : _mm256_max_epu8(a, b);
}

INLINE __m256i max_block(const pool_run *run, const uint8_t *first, const window_shape window,
                         const block_form form) {
    __m256i best = _mm256_set1_epi8((char)form.flip); /* the smallest */
    for (int64_t plane = 0; plane < window.planes; plane++, first += run->plane_stride) {
        const uint8_t *line = first;
        for (int64_t r = 0; r < window.rows; r++, line += run->row_stride) {
            const uint8_t *tap = line;
            for (int64_t t = 0; t < window.taps; t++, tap += run->tap_stride) {
                best = larger(best, load_block(tap, form), form.flip);
            }
        }
    }
    return best;
}

/* ---- Sums ---------------------------------------------------------------------------------- */

/* Sums of 32 lanes in 16 bits, in the order that unpacking gives and packing undoes. They hold
 * the sum of 257 bytes. */
typedef struct {
    __m256i low, high;
} sums16;

enum { TAPS16 = 256 };

INLINE void add_taps(sums16 *sums, const uint8_t *tap, const int64_t taps, int64_t stride,
                     const block_form form) {
    const __m256i ones = _mm256_set1_epi8(1), zero = _mm256_setzero_si256();
    int64_t t = 0;
    for (; t + 2 <= taps; t += 2, tap += 2 * stride) { /* multiplying by 1 adds neighbours */
        const __m256i a = flipped(load_block(tap, form), form.flip);
        const __m256i b = flipped(load_block(tap + stride, form), form.flip);
        const __m256i low = _mm256_maddubs_epi16(_mm256_unpacklo_epi8(a, b), ones);
        const __m256i high = _mm256_maddubs_epi16(_mm256_unpackhi_epi8(a, b), ones);
        sums->low = _mm256_add_epi16(sums->low, low);
        sums->high = _mm256_add_epi16(sums->high, high);
    }
    if (t < taps) {
        const __m256i a = flipped(load_block(tap, form), form.flip);
        sums->low = _mm256_add_epi16(sums->low, _mm256_unpacklo_epi8(a, zero));
        sums->high = _mm256_add_epi16(sums->high, _mm256_unpackhi_epi8(a, zero));
    }
}

/* Of a window of at most TAPS16 positions. */
INLINE sums16 small_sum(const pool_run *run, const uint8_t *first, const window_shape window,
                        const block_form form) {
    sums16 sums = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (int64_t plane = 0; plane < window.planes; plane++, first += run->plane_stride) {
        const uint8_t *line = first;
        for (int64_t r = 0; r < window.rows; r++, line += run->row_stride) {
            add_taps(&sums, line, window.taps, run->tap_stride, form);
        }
    }
    return sums;
}

enum { LARGE = 1 << 23 };

typedef struct {
    __m256i v[4]; /* 32 lanes in 32 bits, in the order of two unpacks */
} sums32;

INLINE void widen_into(sums32 *sums, sums16 more) {
    const __m256i zero = _mm256_setzero_si256();
    sums->v[0] = _mm256_add_epi32(sums->v[0], _mm256_unpacklo_epi16(more.low, zero));
    sums->v[1] = _mm256_add_epi32(sums->v[1], _mm256_unpackhi_epi16(more.low, zero));
    sums->v[2] = _mm256_add_epi32(sums->v[2], _mm256_unpacklo_epi16(more.high, zero));
    sums->v[3] = _mm256_add_epi32(sums->v[3], _mm256_unpackhi_epi16(more.high, zero));
}

/* Of a window of at most LARGE positions: its sum fits 31 bits. */
INLINE sums32 large_sum(const pool_run *run, const uint8_t *first, const window_shape window,
                        const block_form form) {
    const __m256i zero = _mm256_setzero_si256();
    sums32 sums = {{zero, zero, zero, zero}};
    for (int64_t plane = 0; plane < window.planes; plane++) {
        for (int64_t r = 0; r < window.rows; r++) {
            const uint8_t *tap = first + plane * run->plane_stride + r * run->row_stride;
            for (int64_t left = window.taps; left > 0; left -= TAPS16) {
                sums16 part = {zero, zero};
                const int64_t n = left < TAPS16 ? left : TAPS16;
                add_taps(&part, tap, n, run->tap_stride, form);
                widen_into(&sums, part);
                tap += TAPS16 * run->tap_stride;
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

INLINE __m256i divided(__m256i sums, const division *by) {
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

/* What the means of a run have in common. */
typedef struct {
    const mean_rule *rule;
    int64_t count, divisor;
    division by;
} mean_state;

/* Whether the parameters stay as they are. */
static int keeps(const mean_rule *rule) {
    return rule->ratio == 1 && rule->output_zero_point == rule->zero_point &&
           rule->quant_min == 0 && rule->quant_max == 255;
}

static mean_state state_of(const pool_run *run, const mean_rule *rule) {
    mean_state state = {
        .rule = rule,
        .count = run->planes * run->rows * run->taps,
        .divisor = divisor_of(rule, run),
    };
    if (keeps(rule) && 0 < state.divisor && state.divisor <= TAPS16 && state.count <= state.divisor) {
        state.by = division_by(state.divisor, state.count, rule->zero_point);
    }
    return state;
}

INLINE __m256i mean_block(const pool_run *run, const uint8_t *first, const window_shape window,
                          const mean_state *state, const block_form form) {
    if (state->by.exact) {
        const sums16 sums = small_sum(run, first, window, form);
        return flipped(_mm256_packus_epi16(divided(sums.low, &state->by),
                                           divided(sums.high, &state->by)),
                       form.flip);
    }
    const int64_t bias = state->count * state->rule->zero_point;
    const sums32 sums = large_sum(run, first, window, form);
    return flipped(rounded_means(sums, bias, state->divisor, state->rule), form.flip);
}

INLINE uint8_t mean_from(int64_t sum, const mean_state *state, uint8_t flip) {
    if (state->by.exact) {
        const __m256i mean = divided(_mm256_set1_epi16((int16_t)sum), &state->by);
        return (uint8_t)_mm256_extract_epi8(mean, 0) ^ flip;
    }
    const int64_t bias = state->count * state->rule->zero_point;
    return rounded_mean(sum - bias, state->divisor, state->rule) ^ flip;
}

/* ---- Blocks of lanes ------------------------------------------------------------------------ */

/* The means of a block, or the maxima if there is no state. */
INLINE void pool_block(const pool_run *run, const uint8_t *first, const window_shape window,
                       uint8_t *out, const mean_state *state, const block_form form) {
    const __m256i result = state ? mean_block(run, first, window, state, form)
                                 : max_block(run, first, window, form);
    store_block(out, result, form);
}

/* Groups of `width` lanes or more. */
INLINE void pool_wide(const pool_run *run, const window_shape window, uint8_t *out,
                      const mean_state *state, const block_form form) {
    const int64_t lanes = run->lanes, last = lanes - form.width;
    const uint8_t *first = run->input;
    for (int64_t group = 0; group < run->groups; group++) {
        for (int64_t start = 0; start < lanes; start += form.width) {
            const int64_t lane = start < last ? start : last;
            pool_block(run, first + lane * form.stride, window, out + lane, state, form);
        }
        first += run->group_stride;
        out += run->output_stride;
    }
}

/* Groups of less lanes: one block each. */
INLINE void pool_narrow(const pool_run *run, const window_shape window, uint8_t *out,
                        const mean_state *state, const block_form form) {
    const uint8_t *first = run->input;
    for (int64_t group = 0; group < run->groups; group++) {
        if (run->lanes == form.width || run->scratch_end - out >= form.width) {
            pool_block(run, first, window, out, state, form);
        } else {
            uint8_t block[32];
            pool_block(run, first, window, block, state, form);
            copy_short(block, out, run->lanes);
        }
        first += run->group_stride;
        out += run->output_stride;
    }
}

/* How many lanes are read for each group. */
static inline int64_t lanes_of_blocks(const pool_run *run) {
    const int64_t lanes = run->lanes;
    return lanes >= 32 ? lanes : lanes > 16 ? 32 : lanes > 8 ? 16 : 8;
}

INLINE void pool_shaped(const pool_run *run, const window_shape window, uint8_t *out,
                        const mean_state *state, const int stride, const uint8_t flip) {
    if (run->lanes >= 32) {
        pool_wide(run, window, out, state, (block_form){32, stride, flip});
    } else if (run->lanes > 16) {
        pool_narrow(run, window, out, state, (block_form){32, stride, flip});
    } else if (run->lanes > 8) {
        pool_narrow(run, window, out, state, (block_form){16, stride, flip});
    } else {
        pool_narrow(run, window, out, state, (block_form){8, stride, flip});
    }
}

INLINE void pool_blocks(const pool_run *run, uint8_t *out, const mean_state *state,
                        const int stride, const uint8_t flip) {
    const window_shape window = {run->planes, run->rows, run->taps};
    const int square = window.planes == 1 && window.rows == window.taps;
    if (square && window.taps == 2) {
        pool_shaped(run, (window_shape){1, 2, 2}, out, state, stride, flip);
    } else if (square && window.taps == 3) {
        pool_shaped(run, (window_shape){1, 3, 3}, out, state, stride, flip);
    } else {
        pool_shaped(run, window, out, state, stride, flip);
    }
}

/* ---- Single lanes ----------------------------------------------------------------------------
 * Windows whose taps follow each other, as lines of bytes. */

/* The bytes of `v` larger or added up, in four sums. */
INLINE __m256i joined(__m256i v, __m256i bytes, const int adds) {
    return adds ? _mm256_add_epi64(v, _mm256_sad_epu8(bytes, _mm256_setzero_si256()))
                : _mm256_max_epu8(v, bytes);
}

INLINE int64_t total_of(__m256i sums) {
    const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(sums),
                                      _mm256_extracti128_si256(sums, 1));
    return _mm_cvtsi128_si64(_mm_add_epi64(two, _mm_unpackhi_epi64(two, two)));
}

INLINE uint8_t largest_of(__m256i v) {
    __m128i best = _mm_max_epu8(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    best = _mm_max_epu8(best, _mm_srli_si128(best, 8));
    best = _mm_max_epu8(best, _mm_srli_si128(best, 4));
    best = _mm_max_epu8(best, _mm_srli_si128(best, 2));
    best = _mm_max_epu8(best, _mm_srli_si128(best, 1));
    return (uint8_t)_mm_cvtsi128_si32(best);
}

/* `whole` bytes of a line, a multiple of 32, and those under the mask in the last vector: its first
 * ones if it is the only vector, its last ones if it overlaps the one before. */
INLINE __m256i window_of_lines(const pool_run *run, const uint8_t *plane, const int64_t whole,
                               __m256i mask, const int adds, const uint8_t flip) {
    const int64_t last = whole ? run->taps - 32 : 0;
    __m256i result = _mm256_setzero_si256();
    for (int64_t p = 0; p < run->planes; p++, plane += run->plane_stride) {
        const uint8_t *line = plane;
        for (int64_t row = 0; row < run->rows; row++, line += run->row_stride) {
            for (int64_t at = 0; at < whole; at += 32) {
                result = joined(result, flipped(load(line + at), flip), adds);
            }
            const __m256i rest = _mm256_and_si256(flipped(load(line + last), flip), mask);
            result = joined(result, rest, adds);
        }
    }
    return result;
}

INLINE void pool_lines(const pool_run *run, uint8_t *out, const mean_state *state,
                       const uint8_t flip) {
    static const uint8_t ones_between[96] = {[32 ... 63] = 0xFF};
    const int64_t rest = run->taps % 32, whole = run->taps - rest;
    const __m256i mask = load(whole ? ones_between + rest : ones_between + 64 - rest);
    for (int64_t group = 0; group < run->groups; group++, out += run->output_stride) {
        const uint8_t *first = run->input + group * run->group_stride;
        for (int64_t lane = 0; lane < run->lanes; lane++, first += run->lane_stride) {
            const __m256i result =
                whole ? window_of_lines(run, first, whole, mask, state != NULL, flip)
                      : window_of_lines(run, first, 0, mask, state != NULL, flip);
            out[lane] = state ? mean_from(total_of(result), state, flip)
                              : largest_of(result) ^ flip;
        }
    }
}

/* ---- Sums of few channels ------------------------------------------------------------------
 * Pixels of up to FEW channels that lie side by side are a line of bytes, of which every
 * `channels`-th belongs to one channel. Vectors that are `channels` apart have its bytes in the
 * same places, so there are `channels` squared sums. */

enum { FEW = 4, WORTH_A_SUM = 16 }; /* the latter: taps in a line, for each of these times */

static inline int worth_lines(const pool_run *run) {
    return run->lanes <= FEW && run->lane_stride == 1 && run->tap_stride == run->lanes &&
           run->taps >= WORTH_A_SUM * run->lanes * run->lanes;
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
    return total_of(sums);
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

static void mean_of_lines(const pool_run *run, uint8_t *out, const mean_state *state,
                          uint8_t flip) {
    for (int64_t group = 0; group < run->groups; group++, out += run->output_stride) {
        const uint8_t *first = run->input + group * run->group_stride;
        int64_t sums[FEW] = {0};
        for (int64_t plane = 0; plane < run->planes; plane++, first += run->plane_stride) {
            for (int64_t row = 0; row < run->rows; row++) {
                const uint8_t *line = first + row * run->row_stride;
                add_line(line, run->taps * run->lanes, run->lanes, sums, flip);
            }
        }
        for (int64_t lane = 0; lane < run->lanes; lane++) {
            out[lane] = mean_from(sums[lane], state, flip);
        }
    }
}

/* ---- Runs ---------------------------------------------------------------------------------- */

/* How many groups can be read if each reads so many bytes, from its first row in each window. */
static int64_t readable(const pool_run *run, int64_t bytes) {
    const int64_t reach = (run->planes - 1) * run->plane_stride +
                          (run->rows - 1) * run->row_stride + bytes;
    int64_t groups = run->groups;
    while (groups > 0 && run->input + (groups - 1) * run->group_stride + reach > run->end) {
        groups--;
    }
    return groups;
}

/* The groups that are not done, by the specification. */
static void pool_rest(const pool_run *run, int64_t done, uint8_t *out, const mean_state *state,
                      uint8_t flip) {
    pool_run rest = *run;
    rest.input += done * run->group_stride;
    rest.groups -= done;
    out += done * run->output_stride;
    if (state) {
        pool_scalar.mean(&rest, out, state->rule, flip);
    } else {
        pool_scalar.max(&rest, out, flip);
    }
}

INLINE void pool_flipped(const pool_run *given, uint8_t *out, const mean_state *state,
                         const uint8_t flip) {
    pool_run run = *given; /* a local, which writing bytes cannot change */
    const int blocks = (run.lane_stride == 1 || run.lane_stride == 2) &&
                       (!state || state->count <= LARGE);
    if (state && worth_lines(&run)) {
        mean_of_lines(&run, out, state, flip);
    } else if (blocks) {
        const int64_t last_tap = (run.taps - 1) * run.tap_stride;
        run.groups = readable(given, last_tap + lanes_of_blocks(&run) * run.lane_stride);
        run.lane_stride == 1 ? pool_blocks(&run, out, state, 1, flip)
                             : pool_blocks(&run, out, state, 2, flip);
    } else if (run.tap_stride == 1) {
        const int64_t taps = run.taps < 32 ? 32 : run.taps;
        run.groups = readable(given, (run.lanes - 1) * run.lane_stride + taps);
        pool_lines(&run, out, state, flip);
    } else {
        run.groups = 0;
    }
    if (run.groups < given->groups) {
        pool_rest(given, run.groups, out, state, flip);
    }
}

static void max(const pool_run *run, uint8_t *out, uint8_t flip) {
    if (flip) {
        pool_flipped(run, out, NULL, 0x80);
    } else {
        pool_flipped(run, out, NULL, 0);
    }
}

static void mean(const pool_run *run, uint8_t *out, const mean_rule *rule, uint8_t flip) {
    const mean_state state = state_of(run, rule);
    if (state.count == 1 && state.divisor == 1 && keeps(rule)) { /* of a value: itself */
        max(run, out, flip);
    } else if (flip) {
        pool_flipped(run, out, &state, 0x80);
    } else {
        pool_flipped(run, out, &state, 0);
    }
}

static int64_t sum(const uint8_t *bytes, int64_t n, uint8_t flip) {
    const __m256i all = _mm256_set1_epi8(-1);
    const int64_t whole = n - n % 32;
    return masked_sum(bytes, 0, n, 1, all, flip) + pool_scalar.sum(bytes + whole, n - whole, flip);
}

const pool_kernels pool_avx2 = {.max = max, .mean = mean, .sum = sum};
