/* The specification of the kernels of statistics.h. */
#include <math.h>

#include "statistics.h"

static inline void take(float v, float *lowest, float *highest, int64_t *nonfinite) {
    if (!isfinite(v)) {
        ++*nonfinite;
        return;
    }
    *lowest = v < *lowest ? v : *lowest;
    *highest = v > *highest ? v : *highest;
}

static void range(const float *x, int64_t n, value_range *range) {
    for (int64_t i = 0; i < n; i++) {
        take(x[i], &range->lowest, &range->highest, &range->nonfinite);
    }
}

static void column_ranges(const float *x, int64_t rows, int64_t stride, int64_t columns,
                          const channel_ranges *ranges) {
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t c = 0; c < columns; c++) {
            take(x[r * stride + c], ranges->lowest + c, ranges->highest + c,
                 ranges->nonfinite + c);
        }
    }
}

/* In double the product with a power of two is exact for every float. */
static void count(const float *x, int64_t n, const dyadic_bins *bins, uint32_t *counters,
                  value_range *range) {
    const double inverse_width = ldexp(1.0, -bins->exponent);
    for (int64_t i = 0; i < n; i++) {
        const double index = floor(x[i] * inverse_width) - bins->first;
        const int64_t bin = !(index >= 0)                 ? -1 /* NaN too */
                            : index < (double)bins->size ? (int64_t)index
                                                         : bins->size;
        counters[(bin + 1) * COUNTERS]++;
        take(x[i], &range->lowest, &range->highest, &range->nonfinite);
    }
}

const statistics_kernels statistics_scalar = {
    .range = range,
    .column_ranges = column_ranges,
    .count = count,
};
