/* See embedding.h. */
#include "embedding.h"

#include <string.h>

#include "parallel.h"

enum { BLOCK = 256 }; /* columns at a time, in buffers on the stack; a multiple of those per byte */

typedef struct {
    const elementwise_kernels *kernels;
    const quantized_table *table;
    const index_bags *bags;
    float *output;
} bag_context;

static int64_t row_bytes(const quantized_table *t) { return (t->columns * t->bits + 7) / 8; }

static void unpack(const uint8_t *packed, uint8_t *values, int64_t n, int bits) {
    const int per_byte = 8 / bits, mask = (1 << bits) - 1;
    for (int64_t i = 0; i < n; i++) {
        values[i] = (uint8_t)(packed[i / per_byte] >> (i % per_byte * bits) & mask);
    }
}

/* Adds `weight` times the columns from `first` on of one row. */
static void add_row(const bag_context *c, int64_t row, int64_t first, int64_t n, float weight,
                    float *sum) {
    const quantized_table *t = c->table;
    const uint8_t *bytes = t->table + row * row_bytes(t) + first * t->bits / 8;
    uint8_t integers[BLOCK];
    float values[BLOCK];
    if (t->bits != 8) {
        unpack(bytes, integers, n, t->bits);
        bytes = integers;
    }
    c->kernels->dequantize(bytes, values, n, t->scales[row], t->zero_points[row], 0);
    for (int64_t i = 0; i < n; i++) {
        sum[i] += weight * values[i];
    }
}

static void reduce_block(const bag_context *c, int64_t bag, int64_t first, int64_t n, float *sum) {
    const index_bags *b = c->bags;
    int64_t taken = 0;
    memset(sum, 0, (size_t)n * sizeof *sum);
    for (int64_t i = b->offsets[bag]; i < b->offsets[bag + 1]; i++) {
        if (b->indices[i] != b->padding) {
            add_row(c, b->indices[i], first, n, b->weights ? b->weights[i] : 1.0f, sum);
            taken++;
        }
    }
    for (int64_t i = 0; b->mean && taken && i < n; i++) {
        sum[i] /= (float)taken;
    }
}

static void bag_range(const void *context, int64_t begin, int64_t end) {
    const bag_context *c = context;
    const int64_t columns = c->table->columns;
    for (int64_t bag = begin; bag < end; bag++) {
        for (int64_t first = 0; first < columns; first += BLOCK) {
            const int64_t n = columns - first < BLOCK ? columns - first : BLOCK;
            reduce_block(c, bag, first, n, c->output + bag * columns + first);
        }
    }
}

int64_t embedding_bag(const elementwise_kernels *kernels, const quantized_table *table,
                      const index_bags *bags, float *output, int threads) {
    const int64_t count = bags->offsets[bags->bags];
    for (int64_t i = 0; i < count; i++) {
        if (bags->indices[i] < 0 || bags->indices[i] >= table->rows) {
            return i;
        }
    }
    const bag_context context = {kernels, table, bags, output};
    const int64_t work = count * table->columns / (bags->bags > 0 ? bags->bags : 1) + 1;
    parallel(bags->bags, GRAIN / 4 / work + 1, threads, bag_range, &context);
    return -1;
}
