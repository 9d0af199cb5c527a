/* See embedding.h. */
#include "embedding.h"

#include <string.h>

#include "parallel.h"

typedef struct {
    embedding_reduce *reduce;
    const quantized_table *table;
    const index_bags *bags;
    float *output;
} bag_context;

static int64_t end_of(const index_bags *b, int64_t bag) {
    return bag + 1 < b->offset_count ? b->offsets[bag + 1] : b->count;
}

/* How many of these indices are not padding. */
static int64_t taken(const index_bags *b, int64_t begin, int64_t end) {
    int64_t padding = 0;
    for (int64_t i = begin; b->padding >= 0 && i < end; i++) {
        padding += b->indices[i] == b->padding;
    }
    return end - begin - padding;
}

static void bag_range(const void *context, int64_t first_bag, int64_t last_bag) {
    const bag_context *c = context;
    const int64_t columns = c->table->columns;
    for (int64_t bag = first_bag; bag < last_bag; bag++) {
        float *out = c->output + bag * columns;
        const int64_t begin = c->bags->offsets[bag], end = end_of(c->bags, bag);
        const int64_t rows = taken(c->bags, begin, end);
        if (rows == 0) {
            memset(out, 0, (size_t)columns * sizeof *out);
            continue;
        }
        c->reduce(c->table, c->bags, begin, end, 0, columns, out);
        for (int64_t i = 0; c->bags->mode == BAG_MEAN && i < columns; i++) {
            out[i] /= (float)rows;
        }
    }
}

static int offsets_rise(const index_bags *b) {
    const int64_t n = b->offset_count;
    int rise = n == 0 || (b->offsets[0] == 0 && b->offsets[n - 1] <= b->count);
    for (int64_t i = 1; i < n; i++) {
        rise &= b->offsets[i - 1] <= b->offsets[i];
    }
    return rise;
}

static int all_are_rows(const index_bags *b, int64_t rows) {
    int bad = 0; /* without a branch for each */
    for (int64_t i = 0; i < b->count; i++) {
        bad |= (uint64_t)b->indices[i] >= (uint64_t)rows;
    }
    return !bad;
}

int64_t embedding_bag(embedding_reduce *reduce, const quantized_table *table,
                      const index_bags *bags, float *output, int threads) {
    if (!offsets_rise(bags)) {
        return BAGS_BAD_OFFSETS;
    }
    if (!all_are_rows(bags, table->rows)) {
        int64_t position = 0;
        while (bags->indices[position] >= 0 && bags->indices[position] < table->rows) {
            position++;
        }
        return position;
    }
    const bag_context context = {reduce, table, bags, output};
    const int64_t work = bags->count * table->columns / (bags->bags > 0 ? bags->bags : 1) + 1;
    parallel(bags->bags, GRAIN / 4 / work + 1, threads, bag_range, &context);
    return BAGS_DONE;
}
