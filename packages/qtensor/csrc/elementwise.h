/* Quantize, dequantize, requantize, add, multiply, PReLU, functions as tables, embedding lookup.
 *
 * Two layers. The drivers know tensors: they cut the work into pieces, share them among threads
 * and call a kernel for each (elementwise.c, binary.c, bytewise.c, softmax.c). The kernels know
 * bytes: there is one table of them for each instruction set, `elementwise_scalar` is the
 * specification, and every other equals it bit for bit.
 */
#ifndef QTENSOR_ELEMENTWISE_H
#define QTENSOR_ELEMENTWISE_H

#include "blocks.h"
#include "bytes.h"
#include "fixed_point.h"

/* q = rne(clamp(x * inverse_scale + offset, quant_min - zero_point, quant_max - zero_point))
 *     + zero_point, where NaN clamps to the lower bound.
 * `offset` is a zero point that is not an integer (embedding tables); zero_point is 0 then. */
typedef struct {
    float inverse_scale, offset;
    int32_t zero_point, quant_min, quant_max;
} quantize_params;

/* How a real result t, in steps of the output's scale, becomes a byte:
 * rne(min(max(t, lo), hi)) + zero_point, NaN as lo; lo and hi lie within the bytes' range. */
typedef struct {
    float lo, hi;
    int32_t zero_point;
} output_params;

/* With A = a - a_zero_point and B likewise, in float32:
 * add: t = A * a_multiplier + B * b_multiplier; mul: t = (A * B) * a_multiplier. */
typedef struct {
    float a_multiplier, b_multiplier;
    int32_t a_zero_point, b_zero_point;
    output_params output;
    fixed_sum fixed; /* the same as add, in the kernels' unsigned bytes */
} binary_params;

/* t = (q - zero_point) * multiplier. Input and output may differ in sign, so the flips are here. */
typedef struct {
    float multiplier;
    int32_t zero_point;
    output_params output;
    uint8_t flip, output_flip;
    fixed_rescaling fixed; /* the same as requantize */
} requantize_params;

typedef void binary_kernel(const uint8_t *a, const uint8_t *b, uint8_t *out, int64_t n,
                           const binary_params *p, uint8_t flip);

typedef struct {
    void (*quantize)(const float *x, uint8_t *q, int64_t n, const quantize_params *p, uint8_t flip);
    /* x = ((float)q - zero_point) * scale */
    void (*dequantize)(const uint8_t *q, float *x, int64_t n, float scale, float zero_point,
                       uint8_t flip);
    /* The same with parameters for each element. */
    void (*quantize_channels)(const float *x, uint8_t *q, int64_t n, const float *inverse_scales,
                              const int32_t *zero_points, int32_t quant_min, int32_t quant_max,
                              uint8_t flip);
    void (*dequantize_channels)(const uint8_t *q, float *x, int64_t n, const float *scales,
                                const float *zero_points, uint8_t flip);
    binary_kernel *add, *mul;
    /* `rows` rows of `length` bytes each, to places in the output that are `stride` bytes apart. */
    void (*requantize)(const uint8_t *q, uint8_t *out, int64_t rows, int64_t length,
                       int64_t stride, const requantize_params *p);
    /* As requantize, and then t * slope where q < zero_point: slopes[i] if `each`, else one. */
    void (*prelu)(const uint8_t *q, uint8_t *out, int64_t n, const requantize_params *p,
                  const float *slopes, int each);
    /* out = table[q] for a table of 256 bytes. */
    void (*lookup)(const uint8_t *q, uint8_t *out, int64_t n, const uint8_t *table);
    /* Within bounds, which are flipped already. */
    void (*clamp)(const uint8_t *q, uint8_t *out, int64_t n, uint8_t low, uint8_t high,
                  uint8_t flip);
} elementwise_kernels;

extern const elementwise_kernels elementwise_scalar, elementwise_avx2;

/* ---- Drivers ---------------------------------------------------------------------------------
 * `threads` is the most they may use. Outputs are dense, and so are tensors that come as mere
 * addresses. Zero points are the tensors' own integers, without the 128 of a flip. */

/* A tensor as (outer, channels, inner) in memory order; channels is 1 per tensor. */
typedef struct {
    int64_t outer, channels, inner;
    const float *scales;        /* one for each channel */
    const int64_t *zero_points; /* likewise, or NULL: all zero */
    const float *real_zero_points; /* likewise, or NULL; excludes zero_points */
} channel_layout;

void quantize_tensor(const elementwise_kernels *kernels, const float_input *x, void *q,
                     enum element_type type, const channel_layout *layout, int64_t quant_min,
                     int64_t quant_max, int threads);

void dequantize_tensor(const elementwise_kernels *kernels, const operand *q, const float_output *x,
                       enum element_type type, const channel_layout *layout, int threads);

/* Fill in `fixed` where it gives the same results for all bytes; see fixed_point.h. The first
 * looks at 65 536 pairs of these, the second at 256. */
void prove_fixed_sum(binary_params *p, enum element_type type);
void prove_fixed_rescaling(requantize_params *p);

/* `kernel`: one of add and mul. */
void binary_tensors(binary_kernel *kernel, const operand *a, const operand *b, uint8_t *out,
                    enum element_type type, int64_t n, const binary_params *p, int threads);

/* `rows` rows of `length` bytes, requantized if there are parameters, to places in the output that
 * are `stride` bytes apart. */
void join_rows(const elementwise_kernels *kernels, const operand *q, uint8_t *out, int64_t rows,
               int64_t length, int64_t stride, const requantize_params *p, int threads);

/* One slope for all, or for each channel. */
void prelu_tensor(const elementwise_kernels *kernels, const operand *q, uint8_t *out,
                  int64_t outer, int64_t channels, int64_t inner, const requantize_params *p,
                  const float *slopes, int threads);

void lookup_tensor(const elementwise_kernels *kernels, const operand *q, uint8_t *out, int64_t n,
                   const uint8_t *table, int threads);

/* Softmax over the middle axis: with e = exponentials[max(q) - q] over the line, in double and in
 * this order, t = e * (inverse_scale / sum(e)) becomes a byte as output_params say. */
void softmax_tensor(const uint8_t *q, uint8_t *out, int64_t outer, int64_t size, int64_t inner,
                    const double exponentials[256], double inverse_scale, enum element_type type,
                    const output_params *p, int threads);

/* Row indices[i] of the u8 table, dequantized, to output row i. Returns the position of the first
 * index outside 0 ... rows - 1, in which case nothing was written, or -1. */
int64_t embedding_lookup(const elementwise_kernels *kernels, const uint8_t *table,
                         const float *scales, const float *zero_points, int64_t rows,
                         int64_t columns, const int64_t *indices, int64_t n, float *output,
                         int threads);

void clamp_tensor(const elementwise_kernels *kernels, const operand *q, uint8_t *out, int64_t n,
                  int32_t low, int32_t high, enum element_type type, int threads);

#endif
