/* The fake-quantize kernels for AVX2: eight elements at a time, the rest as the scalar ones do. */
#include <immintrin.h>

#include "fake_quantize_scalar.h"

#define INLINE static inline __attribute__((always_inline))

typedef struct {
    __m256 scale, inverse_scale, offset, negative_offset, lo, hi;
} params8;

INLINE __m256 load_params(const float *values, int64_t i, const int step) {
    return step ? _mm256_loadu_ps(values + i) : _mm256_broadcast_ss(values);
}

INLINE params8 params_at(const fake_quantize_params *p, int64_t i, const int step) {
    const __m256 offset = load_params(p->offset, i, step);
    return (params8){
        .scale = load_params(p->scale, i, step),
        .inverse_scale = load_params(p->inverse_scale, i, step),
        .offset = offset,
        .negative_offset = _mm256_sub_ps(_mm256_setzero_ps(), offset),
        .lo = load_params(p->lo, i, step),
        .hi = load_params(p->hi, i, step),
    };
}

INLINE __m256 rounded(__m256 product, const params8 *p) {
    return _mm256_round_ps(_mm256_add_ps(product, p->offset),
                           _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* max_ps and min_ps return their second operand if one is NaN. */
INLINE __m256 difference(__m256 t, const params8 *p) {
    return _mm256_add_ps(_mm256_min_ps(_mm256_max_ps(t, p->lo), p->hi), p->negative_offset);
}

INLINE __m256 inside(__m256 t, const params8 *p) {
    return _mm256_and_ps(_mm256_cmp_ps(t, p->lo, _CMP_GE_OQ), _mm256_cmp_ps(t, p->hi, _CMP_LE_OQ));
}

/* The params from element i on, for the tail. */
INLINE fake_quantize_params rest(const fake_quantize_params *p, int64_t i) {
    return (fake_quantize_params){p->scale + i, p->inverse_scale + i, p->offset + i, p->lo + i,
                                  p->hi + i};
}

INLINE void forward_step(const float *x, float *y, int64_t n, const fake_quantize_params *p,
                         const int step) {
    int64_t i = 0;
    params8 params = params_at(p, 0, 0);
    for (; i + 8 <= n; i += 8) {
        if (step) {
            params = params_at(p, i, 1);
        }
        const __m256 product = _mm256_mul_ps(_mm256_loadu_ps(x + i), params.inverse_scale);
        const __m256 steps = difference(rounded(product, &params), &params);
        _mm256_storeu_ps(y + i, _mm256_mul_ps(steps, params.scale));
    }
    const fake_quantize_params tail = rest(p, i * step);
    fake_quantize_scalar.forward(x + i, y + i, n - i, &tail, step);
}

static void forward(const float *x, float *y, int64_t n, const fake_quantize_params *p, int step) {
    if (step) {
        forward_step(x, y, n, p, 1);
    } else {
        forward_step(x, y, n, p, 0);
    }
}

INLINE void backward_step(const float *grad, const float *x, float *grad_x, int64_t n,
                          const fake_quantize_params *p, const int step) {
    int64_t i = 0;
    params8 params = params_at(p, 0, 0);
    for (; i + 8 <= n; i += 8) {
        if (step) {
            params = params_at(p, i, 1);
        }
        const __m256 product = _mm256_mul_ps(_mm256_loadu_ps(x + i), params.inverse_scale);
        const __m256 passes = inside(rounded(product, &params), &params);
        _mm256_storeu_ps(grad_x + i, _mm256_and_ps(_mm256_loadu_ps(grad + i), passes));
    }
    const fake_quantize_params tail = rest(p, i * step);
    fake_quantize_scalar.backward(grad + i, x + i, grad_x + i, n - i, &tail, step);
}

static void backward(const float *grad, const float *x, float *grad_x, int64_t n,
                     const fake_quantize_params *p, int step) {
    if (step) {
        backward_step(grad, x, grad_x, n, p, 1);
    } else {
        backward_step(grad, x, grad_x, n, p, 0);
    }
}

/* Adds eight floats to eight doubles in memory. */
INLINE void add_doubles(double *sums, __m256 values) {
    const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(values));
    const __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(values, 1));
    _mm256_storeu_pd(sums, _mm256_add_pd(_mm256_loadu_pd(sums), low));
    _mm256_storeu_pd(sums + 4, _mm256_add_pd(_mm256_loadu_pd(sums + 4), high));
}

INLINE void learn8(const float *grad, const float *x, float *grad_x, const params8 *p,
                   double *scale, double *zero_point) {
    const __m256 product = _mm256_mul_ps(_mm256_loadu_ps(x), p->inverse_scale);
    const __m256 t = rounded(product, p), passes = inside(t, p), g = _mm256_loadu_ps(grad);
    const __m256 error = _mm256_sub_ps(difference(t, p), _mm256_and_ps(product, passes));
    _mm256_storeu_ps(grad_x, _mm256_and_ps(g, passes));
    add_doubles(scale, _mm256_mul_ps(g, error));
    add_doubles(zero_point, _mm256_andnot_ps(passes, g));
}

static void learn(const float *grad, const float *x, float *grad_x, int64_t n,
                  const fake_quantize_params *p, int step, const fake_quantize_sums *sums) {
    int64_t i = 0;
    if (step) {
        for (; i + 8 <= n; i += 8) {
            const params8 params = params_at(p, i, 1);
            learn8(grad + i, x + i, grad_x + i, &params, sums->scale + i, sums->zero_point + i);
        }
        const fake_quantize_params tail = rest(p, i);
        const fake_quantize_sums tail_sums = {sums->scale + i, sums->zero_point + i};
        fake_quantize_scalar.learn(grad + i, x + i, grad_x + i, n - i, &tail, 1, &tail_sums);
        return;
    }
    const params8 params = params_at(p, 0, 0);
    learn_lanes lanes = {{0}, {0}};
    for (; i + 8 <= n; i += 8) {
        learn8(grad + i, x + i, grad_x + i, &params, lanes.scale, lanes.zero_point);
    }
    learn_tail(grad, x, grad_x, i, n, p, &lanes);
    add_lanes(&lanes, sums);
}

const fake_quantize_kernels fake_quantize_avx2 = {
    .forward = forward,
    .backward = backward,
    .learn = learn,
};
