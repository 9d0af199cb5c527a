/* Requantization with parameters of each channel's own. */
#ifndef QTENSOR_REQUANTIZE_H
#define QTENSOR_REQUANTIZE_H

#include "blocks.h"

/* A scale and a zero point for each channel, or one for all. Scales are floats or doubles. */
typedef struct {
    const void *scales;
    int doubles;
    const int64_t *zero_points;
    int several_scales, several_zero_points;
} channel_parameters;

/* An output as (outer, channels, inner) in memory, and for each channel how the input is quantized
 * and how it is to be. Element types are 0 (uint8), 1 (int8) and 2 (int32). */
typedef struct {
    int64_t outer, channels, inner;
    channel_parameters given, wanted;
    double quant_min, quant_max;
    int input, output;
} requantize_layout;

typedef struct {
    const operand *q;
    void *out;
    const requantize_layout *layout;
} requantize_context;

/* Whether channels alternate from one value to the next. */
static inline int is_by_rows(const requantize_layout *layout) {
    return layout->inner == 1 && layout->channels > 1;
}

/* How many rows of n channels, of `size` bytes each, to read at once: only whole rows follow each
 * other. */
static inline int64_t rows_at_once(const requantize_layout *layout, int64_t n, int size) {
    return n == layout->channels && n * size <= BUFFER_BYTES ? BUFFER_BYTES / (n * size) : 1;
}

/* From `begin` to `end`: rows of all channels where the layout is by rows, else values. */
typedef void requantize_kernel(const void *context, int64_t begin, int64_t end);
requantize_kernel requantize_scalar, requantize_avx2;

void requantize_channels(requantize_kernel *kernel, const operand *q, void *out,
                         const requantize_layout *layout, int threads);

#endif
