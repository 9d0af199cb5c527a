/* Quantize, dequantize, add and embedding lookup.
 *
 * Two layers. The drivers (elementwise.c) know tensors: they cut the work into pieces, share
 * them among threads and call a kernel for each. The kernels know bytes: there is one table of
 * them for each instruction set, `elementwise_scalar` is the specification, and every other
 * equals it bit for bit.
 */
#ifndef QTENSOR_ELEMENTWISE_H
#define QTENSOR_ELEMENTWISE_H

#include "bytes.h"

/* q = rne(clamp(x * inverse_scale + offset, quant_min - zero_point, quant_max - zero_point))
 *     + zero_point, where NaN clamps to the lower bound.
 * `offset` is a zero point that is not an integer (embedding tables); zero_point is 0 then. */
typedef struct {
    float inverse_scale, offset;
    int32_t zero_point, quant_min, quant_max;
} quantize_params;

/* t = (a - a_zero_point) * a_multiplier + (b - b_zero_point) * b_multiplier, in float32;
 * out = rne(min(max(t, lo), hi)) + zero_point; lo and hi lie within the bytes' range. */
typedef struct {
    float a_multiplier, b_multiplier, lo, hi;
    int32_t a_zero_point, b_zero_point, zero_point;
} add_params;

typedef struct {
    void (*quantize)(const float *x, uint8_t *q, int64_t n, const quantize_params *p, uint8_t flip);
    /* x = ((float)q - zero_point) * scale */
    void (*dequantize)(const uint8_t *q, float *x, int64_t n, float scale, float zero_point,
                       uint8_t flip);
    void (*add)(const uint8_t *a, const uint8_t *b, uint8_t *out, int64_t n, const add_params *p,
                uint8_t flip);
} elementwise_kernels;

extern const elementwise_kernels elementwise_scalar, elementwise_avx2;

/* ---- Drivers ---------------------------------------------------------------------------------
 * `threads` is the most they may use. Tensors are dense. */

/* A tensor as (outer, channels, inner) in memory order; channels is 1 per tensor. */
typedef struct {
    int64_t outer, channels, inner;
    const float *scales;        /* one for each channel */
    const int64_t *zero_points; /* likewise, or NULL: all zero */
    const float *real_zero_points; /* likewise, or NULL; excludes zero_points */
} channel_layout;

void quantize_tensor(const elementwise_kernels *kernels, const float *x, void *q,
                     enum element_type type, const channel_layout *layout, int64_t quant_min,
                     int64_t quant_max, int threads);

void dequantize_tensor(const elementwise_kernels *kernels, const void *q, float *x,
                       enum element_type type, const channel_layout *layout, int threads);

/* Zero points as the tensors' own integers, without the 128 of a flip; so in all drivers. */
void add_tensors(const elementwise_kernels *kernels, const uint8_t *a, const uint8_t *b,
                 uint8_t *out, enum element_type type, int64_t n, const add_params *p,
                 int threads);

/* Row indices[i] of the u8 table, dequantized, to output row i. Returns the position of the first
 * index outside 0 ... rows - 1, in which case nothing was written, or -1. */
int64_t embedding_lookup(const elementwise_kernels *kernels, const uint8_t *table,
                         const float *scales, const float *zero_points, int64_t rows,
                         int64_t columns, const int64_t *indices, int64_t n, float *output,
                         int threads);

#endif
