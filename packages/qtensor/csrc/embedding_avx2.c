/* Up to 64 columns at a time, whose sums stay in registers; see embedding.h. */
#include <math.h>
#include <string.h>

#include "bytes_avx2.h"
#include "embedding.h"

/* Rows are asked for so many indices before they are read: they lie anywhere in a table that no
 * cache may hold. */
enum { AHEAD = 12 };

enum what { SUM, WEIGHTED_SUM, MAX };

/* The eight integers that begin with this byte, which is followed by bits - 1 more of the row. */
INLINE __m256i eight(const uint8_t *bytes, const int bits) {
    if (bits == 8) {
        return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)bytes));
    }
    __m256i packed; /* in each lane, which shifts its own integer down */
    if (bits == 4) {
        int32_t four;
        memcpy(&four, bytes, sizeof four);
        packed = _mm256_set1_epi32(four);
    } else {
        int16_t two;
        memcpy(&two, bytes, sizeof two);
        packed = _mm256_set1_epi16(two);
    }
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i shifts = _mm256_mullo_epi32(lanes, _mm256_set1_epi32(bits));
    return _mm256_and_si256(_mm256_srlv_epi32(packed, shifts), _mm256_set1_epi32((1 << bits) - 1));
}

INLINE void ask_for(const quantized_table *t, int64_t row, int64_t stride, int64_t from, int64_t n) {
    for (int64_t byte = 0; byte < n; byte += 64) {
        __builtin_prefetch(t->table + row * stride + from + byte);
    }
    __builtin_prefetch(t->scales + row);
    __builtin_prefetch(t->zero_points + row);
}

/* v where it is larger or NaN, unless `than` is NaN. */
INLINE __m256 larger(__m256 v, __m256 than) {
    const __m256 number = _mm256_cmp_ps(than, than, _CMP_ORD_Q);
    const __m256 more = _mm256_cmp_ps(v, than, _CMP_NLE_UQ);
    return _mm256_blendv_ps(than, v, _mm256_and_ps(more, number));
}

/* The 8 * vectors columns from `first` on. */
INLINE void reduce_block(const quantized_table *t, const index_bags *b, int64_t begin, int64_t end,
                         int64_t first, float *out, const int vectors, const int bits,
                         const enum what what) {
    const int64_t stride = row_bytes(t), from = first * bits / 8;
    __m256 sums[8];
    for (int k = 0; k < vectors; k++) {
        sums[k] = what == MAX ? _mm256_set1_ps(-INFINITY) : _mm256_setzero_ps();
    }
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = b->indices[i];
        if (i + AHEAD < b->count) {
            ask_for(t, b->indices[i + AHEAD], stride, from, vectors * bits);
        }
        if (row == b->padding) {
            continue;
        }
        const uint8_t *bytes = t->table + row * stride + from;
        const __m256 scale = _mm256_broadcast_ss(t->scales + row);
        const __m256 zero_point = _mm256_broadcast_ss(t->zero_points + row);
        for (int k = 0; k < vectors; k++) {
            const __m256 q = _mm256_cvtepi32_ps(eight(bytes + k * bits, bits));
            __m256 v = _mm256_mul_ps(_mm256_sub_ps(q, zero_point), scale);
            if (what == WEIGHTED_SUM) {
                v = _mm256_mul_ps(_mm256_broadcast_ss(b->weights + i), v);
            }
            sums[k] = what == MAX ? larger(v, sums[k]) : _mm256_add_ps(sums[k], v);
        }
    }
    for (int k = 0; k < vectors; k++) {
        _mm256_storeu_ps(out + 8 * k, sums[k]);
    }
}

INLINE void reduce(const quantized_table *t, const index_bags *b, int64_t begin, int64_t end,
                   int64_t first, int64_t n, float *out, const int bits, const enum what what) {
    int64_t done = 0;
    for (; done + 64 <= n; done += 64) {
        reduce_block(t, b, begin, end, first + done, out + done, 8, bits, what);
    }
    for (; done + 32 <= n; done += 32) {
        reduce_block(t, b, begin, end, first + done, out + done, 4, bits, what);
    }
    for (; done + 16 <= n; done += 16) {
        reduce_block(t, b, begin, end, first + done, out + done, 2, bits, what);
    }
    for (; done + 8 <= n; done += 8) {
        reduce_block(t, b, begin, end, first + done, out + done, 1, bits, what);
    }
    /* The last columns, some of them once more, if they begin with a byte. */
    if (done < n && n >= 8 && (n - 8) * bits % 8 == 0) {
        reduce_block(t, b, begin, end, first + n - 8, out + n - 8, 1, bits, what);
    } else if (done < n) {
        embedding_reduce_scalar(t, b, begin, end, first + done, n - done, out + done);
    }
}

#define REDUCE(bits, what) reduce(t, b, begin, end, first, n, out, bits, what)

/* The loops are compiled for each number of bits and each way to reduce. */
#define OF_EACH_WAY(bits)                                                                          \
    (b->mode == BAG_MAX ? REDUCE(bits, MAX)                                                        \
     : b->weights       ? REDUCE(bits, WEIGHTED_SUM)                                               \
                        : REDUCE(bits, SUM))

void embedding_reduce_avx2(const quantized_table *t, const index_bags *b, int64_t begin,
                           int64_t end, int64_t first, int64_t n, float *out) {
    if (t->bits == 8) {
        OF_EACH_WAY(8);
    } else if (t->bits == 4) {
        OF_EACH_WAY(4);
    } else {
        OF_EACH_WAY(2);
    }
}
