/* depthwise_scalar.c in AVX2. Compiled with -mavx2, called only where the machine has it. */
#ifdef __AVX2__
#include <immintrin.h>

#include "depthwise.h"

enum {
    QUADS = LANES / 8, /* vectors of 8 channels */
    TILE = 4,          /* outputs at once: 8 sums for half of the channels, 4 done halves */
};

static inline __m256i load(const int16_t *from) {
    return _mm256_load_si256((const __m256i *)from);
}

static inline __m256i load_bytes(const uint8_t *from, __m256i flip) {
    return _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)from), flip);
}

static void join(const uint8_t *first, int64_t first_pitch, const uint8_t *second,
                 int64_t second_pitch, int64_t count, uint8_t flip, int32_t zero_point,
                 int16_t *to) {
    const __m256i flips = _mm256_set1_epi8((int8_t)flip), zero = _mm256_setzero_si256();
    const __m256i zero_points = _mm256_set1_epi16((int16_t)zero_point);
    for (; count > 0; count--, first += first_pitch, second += second_pitch, to += JOINED) {
        __m256i a = load_bytes(first, flips), b = load_bytes(second, flips);
        __m256i low = _mm256_unpacklo_epi8(a, b), high = _mm256_unpackhi_epi8(a, b);
        __m256i quads[QUADS] = {_mm256_unpacklo_epi8(low, zero), _mm256_unpackhi_epi8(low, zero),
                                _mm256_unpacklo_epi8(high, zero), _mm256_unpackhi_epi8(high, zero)};
        for (int q = 0; q < QUADS; q++)
            _mm256_store_si256((__m256i *)(to + 16 * q), _mm256_sub_epi16(quads[q], zero_points));
    }
}

/* GCC 12 interleaves outputs, runs out of registers and keeps sums in memory. An empty asm through
 * which an output's sums pass keeps outputs apart; a test looks for memory operands. */
#define KEEP_OUTPUTS_APART(acc) __asm__ volatile("" : "+x"((acc)[0]), "+x"((acc)[1]))

/* Sums of two quads, from `quad` on, of `count` outputs. */
static inline __attribute__((always_inline)) void add_products(const depthwise_line *line,
                                                               const int16_t *staged,
                                                               int64_t pitch, int quad, int count,
                                                               __m256i (*acc)[2]) {
    staged += 16 * quad;
    const int16_t *w = line->weights + 16 * quad, *a = staged + line->offsets[0];
    __m256i w0 = load(w), w1 = load(w + 16);
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
        acc[i][0] = _mm256_madd_epi16(w0, load(a + i * pitch));
        acc[i][1] = _mm256_madd_epi16(w1, load(a + i * pitch + 16));
    }
    for (int64_t s = 1; s < line->steps; s++) {
        a = staged + line->offsets[s];
        w += JOINED;
        w0 = load(w), w1 = load(w + 16);
#pragma GCC unroll 4
        for (int i = 0; i < count; i++) {
            __m256i first = _mm256_madd_epi16(w0, load(a + i * pitch));
            __m256i second = _mm256_madd_epi16(w1, load(a + i * pitch + 16));
            acc[i][0] = _mm256_add_epi32(acc[i][0], first);
            acc[i][1] = _mm256_add_epi32(acc[i][1], second);
            KEEP_OUTPUTS_APART(acc[i]);
        }
    }
}

static void sums(const depthwise_line *line, int64_t count, int32_t *sums) {
    for (int64_t i = 0; i < count; i++, sums += LANES) {
        for (int quad = 0; quad < QUADS; quad += 2) {
            __m256i acc[1][2];
            add_products(line, line->staged + i * line->pitch, 0, quad, 1, acc);
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

static inline __attribute__((always_inline)) void byte_tile(const depthwise_line *line,
                                                            int64_t pitch, int64_t at, int count,
                                                            const depthwise_finish *f,
                                                            uint8_t *out, int64_t stride) {
    const __m256i lowest = _mm256_set1_epi8((int8_t)f->lowest);
    const __m256i highest = _mm256_set1_epi8((int8_t)f->highest);
    const __m256i flip = _mm256_set1_epi8((int8_t)f->flip);
    const int16_t *staged = line->staged + at * pitch;
    __m256i acc[TILE][2], half[TILE];
    add_products(line, staged, pitch, 0, count, acc);
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) half[i] = results(acc[i], f, 0);
    add_products(line, staged, pitch, 2, count, acc);
#pragma GCC unroll 4
    for (int i = 0; i < count; i++) {
        __m256i bytes = _mm256_packus_epi16(half[i], results(acc[i], f, 2));
        bytes = _mm256_min_epu8(_mm256_max_epu8(bytes, lowest), highest);
        bytes = _mm256_xor_si256(bytes, flip);
        _mm256_storeu_si256((__m256i *)(out + (at + i) * stride), bytes);
    }
}

static inline __attribute__((always_inline)) void byte_line(const depthwise_line *line,
                                                            int64_t pitch, int64_t count,
                                                            const depthwise_finish *f,
                                                            uint8_t *out, int64_t stride) {
    int64_t at = 0;
    for (; at + TILE <= count; at += TILE) byte_tile(line, pitch, at, TILE, f, out, stride);
    if (at == count) return;
    if (count >= TILE) /* some of them twice */
        byte_tile(line, pitch, count - TILE, TILE, f, out, stride);
    else
        for (; at < count; at++) byte_tile(line, pitch, at, 1, f, out, stride);
}

/* With a pitch that is a constant, all outputs of a tile have the same address registers. */
static void bytes(const depthwise_line *line, int64_t count, const depthwise_finish *f,
                  uint8_t *out, int64_t stride) {
    if (line->pitch == JOINED)
        byte_line(line, JOINED, count, f, out, stride);
    else if (line->pitch == 2 * JOINED)
        byte_line(line, 2 * JOINED, count, f, out, stride);
    else
        byte_line(line, line->pitch, count, f, out, stride);
}

const struct depthwise_kernels depthwise_avx2 = {.join = join, .sums = sums, .bytes = bytes};
#else
typedef int no_avx2; /* a translation unit must not be empty */
#endif
