/* Pooling of images of up to three dimensions, and means over any.
 *
 * The drivers (pool.c) cut an output into rows of pixels, share these among threads and call a
 * kernel for each. There is one table of kernels for each instruction set; `pool_scalar` is the
 * specification, and every other equals it bit for bit. */
#ifndef QTENSOR_POOL_H
#define QTENSOR_POOL_H

#include "bytes.h"

/* What a pooling window covers along one axis. */
typedef struct {
    int64_t first, taps; /* inside the input: positions first, first + dilation, ... */
    int64_t extent;      /* what the window counts as when a mean is taken */
} pool_span;

/* Output pixels side by side that cover columns alike: each begins `step` after the one before. */
typedef struct {
    pool_span columns; /* of the first */
    int64_t step, pixels;
} pool_run;

/* A row of output pixels, or a part of one. A pixel is its channels, in consecutive bytes. */
typedef struct {
    const uint8_t *input; /* column 0 of the first row that the windows cover */
    const uint8_t *end;   /* of the whole input: nothing beyond may be read */
    int64_t planes, plane_stride; /* planes they cover, all alike; bytes between two of them */
    int64_t rows, row_stride;     /* rows of a plane */
    int64_t tap_stride;           /* bytes between two columns that a window covers */
    int64_t channels;
    const pool_run *runs;
    int64_t run_count;
    int64_t extent; /* of the planes and rows */
} pool_row;

/* The mean of a window:
 *     rne(clamp(sum(q - zero_point) * ratio / divisor)) + output_zero_point,
 * clamped so that the result lies within quant_min ... quant_max. The divisor is the window's
 * extent, unless it is overridden. */
typedef struct {
    int32_t zero_point, output_zero_point, quant_min, quant_max;
    double ratio;              /* input scale / output scale */
    int64_t divisor_override; /* 0: none */
} mean_rule;

static inline int64_t divisor_of(const mean_rule *rule, const pool_row *row, const pool_run *run) {
    return rule->divisor_override ? rule->divisor_override : row->extent * run->columns.extent;
}

typedef struct {
    /* The largest value of each channel; of an empty window, the smallest one there is. */
    void (*max)(const pool_row *row, uint8_t *out, uint8_t flip);
    void (*mean)(const pool_row *row, uint8_t *out, const mean_rule *rule, uint8_t flip);
    int64_t (*sum)(const uint8_t *bytes, int64_t n, uint8_t flip);
} pool_kernels;

extern const pool_kernels pool_scalar, pool_avx2;

/* ---- Drivers ---------------------------------------------------------------------------------
 * `threads` is the most they may use. */

/* One axis of a pooling operator. kernel == 0 means adaptive: `output` windows that cover the
 * input evenly, the i-th from floor(i * input / output) to ceil((i + 1) * input / output). */
typedef struct {
    int64_t input, output, kernel, stride, padding, dilation;
} pool_axis;

/* What is pooled: NDHWC, as the output is. Where there are fewer axes, the others have size 1. */
typedef struct {
    int64_t batch, channels;
    pool_axis depth, height, width;
} pool_shape;

void max_pool(const pool_kernels *kernels, const uint8_t *input, uint8_t *output,
              enum element_type type, const pool_shape *shape, int threads);

/* With count_padding a window's extent includes its padding, which counts as real zero. The
 * rule's integers are the tensors' own, without the 128 of a flip. */
void mean_pool(const pool_kernels *kernels, const uint8_t *input, uint8_t *output,
               enum element_type type, const pool_shape *shape, const mean_rule *rule,
               int count_padding, int threads);

#endif
