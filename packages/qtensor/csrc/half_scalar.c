/* The specification of how half floats are converted. */
#include "half.h"

static void from_float16s(const uint16_t *x, float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        y[i] = from_float16(x[i]);
    }
}

static void to_float16s(const float *x, uint16_t *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        y[i] = to_float16(x[i]);
    }
}

const float_format half_scalar[3] = {
    [FLOAT16] = {from_float16s, to_float16s},
    [BFLOAT16] = {from_bfloat16s, to_bfloat16s},
};
