/* The specification of embedding_reduce; see embedding.h. */
#include <math.h>

#include "embedding.h"

static float value(const quantized_table *t, int64_t row, int64_t column) {
    const int per_byte = 8 / t->bits, mask = (1 << t->bits) - 1;
    const int byte = t->table[row * row_bytes(t) + column / per_byte];
    const int q = byte >> (column % per_byte * t->bits) & mask;
    return ((float)q - t->zero_points[row]) * t->scales[row];
}

void embedding_reduce_scalar(const quantized_table *table, const index_bags *bags, int64_t begin,
                             int64_t end, int64_t first, int64_t n, float *out) {
    for (int64_t column = 0; column < n; column++) {
        float sum = 0.0f, max = -INFINITY;
        for (int64_t i = begin; i < end; i++) {
            if (bags->indices[i] != bags->padding) {
                const float v = value(table, bags->indices[i], first + column);
                sum += bags->weights ? bags->weights[i] * v : v;
                if (max == max && !(v <= max)) max = v;
            }
        }
        out[column] = bags->mode == BAG_MAX ? max : sum;
    }
}
