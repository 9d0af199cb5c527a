/* Products of float rows and int8 weights in plain C: the specification. */
#include "gemm.h"

void float_rows_scalar(const float *rows, int count, int64_t k, const int8_t *weights,
                       const int32_t *zero_points, float *sums) {
    for (int r = 0; r < count; r++, rows += k, sums += CHANNELS) {
        for (int c = 0; c < CHANNELS; c++) {
            float sum = 0;
            for (int64_t i = 0; i < k; i++)
                sum += rows[i] * (float)(weights[i * CHANNELS + c] - zero_points[c]);
            sums[c] = sum;
        }
    }
}
