/* Bags of rows of a quantized table, summed or averaged. */
#ifndef QTENSOR_EMBEDDING_H
#define QTENSOR_EMBEDDING_H

#include "elementwise.h"

/* Rows of whole bytes; integers of 4 or 2 bits lie several to a byte, the first in the lowest. */
typedef struct {
    const uint8_t *table;
    const float *scales, *zero_points; /* one for each row */
    int64_t rows, columns;
    int bits;
} quantized_table;

/* Bag b consists of indices[offsets[b]] ... indices[offsets[b + 1] - 1]. */
typedef struct {
    const int64_t *indices, *offsets;
    int64_t bags;
    const float *weights; /* of each index, or NULL */
    int64_t padding;      /* an index to leave out, or -1 */
    int mean;             /* else the sum; an empty bag is zero */
} index_bags;

/* Rows are added in the order of their indices, in float32. Returns the position of the first index
 * that is no row's, having computed nothing, or -1. */
int64_t embedding_bag(const elementwise_kernels *kernels, const quantized_table *table,
                      const index_bags *bags, float *output, int threads);

#endif
