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

/* 2^23 as a float has the bits 0x4B000000, and with a small integer v in its low bits it is
 * 2^23 + v. Putting bytes under these bits is thus a conversion, and subtracting
 * 2^23 + zero_point leaves v - zero_point exactly, if the zero point is an integer. */
static const float MAGIC = 0x1p23f;
enum { MAGIC_BITS = 0x4B000000 };

static inline __m256 magic_plus(int32_t zero_point) {
    return _mm256_set1_ps(MAGIC + (float)zero_point);
}

/* Of 32 bytes minus their zero point, vector k of four in the order of two unpacks. */
INLINE __m256 centered(__m256i bytes, const int k, __m256 magic_zero_point) {
    const __m256i zero = _mm256_setzero_si256(), magic = _mm256_set1_epi16(MAGIC_BITS >> 16);
    const __m256i wide =
        k < 2 ? _mm256_unpacklo_epi8(bytes, zero) : _mm256_unpackhi_epi8(bytes, zero);
    const __m256i bits =
        k % 2 ? _mm256_unpackhi_epi16(wide, magic) : _mm256_unpacklo_epi16(wide, magic);
    return _mm256_sub_ps(_mm256_castsi256_ps(bits), magic_zero_point);
}

static inline __m256i load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }

static inline void store(uint8_t *p, __m256i v) { _mm256_storeu_si256((__m256i *)p, v); }

#endif
