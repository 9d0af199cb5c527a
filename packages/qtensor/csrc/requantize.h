/* Requantization with parameters of each channel's own. */
#ifndef QTENSOR_REQUANTIZE_H
#define QTENSOR_REQUANTIZE_H

#include <stdint.h>

/* A dense tensor as (outer, channels, inner), and for each channel how it is quantized and how it
 * is to be: ratios of the scales, and zero points. These are floats where bytes become bytes, else
 * doubles. Element types are 0 (uint8), 1 (int8) and 2 (int32). */
typedef struct {
    int64_t outer, channels, inner;
    const void *ratios, *zero_points, *output_zero_points;
    double quant_min, quant_max;
    int input, output;
} requantize_layout;

typedef struct {
    const void *q;
    void *out;
    const requantize_layout *layout;
} requantize_context;

/* The values from `begin` to `end` of a context's tensor. */
typedef void requantize_kernel(const void *context, int64_t begin, int64_t end);
requantize_kernel requantize_scalar, requantize_avx2;

void requantize_channels(requantize_kernel *kernel, const void *q, void *out,
                         const requantize_layout *layout, int threads);

#endif
