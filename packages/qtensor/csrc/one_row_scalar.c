/* The product of one row in plain C: the specification. */
#include "one_row.h"

void one_row_scalar(const struct one_row *row, const int8_t *weights, const int32_t *weight_sums,
                    int32_t *sums) {
    uint32_t *acc = (uint32_t *)sums;
    for (int c = 0; c < ROW_CHANNELS; c++)
        acc[c] = -(uint32_t)row->zero_point * (uint32_t)weight_sums[c];
    for (int64_t step = 0; step < row->groups * GROUP_STEPS; step++, weights += ROW_STEP_BYTES)
        for (int i = 0; i < ROW_STEP_BYTES; i++)
            acc[i / STEP] += (uint32_t)(row->bytes[step * STEP + i % STEP] * weights[i]);
}
