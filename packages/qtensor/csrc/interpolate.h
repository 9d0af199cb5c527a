/* Images of up to three dimensions, enlarged or reduced.
 *
 * Drivers (interpolate.c) and kernels are divided as in pool.h; `interpolate_scalar` is the
 * specification, and every other table equals it bit for bit. */
#ifndef QTENSOR_INTERPOLATE_H
#define QTENSOR_INTERPOLATE_H

#include "bytes.h"
#include "images.h"

/* Along one axis output i lies between the inputs low[i] and high[i], `weight[i]` of the way. */
typedef struct {
    int64_t output;
    const int64_t *low, *high;
    const float *weight;
} interpolate_axis;

typedef struct {
    image_layout images;
    interpolate_axis depth, height, width;
} interpolate_shape;

/* How far neighbours lie apart, in bytes. */
typedef struct {
    int64_t row, column, channel;
} pixel_strides;

/* Rows of output pixels, one after the other, which lie between the same input rows. */
enum { MAX_ROWS = 4 };
typedef struct {
    const uint8_t *input[2][2]; /* lower and higher plane: lower and higher row */
    const uint8_t *end;         /* of the whole input: nothing beyond may be read */
    float plane_weight;
    int64_t rows;
    const float *row_weights;
    interpolate_axis width;
    int64_t channels;
    pixel_strides in, out;
    int32_t zero_point;
} interpolate_rows;

typedef struct {
    /* rne(value) + zero_point, in float32, where the value lies between
     *     x = (1 - w) * (q_low - zero_point) + w * (q_high - zero_point)
     * for the columns, likewise between such values of two rows, and those of two planes. */
    void (*linear)(const interpolate_rows *rows, uint8_t *out, uint8_t flip);
    /* Copies input[0][0][low[i]] to one row. */
    void (*nearest)(const interpolate_rows *rows, uint8_t *out);
} interpolate_kernels;

extern const interpolate_kernels interpolate_scalar, interpolate_avx2;

/* ---- Drivers; `threads` is the most they may use ------------------------------------------- */

/* Copies the pixel at low[i] of each axis. */
void interpolate_nearest(const interpolate_kernels *kernels, const uint8_t *input, uint8_t *output,
                         const interpolate_shape *shape, int threads);

void interpolate_linear(const interpolate_kernels *kernels, const uint8_t *input, uint8_t *output,
                        enum element_type type, const interpolate_shape *shape,
                        int32_t zero_point, int threads);

#endif
