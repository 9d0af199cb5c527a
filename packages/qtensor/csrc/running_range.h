/* What an observer does with the range of a batch, and the parameters that follow from a range.
 * One value for each channel, or one in all: no kernels but those that find the range. */
#ifndef QTENSOR_RUNNING_RANGE_H
#define QTENSOR_RUNNING_RANGE_H

#include "statistics.h"

typedef struct {
    float *min, *max; /* infinity and minus infinity: nothing seen */
    int averaged;     /* else joined: the range of all that has been seen */
    float constant;   /* the weight of a new batch in the average */
} running_range;

enum { PER_TENSOR = -1 };

/* Takes in the finite values of the tensor, for each index of `axis` or PER_TENSOR. The first ones
 * set the range; a channel without any stays as it is. Returns how many values are not finite, or
 * -1 if there is no memory. */
int64_t observe_range(const statistics_kernels *kernels, const strided_tensor *tensor, int axis,
                      const running_range *range, int threads);

enum range_scheme { AFFINE, SYMMETRIC, REAL_ZERO_POINTS };

typedef struct {
    enum range_scheme scheme;
    int64_t quant_min, quant_max;
    int64_t zero_point; /* of the symmetric scheme */
    float eps;          /* the smallest scale */
    int power_of_two;   /* round scales up to powers of two */
} range_rule;

/* One for each channel. One kind of zero points is given, the others are NULL. */
typedef struct {
    float *scale;
    int32_t *zero_points;
    int64_t *wide_zero_points;
    float *real_zero_points;
} range_parameters;

/* The formulas are those of `affine_parameters` in _ops/running_range.py, in the same order of
 * float operations. Returns 0, having written nothing, if a minimum is above its maximum or NaN. */
int affine_parameters(const float *min, const float *max, int64_t channels,
                      const range_rule *rule, const range_parameters *parameters);

#endif
