/* depthwise_scalar.c in AVX2. Compiled with -mavx2, called only where the machine has it. */
#ifdef __AVX2__
#include <immintrin.h>

#include "depthwise.h"

enum {
    QUADS = LANES / 8, /* vectors of 8 channels */
    TILE = 4,          /* outputs at once: 8 sums for half of the channels, 4 done halves */
};


#define INLINE static inline __attribute__((always_inline))

static inline __m256i load(const int16_t *from) {
    return _mm256_load_si256((const __m256i *)from);
}

/* A pixel's bytes in one line; those of the second half may lie elsewhere. */
INLINE __m256i load_bytes(const uint8_t *first, const uint8_t *second, bool apart, __m256i flip) {
    const __m256i bytes =
        apart ? _mm256_loadu2_m128i((const __m128i *)second, (const __m128i *)first)
              : _mm256_loadu_si256((const __m256i *)first);
    return _mm256_xor_si256(bytes, flip);
}

INLINE void join_halves(const pixel_pairs *p, bool apart, int64_t count, uint8_t flip,
                        int32_t zero_point, int16_t *to) {
    const __m256i flips = _mm256_set1_epi8((int8_t)flip), zero = _mm256_setzero_si256();
    const __m256i zero_points = _mm256_set1_epi16((int16_t)zero_point);
    const uint8_t *upper = p->from[0][0], *upper_apart = p->from[0][1];
    const uint8_t *lower = p->from[1][0], *lower_apart = p->from[1][1];
    const int64_t upper_pitch = p->pitch[0][0], upper_apart_pitch = p->pitch[0][1];
    const int64_t lower_pitch = p->pitch[1][0], lower_apart_pitch = p->pitch[1][1];
    for (; count > 0; count--, to += JOINED) {
        __m256i a = load_bytes(upper, upper_apart, apart, flips);
        __m256i b = load_bytes(lower, lower_apart, apart, flips);
        __m256i low = _mm256_unpacklo_epi8(a, b), high = _mm256_unpackhi_epi8(a, b);
        __m256i quads[QUADS] = {_mm256_unpacklo_epi8(low, zero), _mm256_unpackhi_epi8(low, zero),
                                _mm256_unpacklo_epi8(high, zero), _mm256_unpackhi_epi8(high, zero)};
        for (int q = 0; q < QUADS; q++)
            _mm256_store_si256((__m256i *)(to + 16 * q), _mm256_sub_epi16(quads[q], zero_points));
        upper += upper_pitch;
        lower += lower_pitch;
        upper_apart += upper_apart_pitch;
        lower_apart += lower_apart_pitch;
    }
}

static void join(const pixel_pairs *pixels, int64_t count, uint8_t flip, int32_t zero_point,
                 int16_t *to) {
    const uint8_t *const(*from)[2] = pixels->from;
    if (from[0][1] == from[0][0] + CHANNELS && from[1][1] == from[1][0] + CHANNELS)
        join_halves(pixels, false, count, flip, zero_point, to);
    else
        join_halves(pixels, true, count, flip, zero_point, to);
}

/* GCC 12 interleaves outputs, runs out of registers and keeps sums in memory, or moves them from one
 * register to the next. As an instruction that it does not see into, the addition stays where it
 * is, and in place; a test looks for memory operands. */
INLINE void add_to(__m256i *sum, __m256i term) {
    __asm__ volatile("vpaddd %1, %0, %0" : "+x"(*sum) : "x"(term));
}

/* What a tile is compiled for, where these are constants. */
typedef struct {
    int64_t pitch;
    int64_t steps; /* or 0: as the line has them, in a loop */
    bool bounded;  /* whether bytes have other bounds than their own, or signs */
} variant;

/* One step of two quads. */
INLINE void add_step(const int16_t *a, const int16_t *w, int64_t pitch, int count,
                     __m256i (*acc)[2]) {
    __m256i w0 = load(w), w1 = load(w + 16);
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
        __m256i first = _mm256_madd_epi16(w0, load(a + i * pitch));
        __m256i second = _mm256_madd_epi16(w1, load(a + i * pitch + 16));
        add_to(&acc[i][0], first);
        add_to(&acc[i][1], second);
    }
}

/* Sums of two quads, from `quad` on, of `count` outputs. */
INLINE void add_products(const depthwise_line *line, variant v, const int16_t *staged, int quad,
                         int count, __m256i (*acc)[2]) {
    staged += 16 * quad;
    const int16_t *w = line->weights + 16 * quad, *a = staged + line->offsets[0];
    const __m256i w0 = load(w), w1 = load(w + 16);
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
        acc[i][0] = _mm256_madd_epi16(w0, load(a + i * v.pitch));
        acc[i][1] = _mm256_madd_epi16(w1, load(a + i * v.pitch + 16));
    }
    if (v.steps) {
#pragma GCC unroll 16
        for (int64_t s = 1; s < v.steps; s++)
            add_step(staged + line->offsets[s], w + s * JOINED, v.pitch, count, acc);
    } else {
        const int64_t steps = line->steps;
        for (int64_t s = 1; s < steps; s++) {
            w += JOINED;
            add_step(staged + line->offsets[s], w, v.pitch, count, acc);
        }
    }
}

static void sums(const depthwise_line *line, int64_t count, int32_t *sums) {
    const variant v = {line->pitch, 0, true};
    for (int64_t i = 0; i < count; i++, sums += LANES) {
        for (int quad = 0; quad < QUADS; quad += 2) {
            __m256i acc[1][2];
            add_products(line, v, line->staged + i * line->pitch, quad, 1, acc);
            for (int j = 0; j < 2; j++) { /* channels 4q .. and 16 + 4q .. */
                int32_t *to = sums + 4 * (quad + j);
                _mm_storeu_si128((__m128i *)to, _mm256_castsi256_si128(acc[0][j]));
                _mm_storeu_si128((__m128i *)(to + 16), _mm256_extracti128_si256(acc[0][j], 1));
            }
        }
    }
}

static inline __m256i rounded(__m256i sum, const depthwise_finish *f, int quad) {
    __m256 t = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_load_ps(f->multiplier + 8 * quad));
    return _mm256_cvtps_epi32(_mm256_add_ps(t, _mm256_load_ps(f->bias + 8 * quad)));
}

/* Two quads in 16 bits. */
static inline __m256i results(const __m256i *acc, const depthwise_finish *f, int quad) {
    __m256i both = _mm256_packs_epi32(rounded(acc[0], f, quad), rounded(acc[1], f, quad + 1));
    return _mm256_adds_epi16(both, _mm256_set1_epi16(f->zero_point));
}

INLINE void byte_tile(const depthwise_line *line, variant v, int64_t at, int count,
                      const depthwise_finish *f, uint8_t *out, int64_t stride) {
    const __m256i lowest = _mm256_set1_epi8((int8_t)f->lowest);
    const __m256i highest = _mm256_set1_epi8((int8_t)f->highest);
    const __m256i flip = _mm256_set1_epi8((int8_t)f->flip);
    const int16_t *staged = line->staged + at * v.pitch;
    __m256i acc[TILE][2], half[TILE];
    add_products(line, v, staged, 0, count, acc);
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
        half[i] = results(acc[i], f, 0);
        if (!v.steps) __asm__("" : "+m"(half[i])); /* or a sum has no register in the next loop */
    }
    add_products(line, v, staged, 2, count, acc);
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
        __m256i bytes = _mm256_packus_epi16(half[i], results(acc[i], f, 2));
        if (v.bounded) {
            bytes = _mm256_min_epu8(_mm256_max_epu8(bytes, lowest), highest);
            bytes = _mm256_xor_si256(bytes, flip);
        }
        _mm256_storeu_si256((__m256i *)(out + (at + i) * stride), bytes);
    }
}

INLINE void byte_line(const depthwise_line *line, variant v, int64_t count,
                      const depthwise_finish *f, uint8_t *out, int64_t stride) {
    int64_t at = 0, threes = -count & (TILE - 1); /* tiles of 3, so that those of 4 fill the rest */
    if (3 * threes > count) threes = 0;           /* of 1, 2 or 5 */
    for (; at + TILE <= count - 3 * threes; at += TILE)
        byte_tile(line, v, at, TILE, f, out, stride);
    for (; threes > 0; threes--, at += 3) byte_tile(line, v, at, 3, f, out, stride);
    for (; at < count; at++) byte_tile(line, v, at, 1, f, out, stride);
}

/* With a pitch that is a constant, all outputs of a tile have the same address registers; with a
 * number of steps that is one, there is no loop. */
static void bytes(const depthwise_line *line, int64_t count, const depthwise_finish *f,
                  uint8_t *out, int64_t stride) {
    enum { THREE = 6, FIVE = 15 }; /* steps of 3 x 3 and 5 x 5 taps */
    const int64_t pitch = line->pitch, steps = line->steps;
    if (f->lowest > 0 || f->highest < UINT8_MAX || f->flip || pitch > 2 * JOINED)
        byte_line(line, (variant){pitch, 0, true}, count, f, out, stride);
    else if (pitch == JOINED && steps == THREE)
        byte_line(line, (variant){JOINED, THREE, false}, count, f, out, stride);
    else if (pitch == JOINED && steps == FIVE)
        byte_line(line, (variant){JOINED, FIVE, false}, count, f, out, stride);
    else if (pitch == JOINED)
        byte_line(line, (variant){JOINED, 0, false}, count, f, out, stride);
    else if (steps == THREE)
        byte_line(line, (variant){2 * JOINED, THREE, false}, count, f, out, stride);
    else if (steps == FIVE)
        byte_line(line, (variant){2 * JOINED, FIVE, false}, count, f, out, stride);
    else
        byte_line(line, (variant){2 * JOINED, 0, false}, count, f, out, stride);
}

const struct depthwise_kernels depthwise_avx2 = {.join = join, .sums = sums, .bytes = bytes};
#else
typedef int no_avx2; /* a translation unit must not be empty */
#endif
