/* What the scalar pooling kernels share with the others. */
#ifndef QTENSOR_POOL_SCALAR_H
#define QTENSOR_POOL_SCALAR_H

#include <math.h>

#include "pool.h"

/* See mean_rule. In double, |sum| and |divisor| < 2^43: a quotient of integers that is no tie is
 * then too far from one to be rounded to it. */
static inline uint8_t rounded_mean(int64_t sum, int64_t divisor, const mean_rule *rule) {
    const double lo = rule->quant_min - rule->output_zero_point;
    const double hi = rule->quant_max - rule->output_zero_point;
    double t = (double)sum * rule->ratio / (double)divisor;
    t = t > lo ? t : lo; /* also what 0 / 0 is */
    t = t < hi ? t : hi;
    return (uint8_t)((int32_t)lrint(t) + rule->output_zero_point);
}

#endif
