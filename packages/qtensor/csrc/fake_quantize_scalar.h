/* What the scalar fake-quantize kernels share with the others: one element, and the order in which
 * sums are taken. */
#ifndef QTENSOR_FAKE_QUANTIZE_SCALAR_H
#define QTENSOR_FAKE_QUANTIZE_SCALAR_H

#include <math.h>

#include "fake_quantize.h"

typedef struct {
    float difference; /* clamped - offset: what the scale is multiplied with */
    float error;      /* by how much rounding or clamping moved it, in steps; clamping to all */
    int inside;
} fake_quantized;

static inline fake_quantized fake_quantize_one(float x, const fake_quantize_params *p, int64_t i) {
    const float product = x * p->inverse_scale[i];
    const float t = rintf(product + p->offset[i]);
    float c = t > p->lo[i] ? t : p->lo[i]; /* NaN compares false: lo */
    c = c < p->hi[i] ? c : p->hi[i];
    fake_quantized result;
    result.inside = t >= p->lo[i] && t <= p->hi[i];
    result.difference = c + (0.0f - p->offset[i]); /* + 0 makes -0 a 0, as integers would */
    result.error = result.difference - (result.inside ? product : 0.0f);
    return result;
}

static inline void learn_one(float grad, float x, float *grad_x, const fake_quantize_params *p,
                             int64_t i, double *scale, double *zero_point) {
    const fake_quantized v = fake_quantize_one(x, p, i);
    *grad_x = v.inside ? grad : 0.0f;
    *scale += grad * v.error;
    *zero_point += v.inside ? 0.0f : grad;
}

/* Element i of a run is summed in lane i % 8, and the lanes in the end as a tree. */
enum { LANES = 8 };

typedef struct {
    double scale[LANES], zero_point[LANES];
} learn_lanes;

static inline void learn_tail(const float *grad, const float *x, float *grad_x, int64_t begin,
                              int64_t n, const fake_quantize_params *p, learn_lanes *lanes) {
    for (int64_t i = begin; i < n; i++) {
        learn_one(grad[i], x[i], grad_x + i, p, 0, lanes->scale + i % LANES,
                  lanes->zero_point + i % LANES);
    }
}

static inline double tree(const double *v) {
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}

static inline void add_lanes(const learn_lanes *lanes, const fake_quantize_sums *sums) {
    *sums->scale += tree(lanes->scale);
    *sums->zero_point += tree(lanes->zero_point);
}

#endif
