/* depthwise_scalar.c in AVX2. Compiled with -mavx2, called only where the machine has it.
 *
 * One row (output pixel) of 32 channels at a time. 16-bit sums of the channels are widened into two
 * accumulators, for even and for odd channels, which takes no shuffle. */
#ifdef __AVX2__
#include <immintrin.h>

#include "gemm.h"

static inline __m256i load(const int8_t *weights) {
    return _mm256_load_si256((const __m256i *)weights);
}

typedef struct {
    __m256i low, high; /* channels 0-7 and 16-23, 8-15 and 24-31, the bytes of two taps for each */
} taps;

static inline __m256i load_bytes(const uint8_t *bytes) {
    return _mm256_loadu_si256((const __m256i *)bytes);
}

static inline taps load_taps(const uint8_t *row, const int32_t *offset) {
    __m256i a = load_bytes(row + offset[0]), b = load_bytes(row + offset[1]);
    return (taps){_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b)};
}

static inline void widen_sum(__m256i *acc, __m256i sum) {
    acc[0] = _mm256_add_epi32(acc[0], _mm256_madd_epi16(sum, _mm256_set1_epi32(1)));
    acc[1] = _mm256_add_epi32(acc[1], _mm256_madd_epi16(sum, _mm256_set1_epi32(1 << 16)));
}

/* The same from products that need 32 bits: the bytes are widened first. */
static inline void add_wide(__m256i *acc, __m256i bytes, const int8_t *weights) {
    const __m256i even = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1));
    const __m256i odd = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15, -1));
    __m256i first = _mm256_shuffle_epi8(bytes, even), second = _mm256_shuffle_epi8(bytes, odd);
    acc[0] = _mm256_add_epi32(acc[0], _mm256_madd_epi16(first, load(weights)));
    acc[1] = _mm256_add_epi32(acc[1], _mm256_madd_epi16(second, load(weights + 32)));
}

/* Eight channels of each half, from their even and odd ones. */
static inline void store_eights(const __m256i *acc, const int32_t *start, int32_t *out) {
    __m256i low = _mm256_unpacklo_epi32(acc[0], acc[1]);
    __m256i high = _mm256_unpackhi_epi32(acc[0], acc[1]);
    for (int h = 0; h < HALVES; h++) {
        __m256i from = _mm256_loadu_si256((const __m256i *)(start + h * CHANNELS));
        __m256i sums = h ? _mm256_permute2x128_si256(low, high, 0x31)
                         : _mm256_permute2x128_si256(low, high, 0x20);
        _mm256_storeu_si256((__m256i *)(out + h * HALF_SUMS), _mm256_add_epi32(sums, from));
    }
}

static inline void depthwise_row(const uint8_t *row, const panel *p, const int32_t *start,
                                 int32_t *out) {
    __m256i acc[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                      _mm256_setzero_si256()};
    const int32_t *offset = p->offsets;
    const int8_t *w = p->weights;
    for (int32_t s = p->pairs; s > 0; s--, offset += 4, w += 2 * STEP_BYTES) {
        taps x = load_taps(row, offset), y = load_taps(row, offset + 2);
        __m256i low = _mm256_maddubs_epi16(x.low, load(w));
        __m256i high = _mm256_maddubs_epi16(x.high, load(w + 32));
        low = _mm256_add_epi16(low, _mm256_maddubs_epi16(y.low, load(w + 64)));
        high = _mm256_add_epi16(high, _mm256_maddubs_epi16(y.high, load(w + 96)));
        widen_sum(acc, low);
        widen_sum(acc + 2, high);
    }
    for (int32_t s = p->single[0]; s > 0; s--, offset += 2, w += STEP_BYTES) {
        taps x = load_taps(row, offset);
        widen_sum(acc, _mm256_maddubs_epi16(x.low, load(w)));
        widen_sum(acc + 2, _mm256_maddubs_epi16(x.high, load(w + 32)));
    }
    for (int32_t s = p->wide; s > 0; s--, offset += 2, w += WIDE_BYTES) {
        taps x = load_taps(row, offset);
        add_wide(acc, x.low, w);
        add_wide(acc + 2, x.high, w + 64);
    }
    store_eights(acc, start, out);
    store_eights(acc + 2, start + 8, out + 8);
}

void depthwise_avx2(const uint8_t *const *rows, int count, const panel *p, const int32_t *start,
                    int32_t *acc) {
    for (int r = 0; r < count; r++) depthwise_row(rows[r], p, start, acc + r * CHANNELS);
}
#else
typedef int no_avx2; /* a translation unit must not be empty */
#endif
