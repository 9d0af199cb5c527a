/* Drivers: tensors into pieces, pieces to threads, threads to kernels. See elementwise.h. */
#include "elementwise.h"

#include <math.h>
#include <stddef.h>

#include "parallel.h"

/* ---- Quantize ------------------------------------------------------------------------------ */

typedef struct {
    const elementwise_kernels *kernels;
    const float_input *x;
    void *q;
    enum element_type type;
    const channel_layout *layout;
    int64_t quant_min, quant_max;
} quantize_context;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static int64_t zero_point_of(const channel_layout *layout, int64_t channel) {
    return layout->zero_points ? layout->zero_points[channel] : 0;
}

static float real_zero_point_of(const channel_layout *layout, int64_t channel) {
    return layout->real_zero_points ? layout->real_zero_points[channel] : 0.0f;
}

/* The channel that element `at` belongs to, and how many elements from there on do too. */
typedef struct {
    int64_t channel, length;
} channel_run;

static channel_run run_at(const channel_layout *layout, int64_t at) {
    const int64_t run = at / layout->inner;
    return (channel_run){run % layout->channels, (run + 1) * layout->inner - at};
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

/* Of one channel, to the place of element `begin`. */
static void quantize_run(const quantize_context *c, int64_t channel, const float *x, int64_t begin,
                         int64_t n) {
    const float inverse_scale = 1.0f / c->layout->scales[channel];
    const int64_t zero_point = zero_point_of(c->layout, channel);
    if (c->type == ELEMENT_S32) {
        quantize_s32(x, (int32_t *)c->q + begin, n, inverse_scale, zero_point, c->quant_min,
                     c->quant_max);
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
    c->kernels->quantize(x, (uint8_t *)c->q + begin, n, &params, (uint8_t)flip);
}

static void quantize_range(const void *context, int64_t begin, int64_t end) {
    const quantize_context *c = context;
    const int64_t most = reads_at_once(c->x);
    float block[BUFFER_FLOATS];
    while (begin < end) {
        const int64_t n = smaller(end - begin, most), block_end = begin + n;
        const float *x = read_floats(c->x, begin, n, block);
        while (begin < block_end) {
            const channel_run run = run_at(c->layout, begin);
            const int64_t length = smaller(run.length, block_end - begin);
            quantize_run(c, run.channel, x, begin, length);
            x += length;
            begin += length;
        }
    }
}

/* Where channels alternate from one byte to the next, rows begin ... end of all channels, with the
 * parameters of COLUMNS channels at a time brought into the kernels' form. */
enum { COLUMNS = BUFFER_FLOATS };

/* How many rows of n channels to read at once: only whole rows follow each other. */
static int64_t rows_at_once(const channel_layout *layout, int64_t n) {
    return n == layout->channels ? COLUMNS / n : 1;
}

static void quantize_rows(const void *context, int64_t begin, int64_t end) {
    const quantize_context *c = context;
    const channel_layout *layout = c->layout;
    const int32_t flip = flip_of(c->type);
    float inverse_scales[COLUMNS], block[COLUMNS];
    int32_t zero_points[COLUMNS];
    for (int64_t first = 0; first < layout->channels; first += COLUMNS) {
        const int64_t n = smaller(layout->channels - first, COLUMNS);
        for (int64_t i = 0; i < n; i++) {
            inverse_scales[i] = 1.0f / layout->scales[first + i];
            zero_points[i] = (int32_t)zero_point_of(layout, first + i) + flip;
        }
        const int64_t most = rows_at_once(layout, n);
        for (int64_t row = begin; row < end; row += most) {
            const int64_t at = row * layout->channels + first, rows = smaller(end - row, most);
            const float *x = read_floats(c->x, at, rows * n, block);
            for (int64_t r = 0; r < rows; r++) {
                c->kernels->quantize_channels(
                    x + r * n, (uint8_t *)c->q + at + r * n, n, inverse_scales, zero_points,
                    (int32_t)c->quant_min + flip, (int32_t)c->quant_max + flip, (uint8_t)flip);
            }
        }
    }
}

static void convert(const channel_layout *layout, int rowwise, range_function *rows,
                    range_function *runs, const void *context, int threads) {
    if (rowwise && layout->inner == 1 && layout->channels > 1) {
        parallel(layout->outer, GRAIN / 4 / layout->channels + 1, threads, rows, context);
    } else {
        const int64_t size = layout->outer * layout->channels * layout->inner;
        parallel(size, GRAIN / 4, threads, runs, context);
    }
}

void quantize_tensor(const elementwise_kernels *kernels, const float_input *x, void *q,
                     enum element_type type, const channel_layout *layout, int64_t quant_min,
                     int64_t quant_max, int threads) {
    const quantize_context context = {kernels, x, q, type, layout, quant_min, quant_max};
    /* real zero points are those of embedding tables, whose channels do not alternate */
    const int rowwise = type != ELEMENT_S32 && !layout->real_zero_points;
    convert(layout, rowwise, quantize_rows, quantize_range, &context, threads);
}

/* ---- Dequantize ---------------------------------------------------------------------------- */

typedef struct {
    const elementwise_kernels *kernels;
    const operand *q;
    const float_output *x;
    enum element_type type;
    const channel_layout *layout;
} dequantize_context;

static void dequantize_s32(const int32_t *q, float *x, int64_t n, float scale,
                           int64_t zero_point) {
    for (int64_t i = 0; i < n; i++) {
        x[i] = (float)(q[i] - zero_point) * scale;
    }
}

/* Of one channel, from the place of element `begin`. */
static void dequantize_run(const dequantize_context *c, int64_t channel, const void *q, int64_t n,
                           float *x) {
    const float scale = c->layout->scales[channel];
    const int64_t zero_point = zero_point_of(c->layout, channel);
    if (c->type == ELEMENT_S32) {
        dequantize_s32(q, x, n, scale, zero_point);
        return;
    }
    const int32_t flip = flip_of(c->type);
    /* at most one of the two zero points is not 0 */
    const float both = (float)(zero_point + flip) + real_zero_point_of(c->layout, channel);
    c->kernels->dequantize(q, x, n, scale, both, (uint8_t)flip);
}

static void dequantize_range(const void *context, int64_t begin, int64_t end) {
    const dequantize_context *c = context;
    const int size = c->type == ELEMENT_S32 ? sizeof(int32_t) : 1;
    const int64_t most = smaller(at_once(c->q, BUFFER_FLOATS), writes_at_once(c->x));
    uint8_t q_block[BUFFER_BYTES];
    float x_block[BUFFER_FLOATS];
    for (int64_t n; begin < end; begin += n) {
        n = smaller(end - begin, most);
        const uint8_t *q = elements(c->q, begin, n, size, q_block);
        float *x = place_for_floats(c->x, begin, x_block);
        for (int64_t done = 0, length; done < n; done += length) {
            const channel_run run = run_at(c->layout, begin + done);
            length = smaller(run.length, n - done);
            dequantize_run(c, run.channel, q + done * size, length, x + done);
        }
        write_floats(c->x, begin, n, x);
    }
}

static void dequantize_rows(const void *context, int64_t begin, int64_t end) {
    const dequantize_context *c = context;
    const channel_layout *layout = c->layout;
    const int32_t flip = flip_of(c->type);
    uint8_t q_block[COLUMNS];
    float zero_points[COLUMNS], x_block[COLUMNS];
    for (int64_t first = 0; first < layout->channels; first += COLUMNS) {
        const int64_t n = smaller(layout->channels - first, COLUMNS);
        for (int64_t i = 0; i < n; i++) {
            zero_points[i] = (float)(zero_point_of(layout, first + i) + flip) +
                             real_zero_point_of(layout, first + i);
        }
        const int64_t most = rows_at_once(layout, n);
        for (int64_t row = begin; row < end; row += most) {
            const int64_t at = row * layout->channels + first, rows = smaller(end - row, most);
            const uint8_t *q = elements(c->q, at, rows * n, 1, q_block);
            float *x = place_for_floats(c->x, at, x_block);
            for (int64_t r = 0; r < rows; r++) {
                c->kernels->dequantize_channels(q + r * n, x + r * n, n, layout->scales + first,
                                                zero_points, (uint8_t)flip);
            }
            write_floats(c->x, at, rows * n, x);
        }
    }
}

void dequantize_tensor(const elementwise_kernels *kernels, const operand *q, const float_output *x,
                       enum element_type type, const channel_layout *layout, int threads) {
    const dequantize_context context = {kernels, q, x, type, layout};
    convert(layout, type != ELEMENT_S32, dequantize_rows, dequantize_range, &context, threads);
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
