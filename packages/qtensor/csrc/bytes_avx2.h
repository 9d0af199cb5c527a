/* What the AVX2 kernels that work on single bytes share. */
#ifndef QTENSOR_BYTES_AVX2_H
#define QTENSOR_BYTES_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))

/* 32 bytes from four vectors of eight int32, each pack saturating. The packs work within 128-bit
 * lanes, so values whose order matters must come from `unpack_*` or be permuted afterwards. */
static inline __m256i pack_bytes(__m256i a, __m256i b, __m256i c, __m256i d, __m256i zero_point) {
    const __m256i low = _mm256_adds_epi16(_mm256_packs_epi32(a, b), zero_point);
    const __m256i high = _mm256_adds_epi16(_mm256_packs_epi32(c, d), zero_point);
    return _mm256_packus_epi16(low, high);
}

/* `flip` is a constant wherever this is used in a loop: each kernel is compiled for both. */
static inline __m256i flipped(__m256i v, const uint8_t flip) {
    return flip ? _mm256_xor_si256(v, _mm256_set1_epi8((char)flip)) : v;
}

static inline __m256i load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }

static inline void store(uint8_t *p, __m256i v) { _mm256_storeu_si256((__m256i *)p, v); }

#endif
