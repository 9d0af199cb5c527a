/* Pooling of images. The drivers (pool.c) turn windows into rows of output pixels, the kernels
 * compute those: `pool_scalar` is the specification, and every other table equals it bit for bit. */
#ifndef QTENSOR_POOL_H
#define QTENSOR_POOL_H

#include "bytes.h"

/* What a pooling window covers along one axis. */
typedef struct {
    int64_t first, taps; /* inside the input: positions first, first + dilation, ... */
    int64_t extent;      /* what the window counts as when a mean is taken */
} pool_span;

/* A row of output pixels, or a part of one. A pixel is its channels, in consecutive bytes. */
typedef struct {
    const uint8_t *input;     /* column 0 of the first row that the windows cover */
    int64_t rows, row_stride; /* rows they cover, all alike; bytes between two of them */
    int64_t tap_stride;       /* bytes between two columns that a window covers */
    int64_t channels;
    const pool_span *columns; /* of each output pixel */
    int64_t pixels;
    int64_t row_extent, divisor_override; /* divisor_of() */
} pool_row;

/* What the sum of output pixel i is divided by. */
static inline int64_t divisor_of(const pool_row *row, int64_t i) {
    return row->divisor_override ? row->divisor_override
                                 : row->row_extent * row->columns[i].extent;
}

typedef struct {
    /* The largest value of each channel; of an empty window, the smallest one there is. */
    void (*max)(const pool_row *row, uint8_t *out, uint8_t flip);
    /* rne(sum(q - zero_point) / divisor) + zero_point, saturated to the bytes' range. */
    void (*mean)(const pool_row *row, uint8_t *out, int32_t zero_point, uint8_t flip);
} pool_kernels;

extern const pool_kernels pool_scalar, pool_avx2;

/* ---- Drivers ---------------------------------------------------------------------------------
 * `threads` is the most they may use. */

/* One axis of a pooling operator. kernel == 0 means adaptive: `output` windows that cover the
 * input evenly, the i-th from floor(i * input / output) to ceil((i + 1) * input / output). */
typedef struct {
    int64_t input, output, kernel, stride, padding, dilation;
} pool_axis;

/* Input and output are NHWC. */
void max_pool(const pool_kernels *kernels, const uint8_t *input, uint8_t *output,
              enum element_type type, int64_t batch, int64_t channels, const pool_axis *height,
              const pool_axis *width, int threads);

/* Divides by divisor_override, or if that is 0 by the size of the window: with its padding if
 * count_padding, else without. Padding counts as real zero. */
void mean_pool(const pool_kernels *kernels, const uint8_t *input, uint8_t *output,
               enum element_type type, int64_t batch, int64_t channels, const pool_axis *height,
               const pool_axis *width, int32_t zero_point, int count_padding,
               int64_t divisor_override, int threads);

#endif
