/* Requantization with parameters of each channel's own. */
#ifndef QTENSOR_REQUANTIZE_H
#define QTENSOR_REQUANTIZE_H

#include <stdint.h>

/* A dense tensor as (outer, channels, inner), and for each channel how it is quantized and how it
 * is to be: ratios of the scales, and zero points. Element types are 0 (uint8), 1 (int8) and 2
 * (int32). `single`: products are rounded to float32, as where one ratio holds for the tensor. */
typedef struct {
    int64_t outer, channels, inner;
    const double *ratios, *zero_points, *output_zero_points;
    double quant_min, quant_max;
    int input, output, single;
} requantize_layout;

void requantize_channels(const void *q, void *out, const requantize_layout *layout, int threads);

#endif
