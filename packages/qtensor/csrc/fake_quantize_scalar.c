/* The specification of the fake-quantize kernels. */
#include <math.h>

#include "fake_quantize_scalar.h"

static void forward(const float *x, float *y, int64_t n, const fake_quantize_params *p, int step) {
    for (int64_t i = 0; i < n; i++) {
        const fake_quantized v = fake_quantize_one(x[i], p, i * step);
        y[i] = v.difference * p->scale[i * step];
    }
}

static void backward(const float *grad, const float *x, float *grad_x, int64_t n,
                     const fake_quantize_params *p, int step) {
    for (int64_t i = 0; i < n; i++) {
        grad_x[i] = fake_quantize_one(x[i], p, i * step).inside ? grad[i] : 0.0f;
    }
}

static void learn(const float *grad, const float *x, float *grad_x, int64_t n,
                  const fake_quantize_params *p, int step, const fake_quantize_sums *sums) {
    if (step) {
        for (int64_t i = 0; i < n; i++) {
            learn_one(grad[i], x[i], grad_x + i, p, i, sums->scale + i, sums->zero_point + i);
        }
        return;
    }
    learn_lanes lanes = {{0}, {0}};
    learn_tail(grad, x, grad_x, 0, n, p, &lanes);
    add_lanes(&lanes, sums);
}

const fake_quantize_kernels fake_quantize_scalar = {
    .forward = forward,
    .backward = backward,
    .learn = learn,
};
