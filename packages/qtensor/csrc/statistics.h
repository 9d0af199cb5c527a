/* Ranges and histograms of float tensors, in one pass over memory that is never copied.
 *
 * The drivers (statistics.c) know tensors: any sizes and strides. They hand runs of values to the
 * kernels, of which there is one table for each instruction set; `statistics_scalar` is the
 * specification, and every other equals it bit for bit. What is not finite takes no part in a
 * range or histogram; it is counted.
 */
#ifndef QTENSOR_STATISTICS_H
#define QTENSOR_STATISTICS_H

#include "blocks.h"

/* Of nothing: lowest is infinity, highest minus infinity. */
typedef struct {
    float lowest, highest;
    int64_t nonfinite;
} value_range;

/* One range for each channel, in arrays. */
typedef struct {
    float *lowest, *highest;
    int64_t *nonfinite;
} channel_ranges;

/* Bin i holds the values v with floor(v / 2^exponent) == first + i. */
typedef struct {
    int32_t exponent, first;
    int64_t size;
} dyadic_bins;

/* A kernel has this many counters for each bin, and takes them in turn: neighbouring values are
 * often equal, and an increment must not wait for the one before it to be stored. What lies in no
 * bin is counted as well, in one of two OUTER bins: the first and the last of the counters. */
enum { COUNTERS = 4, OUTER = 2 };

typedef struct {
    /* Takes n consecutive values into the range. */
    void (*range)(const float *x, int64_t n, value_range *range);
    /* Takes the values of each column into the range of its index. Rows are `stride` apart. */
    void (*column_ranges)(const float *x, int64_t rows, int64_t stride, int64_t columns,
                          const channel_ranges *ranges);
    /* As range, and counts them; the counters of a bin add up to its count. */
    void (*count)(const float *x, int64_t n, const dyadic_bins *bins, uint32_t *counters,
                  value_range *range);
} statistics_kernels;

extern const statistics_kernels statistics_scalar, statistics_avx2;

/* ---- Drivers ---------------------------------------------------------------------------------
 * `threads` is the most they may use. Strides count values; none is negative. */

enum { MAX_DIMENSIONS = 64 };

typedef struct {
    const void *data;
    const float_format *format;
    int dimensions;
    int64_t sizes[MAX_DIMENSIONS], strides[MAX_DIMENSIONS];
} strided_tensor;

/* A bound that is zero is +0. */
value_range range_of(const statistics_kernels *kernels, const strided_tensor *tensor, int threads);

/* A range for each index of one axis. */
void ranges_of_channels(const statistics_kernels *kernels, const strided_tensor *tensor, int axis,
                        const channel_ranges *ranges, int threads);

/* A range for each row of the last dimension. */
void ranges_of_rows(const statistics_kernels *kernels, const strided_tensor *tensor,
                    const channel_ranges *ranges, int threads);

/* Counts the finite values within the bins into `counts`, and takes all finite ones into `range`.
 * Returns 0 if there is no memory for it. */
int count_values(const statistics_kernels *kernels, const strided_tensor *tensor,
                 const dyadic_bins *bins, int64_t *counts, value_range *range, int threads);

#endif
