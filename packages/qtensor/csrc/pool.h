/* Pooling of images of up to three dimensions, and means over any.
 *
 * The drivers (pool.c) cut an output into runs of windows that are alike, share these among threads
 * and call a kernel for each. There is one table of kernels for each instruction set; `pool_scalar`
 * is the specification, and every other equals it bit for bit. */
#ifndef QTENSOR_POOL_H
#define QTENSOR_POOL_H

#include "blocks.h"
#include "bytes.h"
#include "images.h"

/* Windows of one shape in `groups`, each of `lanes` whose outputs lie side by side. Where channels
 * do, these are the lanes, and the pixels of a row the groups; else pixels are the lanes, and
 * channels, each an image of its own, the groups. All strides are in bytes. */
typedef struct {
    const uint8_t *input;         /* where the first window begins */
    const uint8_t *end;           /* of the whole input: nothing beyond may be read */
    int64_t planes, plane_stride; /* that a window covers */
    int64_t rows, row_stride;     /* of a plane */
    int64_t taps, tap_stride;     /* of a row */
    int64_t extent;               /* what a window counts as when a mean is taken */
    int64_t lanes, lane_stride;
    int64_t groups, group_stride, output_stride;
    const uint8_t *scratch_end; /* outputs before it may be overwritten by those that precede them */
} pool_run;

/* The mean of a window:
 *     rne(clamp(sum(q - zero_point) * ratio / divisor)) + output_zero_point,
 * clamped so that the result lies within quant_min ... quant_max. The divisor is the window's
 * extent, unless it is overridden. */
typedef struct {
    int32_t zero_point, output_zero_point, quant_min, quant_max;
    double ratio;              /* input scale / output scale */
    int64_t divisor_override; /* 0: none */
} mean_rule;

static inline int64_t divisor_of(const mean_rule *rule, const pool_run *run) {
    return rule->divisor_override ? rule->divisor_override : run->extent;
}

typedef struct {
    /* The largest value of each window; of an empty one, the smallest there is. */
    void (*max)(const pool_run *run, uint8_t *out, uint8_t flip);
    void (*mean)(const pool_run *run, uint8_t *out, const mean_rule *rule, uint8_t flip);
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

typedef struct {
    image_layout images;
    pool_axis depth, height, width;
} pool_shape;

void max_pool(const pool_kernels *kernels, const uint8_t *input, uint8_t *output,
              enum element_type type, const pool_shape *shape, int threads);

/* With count_padding a window's extent includes its padding, which counts as real zero. The
 * rule's integers are the tensors' own, without the 128 of a flip. */
void mean_pool(const pool_kernels *kernels, const uint8_t *input, uint8_t *output,
               enum element_type type, const pool_shape *shape, const mean_rule *rule,
               int count_padding, int threads);

/* The means of every `size` elements, one after the other, `count` of them. */
void mean_of_elements(const pool_kernels *kernels, const operand *input, uint8_t *output,
                      enum element_type type, int64_t count, int64_t size, const mean_rule *rule,
                      int threads);

#endif
