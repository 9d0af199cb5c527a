/* The interpolating kernels for AVX2, in blocks whose last may overlap the one before: of 32 or 8
 * channels, or, where each channel is an image of its own, of 8 columns. What lies between two
 * columns is used for all output rows. */
#include <string.h>

#include "bytes_avx2.h"
#include "interpolate.h"

typedef struct {
    __m256 low, high; /* which add up to 1 */
} weights;

static inline weights weights_of(__m256 high) {
    return (weights){_mm256_sub_ps(_mm256_set1_ps(1.0f), high), high};
}

static inline __m256 between(__m256 low, __m256 high, weights of) {
    return _mm256_add_ps(_mm256_mul_ps(of.low, low), _mm256_mul_ps(of.high, high));
}

/* How much of the other rows and planes is in each output row. */
typedef struct {
    weights rows[MAX_ROWS], planes;
} row_weights;

static inline row_weights row_weights_of(const interpolate_rows *rows) {
    row_weights of = {.planes = weights_of(_mm256_set1_ps(rows->plane_weight))};
    for (int64_t row = 0; row < rows->rows; row++) {
        of.rows[row] = weights_of(_mm256_set1_ps(rows->row_weights[row]));
    }
    return of;
}

/* `width` is the bytes of a block, a constant: 32, as four vectors in the order of two unpacks, or
 * 8, as one. */
typedef struct {
    __m256 v[4];
} block;

static inline int vectors_of(const int width) { return width / 8; }

/* The first 8 bytes, with their zero point subtracted: under the bits of MAGIC, as in centered(). */
INLINE __m256 centered8(__m128i bytes, __m256 zero_point, const uint8_t flip) {
    const __m256i wide = _mm256_cvtepu8_epi32(
        _mm256_castsi256_si128(flipped(_mm256_castsi128_si256(bytes), flip)));
    const __m256i bits = _mm256_or_si256(wide, _mm256_set1_epi32(MAGIC_BITS));
    return _mm256_sub_ps(_mm256_castsi256_ps(bits), zero_point);
}

/* The values at `at`, with their zero point subtracted. */
INLINE block block_at(const uint8_t *at, __m256 zero_point, const uint8_t flip, const int width) {
    block values;
    if (width == 32) {
        const __m256i bytes = flipped(load(at), flip);
        for (int k = 0; k < 4; k++) {
            values.v[k] = centered(bytes, k, zero_point);
        }
    } else {
        values.v[0] = centered8(_mm_loadl_epi64((const __m128i *)at), zero_point, flip);
    }
    return values;
}

INLINE block blocks_between(block low, block high, weights of, const int width) {
    block values;
    for (int k = 0; k < vectors_of(width); k++) {
        values.v[k] = between(low.v[k], high.v[k], of);
    }
    return values;
}

INLINE void store_rounded(block values, __m256i zero_point, uint8_t *out, const uint8_t flip,
                          const int width) {
    __m256i q[4];
    for (int k = 0; k < vectors_of(width); k++) {
        q[k] = _mm256_cvtps_epi32(values.v[k]);
    }
    if (width == 32) {
        store(out, flipped(pack_bytes(q[0], q[1], q[2], q[3], zero_point), flip));
        return;
    }
    const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(q[0]),
                                          _mm256_extracti128_si256(q[0], 1));
    const __m128i moved = _mm_adds_epi16(words, _mm256_castsi256_si128(zero_point));
    const __m256i bytes = _mm256_castsi128_si256(_mm_packus_epi16(moved, moved));
    _mm_storel_epi64((__m128i *)out, _mm256_castsi256_si128(flipped(bytes, flip)));
}

/* A block of each row, from what lies between columns in the planes' two rows. `planes` is 1 where
 * the higher plane has no weight: adding nothing of it changes nothing. */
INLINE void linear_rows(const interpolate_rows *rows, const row_weights *of, block columns[2][2],
                        uint8_t *out, const int64_t lanes, const uint8_t flip, const int planes,
                        const int width) {
    const __m256i zero_point = _mm256_set1_epi16((int16_t)rows->zero_point);
    for (int64_t row = 0; row < rows->rows; row++, out += rows->out.row) {
        block values = blocks_between(columns[0][0], columns[0][1], of->rows[row], width);
        if (planes == 2) {
            values = blocks_between(
                values, blocks_between(columns[1][0], columns[1][1], of->rows[row], width),
                of->planes, width);
        }
        if (lanes >= width) {
            store_rounded(values, zero_point, out, flip, width);
        } else {
            uint8_t bytes[32];
            store_rounded(values, zero_point, bytes, flip, width);
            copy_short(bytes, out, lanes);
        }
    }
}

/* ---- Blocks of channels -------------------------------------------------------------------- */

/* One block of pixel i in each row. */
INLINE void linear_block(const interpolate_rows *rows, const row_weights *of, int64_t i,
                         int64_t channel, uint8_t *out, const uint8_t flip, const int planes,
                         const int width) {
    const __m256 zero_point = magic_plus(rows->zero_point);
    const int64_t low = rows->width.low[i] * rows->in.column + channel;
    const int64_t high = rows->width.high[i] * rows->in.column + channel;
    const weights of_column = weights_of(_mm256_set1_ps(rows->width.weight[i]));
    block columns[2][2];
    for (int p = 0; p < planes; p++) {
        for (int r = 0; r < 2; r++) {
            const uint8_t *input = rows->input[p][r];
            columns[p][r] = blocks_between(block_at(input + low, zero_point, flip, width),
                                           block_at(input + high, zero_point, flip, width),
                                           of_column, width);
        }
    }
    linear_rows(rows, of, columns, out, width, flip, planes, width);
}

INLINE void linear_wide(const interpolate_rows *given, uint8_t *out, const uint8_t flip,
                        const int planes, const int width) {
    const interpolate_rows rows = *given; /* a local, which writing bytes cannot change */
    const row_weights of = row_weights_of(given);
    const int64_t last = rows.channels - width;
    for (int64_t i = 0; i < rows.width.output; i++, out += rows.channels) {
        for (int64_t start = 0; start < rows.channels; start += width) {
            const int64_t channel = start < last ? start : last;
            linear_block(&rows, &of, i, channel, out + channel, flip, planes, width);
        }
    }
}

/* ---- Blocks of columns --------------------------------------------------------------------- */

/* Up to 8 columns, whose neighbours may lie within 16 bytes. */
typedef struct {
    int64_t first; /* bytes from a row's begin to its lower neighbour */
    int near;
    __m128i places; /* if near: in the 16 bytes there, of 8 lower and 8 higher neighbours */
    weights of;
} column_block;

static column_block block_of_columns(const interpolate_rows *rows, int64_t start, int64_t lanes) {
    const int64_t *low = rows->width.low + start, *high = rows->width.high + start;
    column_block found = {.first = low[0] * rows->in.column};
    uint8_t places[16] = {0};
    float high_weights[8] = {0};
    for (int64_t i = 0; i < lanes; i++) {
        if ((high[i] - low[0]) * rows->in.column >= 16) {
            return found;
        }
        places[i] = (uint8_t)((low[i] - low[0]) * rows->in.column);
        places[8 + i] = (uint8_t)((high[i] - low[0]) * rows->in.column);
        high_weights[i] = rows->width.weight[start + i];
    }
    found.near = 1;
    found.places = _mm_loadu_si128((const __m128i *)places);
    found.of = weights_of(_mm256_loadu_ps(high_weights));
    return found;
}

/* What these columns are of the channels from `channel` on, for the specification to compute. */
static interpolate_rows part_of(const interpolate_rows *rows, int64_t start, int64_t lanes,
                                int64_t channel) {
    interpolate_rows part = *rows;
    for (int i = 0; i < 4; i++) {
        part.input[i / 2][i % 2] += channel * rows->in.channel;
    }
    part.channels -= channel;
    part.width.output = lanes;
    part.width.low += start;
    part.width.high += start;
    part.width.weight += start;
    return part;
}

/* How many channels can be read in such blocks. */
static int64_t readable(const interpolate_rows *rows, const column_block *columns) {
    int64_t channels = columns->near ? rows->channels : 0;
    while (channels > 0 && rows->input[1][1] + (channels - 1) * rows->in.channel +
                               columns->first + 16 > rows->end) {
        channels--;
    }
    return channels;
}

/* A block of a channel in each row. */
INLINE void linear_columns(const interpolate_rows *rows, const row_weights *of,
                           const column_block *columns, int64_t at, uint8_t *out,
                           const int64_t lanes, const uint8_t flip, const int planes) {
    const __m256 zero_point = magic_plus(rows->zero_point);
    block between_columns[2][2];
    for (int p = 0; p < planes; p++) {
        for (int r = 0; r < 2; r++) {
            const __m128i bytes = _mm_loadu_si128((const __m128i *)(rows->input[p][r] + at));
            const __m128i neighbours = _mm_shuffle_epi8(bytes, columns->places);
            between_columns[p][r].v[0] =
                between(centered8(neighbours, zero_point, flip),
                        centered8(_mm_srli_si128(neighbours, 8), zero_point, flip),
                        columns->of);
        }
    }
    linear_rows(rows, of, between_columns, out, lanes, flip, planes, 8);
}

static void nearest_columns(const interpolate_rows *rows, const column_block *columns, int64_t at,
                            uint8_t *out, const int64_t lanes) {
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(rows->input[0][0] + at));
    const __m128i nearest = _mm_shuffle_epi8(bytes, columns->places);
    if (lanes == 8) {
        _mm_storel_epi64((__m128i *)out, nearest);
    } else {
        uint8_t few[16];
        _mm_storeu_si128((__m128i *)few, nearest);
        copy_short(few, out, lanes);
    }
}

/* `planes` is 0 for the nearest pixel. */
INLINE void by_columns(const interpolate_rows *given, uint8_t *out, const uint8_t flip,
                       const int planes) {
    const interpolate_rows rows = *given;
    const row_weights of = row_weights_of(given);
    const int64_t count = rows.width.output, lanes = count < 8 ? count : 8;
    for (int64_t next = 0; next < count; next += 8) {
        const int64_t start = next < count - lanes ? next : count - lanes;
        const column_block columns = block_of_columns(&rows, start, lanes);
        const int64_t channels = readable(&rows, &columns);
        int64_t at = columns.first;
        uint8_t *to = out + start;
        for (int64_t i = 0; i < channels; i++, at += rows.in.channel, to += rows.out.channel) {
            if (planes) {
                linear_columns(&rows, &of, &columns, at, to, lanes, flip, planes);
            } else {
                nearest_columns(&rows, &columns, at, to, lanes);
            }
        }
        if (channels < rows.channels) {
            const interpolate_rows part = part_of(&rows, start, lanes, channels);
            planes ? interpolate_scalar.linear(&part, to, flip)
                   : interpolate_scalar.nearest(&part, to);
        }
    }
}

INLINE void linear_flipped(const interpolate_rows *rows, uint8_t *out, const uint8_t flip,
                           const int planes) {
    if (rows->out.column == 1) {
        by_columns(rows, out, flip, planes);
    } else if (rows->channels >= 32) {
        linear_wide(rows, out, flip, planes, 32);
    } else {
        linear_wide(rows, out, flip, planes, 8);
    }
}

static void linear(const interpolate_rows *rows, uint8_t *out, uint8_t flip) {
    if (rows->out.column != 1 && rows->channels < 8) {
        interpolate_scalar.linear(rows, out, flip);
    } else if (rows->plane_weight != 0) {
        flip ? linear_flipped(rows, out, 0x80, 2) : linear_flipped(rows, out, 0, 2);
    } else {
        flip ? linear_flipped(rows, out, 0x80, 1) : linear_flipped(rows, out, 0, 1);
    }
}

/* ---- Nearest ------------------------------------------------------------------------------- */

static void nearest(const interpolate_rows *rows, uint8_t *out) {
    if (rows->out.column == 1) {
        by_columns(rows, out, 0, 0);
    } else {
        interpolate_scalar.nearest(rows, out);
    }
}

const interpolate_kernels interpolate_avx2 = {.linear = linear, .nearest = nearest};
