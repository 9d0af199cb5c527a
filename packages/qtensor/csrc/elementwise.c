/* Drivers: tensors into pieces, pieces to threads, threads to kernels. See elementwise.h. */
#include "elementwise.h"

#include <math.h>
#include <stddef.h>

#include "parallel.h"

/* ---- Quantize and dequantize --------------------------------------------------------------- */

typedef struct {
    const elementwise_kernels *kernels;
    float *x;
    void *q;
    enum element_type type;
    const channel_layout *layout;
    int64_t quant_min, quant_max;
} convert_context;

static int64_t zero_point_of(const channel_layout *layout, int64_t channel) {
    return layout->zero_points ? layout->zero_points[channel] : 0;
}

static float real_zero_point_of(const channel_layout *layout, int64_t channel) {
    return layout->real_zero_points ? layout->real_zero_points[channel] : 0.0f;
}

/* As the kernel for bytes, but with bounds that float32 cannot hold. */
static void quantize_s32(const float *x, int32_t *q, int64_t n, float inverse_scale,
                         int64_t zero_point, int64_t quant_min, int64_t quant_max) {
    const double lo = (double)(quant_min - zero_point), hi = (double)(quant_max - zero_point);
    for (int64_t i = 0; i < n; i++) {
        double t = x[i] * inverse_scale;
        t = t > lo ? t : lo;
        t = t < hi ? t : hi;
        q[i] = (int32_t)(llrint(t) + zero_point);
    }
}

static void dequantize_s32(const int32_t *q, float *x, int64_t n, float scale,
                           int64_t zero_point) {
    for (int64_t i = 0; i < n; i++) {
        x[i] = (float)(q[i] - zero_point) * scale;
    }
}

static void quantize_slice(const convert_context *c, int64_t channel, int64_t begin, int64_t n) {
    const float inverse_scale = 1.0f / c->layout->scales[channel];
    const int64_t zero_point = zero_point_of(c->layout, channel);
    if (c->type == ELEMENT_S32) {
        quantize_s32(c->x + begin, (int32_t *)c->q + begin, n, inverse_scale, zero_point,
                     c->quant_min, c->quant_max);
        return;
    }
    const int32_t flip = flip_of(c->type);
    const quantize_params params = {
        .inverse_scale = inverse_scale,
        .offset = real_zero_point_of(c->layout, channel),
        .zero_point = (int32_t)zero_point + flip,
        .quant_min = (int32_t)c->quant_min + flip,
        .quant_max = (int32_t)c->quant_max + flip,
    };
    c->kernels->quantize(c->x + begin, (uint8_t *)c->q + begin, n, &params, (uint8_t)flip);
}

static void dequantize_slice(const convert_context *c, int64_t channel, int64_t begin, int64_t n) {
    const float scale = c->layout->scales[channel];
    const int64_t zero_point = zero_point_of(c->layout, channel);
    if (c->type == ELEMENT_S32) {
        dequantize_s32((const int32_t *)c->q + begin, c->x + begin, n, scale, zero_point);
        return;
    }
    const int32_t flip = flip_of(c->type);
    /* at most one of the two zero points is not 0 */
    const float both = (float)(zero_point + flip) + real_zero_point_of(c->layout, channel);
    c->kernels->dequantize((const uint8_t *)c->q + begin, c->x + begin, n, scale, both,
                           (uint8_t)flip);
}

/* Calls `slice` for each run of [begin, end) that lies in one channel. */
static void convert_range(const convert_context *c, int64_t begin, int64_t end,
                          void (*slice)(const convert_context *, int64_t, int64_t, int64_t)) {
    const int64_t inner = c->layout->inner;
    while (begin < end) {
        const int64_t run = begin / inner;
        const int64_t run_end = (run + 1) * inner < end ? (run + 1) * inner : end;
        slice(c, run % c->layout->channels, begin, run_end - begin);
        begin = run_end;
    }
}

static void quantize_range(const void *context, int64_t begin, int64_t end) {
    convert_range(context, begin, end, quantize_slice);
}

static void dequantize_range(const void *context, int64_t begin, int64_t end) {
    convert_range(context, begin, end, dequantize_slice);
}

/* Where channels alternate from one byte to the next, rows begin ... end of all channels, with the
 * parameters of BLOCK channels at a time brought into the kernels' form. */
enum { BLOCK = 256 };

static void quantize_rows(const void *context, int64_t begin, int64_t end) {
    const convert_context *c = context;
    const channel_layout *layout = c->layout;
    const int32_t flip = flip_of(c->type);
    float inverse_scales[BLOCK];
    int32_t zero_points[BLOCK];
    for (int64_t first = 0; first < layout->channels; first += BLOCK) {
        const int64_t left = layout->channels - first, n = left < BLOCK ? left : BLOCK;
        for (int64_t i = 0; i < n; i++) {
            inverse_scales[i] = 1.0f / layout->scales[first + i];
            zero_points[i] = (int32_t)zero_point_of(layout, first + i) + flip;
        }
        for (int64_t row = begin; row < end; row++) {
            const int64_t at = row * layout->channels + first;
            c->kernels->quantize_channels(c->x + at, (uint8_t *)c->q + at, n, inverse_scales,
                                          zero_points, (int32_t)c->quant_min + flip,
                                          (int32_t)c->quant_max + flip, (uint8_t)flip);
        }
    }
}

static void dequantize_rows(const void *context, int64_t begin, int64_t end) {
    const convert_context *c = context;
    const channel_layout *layout = c->layout;
    const int32_t flip = flip_of(c->type);
    float zero_points[BLOCK];
    for (int64_t first = 0; first < layout->channels; first += BLOCK) {
        const int64_t left = layout->channels - first, n = left < BLOCK ? left : BLOCK;
        for (int64_t i = 0; i < n; i++) {
            zero_points[i] = (float)(zero_point_of(layout, first + i) + flip) +
                             real_zero_point_of(layout, first + i);
        }
        for (int64_t row = begin; row < end; row++) {
            const int64_t at = row * layout->channels + first;
            c->kernels->dequantize_channels((const uint8_t *)c->q + at, c->x + at, n,
                                            layout->scales + first, zero_points, (uint8_t)flip);
        }
    }
}

static void convert(const convert_context *c, int rowwise, range_function *rows,
                    range_function *runs, int threads) {
    const channel_layout *layout = c->layout;
    if (rowwise && c->type != ELEMENT_S32 && layout->inner == 1 && layout->channels > 1) {
        parallel(layout->outer, GRAIN / 4 / layout->channels + 1, threads, rows, c);
    } else {
        const int64_t size = layout->outer * layout->channels * layout->inner;
        parallel(size, GRAIN / 4, threads, runs, c);
    }
}

void quantize_tensor(const elementwise_kernels *kernels, const float *x, void *q,
                     enum element_type type, const channel_layout *layout, int64_t quant_min,
                     int64_t quant_max, int threads) {
    const convert_context context = {kernels, (float *)x, q, type, layout, quant_min, quant_max};
    /* real zero points are those of embedding tables, whose channels do not alternate */
    convert(&context, !layout->real_zero_points, quantize_rows, quantize_range, threads);
}

void dequantize_tensor(const elementwise_kernels *kernels, const void *q, float *x,
                       enum element_type type, const channel_layout *layout, int threads) {
    const convert_context context = {kernels, x, (void *)q, type, layout, 0, 0};
    convert(&context, 1, dequantize_rows, dequantize_range, threads);
}

/* ---- Embedding ----------------------------------------------------------------------------- */

typedef struct {
    const elementwise_kernels *kernels;
    const uint8_t *table;
    const float *scales, *zero_points;
    int64_t columns;
    const int64_t *indices;
    float *output;
} lookup_context;

static void lookup_range(const void *context, int64_t begin, int64_t end) {
    const lookup_context *c = context;
    for (int64_t i = begin; i < end; i++) {
        const int64_t row = c->indices[i];
        c->kernels->dequantize(c->table + row * c->columns, c->output + i * c->columns, c->columns,
                               c->scales[row], c->zero_points[row], 0);
    }
}

int64_t embedding_lookup(const elementwise_kernels *kernels, const uint8_t *table,
                         const float *scales, const float *zero_points, int64_t rows,
                         int64_t columns, const int64_t *indices, int64_t n, float *output,
                         int threads) {
    for (int64_t i = 0; i < n; i++) {
        if (indices[i] < 0 || indices[i] >= rows) {
            return i;
        }
    }
    const lookup_context context = {
        kernels, table, scales, zero_points, columns, indices, output,
    };
    parallel(n, GRAIN / 4 / (columns + 1) + 1, threads, lookup_range, &context);
    return -1;
}
