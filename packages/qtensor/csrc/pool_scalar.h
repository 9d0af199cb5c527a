/* What the scalar pooling kernels share with the others. */
#ifndef QTENSOR_POOL_SCALAR_H
#define QTENSOR_POOL_SCALAR_H

#include <math.h>

#include "pool.h"

/* rne(sum / divisor) + zero_point within 0 ... 255. In double, |sum| and |divisor| < 2^43: a
 * quotient of integers that is no tie is then too far from one to be rounded to it. */
static inline uint8_t rounded_mean(int64_t sum, int64_t divisor, int32_t zero_point) {
    double t = (double)sum / (double)divisor;
    t = t > -zero_point ? t : -zero_point;
    t = t < 255 - zero_point ? t : 255 - zero_point;
    return (uint8_t)((int32_t)lrint(t) + zero_point);
}

#endif
