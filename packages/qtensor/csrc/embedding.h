/* Bags of rows of a quantized table: their sums, means or largest values. */
#ifndef QTENSOR_EMBEDDING_H
#define QTENSOR_EMBEDDING_H

#include <stdint.h>

/* Rows of whole bytes; integers of 4 or 2 bits lie several to a byte, the first in the lowest. */
typedef struct {
    const uint8_t *table;
    const float *scales, *zero_points; /* one for each row */
    int64_t rows, columns;
    int bits;
} quantized_table;

static inline int64_t row_bytes(const quantized_table *t) { return (t->columns * t->bits + 7) / 8; }

enum bag_mode { BAG_SUM, BAG_MEAN, BAG_MAX };

/* Bag b consists of indices[offsets[b]] ... indices[offsets[b + 1] - 1], where `count`, the number
 * of indices, stands for an offset that is missing. An empty bag is zero. */
typedef struct {
    const int64_t *indices, *offsets;
    int64_t count, offset_count, bags;
    const float *weights; /* of each index, for sums, or NULL */
    int64_t padding;      /* an index to leave out, or -1 */
    enum bag_mode mode;
} index_bags;

/* Reduces the rows of indices[begin] ... indices[end - 1], of which one at least is not padding, to
 * n columns from `first` on, which lies at the beginning of a byte. In float32 and in the order of
 * the indices, of v = ((float)q - zero_point) * scale: the sum of weight * v from 0 on, or the
 * largest from -infinity on, or the first that is NaN. */
typedef void embedding_reduce(const quantized_table *table, const index_bags *bags, int64_t begin,
                              int64_t end, int64_t first, int64_t n, float *out);

extern embedding_reduce embedding_reduce_scalar, embedding_reduce_avx2;

enum { BAGS_DONE = -1, BAGS_BAD_OFFSETS = -2 };

/* Having computed nothing, returns the position of the first index that is no row's, or
 * BAGS_BAD_OFFSETS unless they rise from 0 to `count` at most. */
int64_t embedding_bag(embedding_reduce *reduce, const quantized_table *table,
                      const index_bags *bags, float *output, int threads);

#endif
