/* Drivers: parameters into arrays, tensors into runs, runs to threads. See fake_quantize.h. */
#include "fake_quantize.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "pages.h"
#include "parallel.h"

/* How a tensor is cut into kernel calls. Either each run of `inner` elements has the parameters of
 * one channel; or, where runs are too short for that, each row of channels * inner elements is one
 * call, and the parameters are spread to one for each element of a row. */
typedef struct {
    fake_quantize_params params;
    int64_t outer, channels, inner;
    int64_t width; /* of the arrays: channels, or elements of a row */
    int spread;
    float *memory;
} cut;

enum { SHORT = 16, FIELDS = 5 };

/* Returns whether they can be computed with. */
static int set_params(cut *cut, int64_t at, int64_t channel, const fake_quantize_layout *layout) {
    const int real = layout->real_zero_points != NULL;
    const int64_t zero_point = real                  ? 0
                               : layout->zero_points ? layout->zero_points[channel]
                                                     : layout->wide_zero_points[channel];
    const float scale = layout->scales[channel];
    const float offset = real ? layout->real_zero_points[channel] : 0.0f;
    const float values[FIELDS] = {scale, 1.0f / scale, offset,
                                  (float)((double)layout->quant_min - (double)zero_point),
                                  (float)((double)layout->quant_max - (double)zero_point)};
    for (int k = 0; k < FIELDS; k++) {
        cut->memory[k * cut->width + at] = values[k];
    }
    const int in_range = layout->quant_min <= zero_point && zero_point <= layout->quant_max;
    return FLT_MIN <= scale && scale <= FLT_MAX && (real ? isfinite(offset) : in_range);
}

static enum fake_quantize_status make_cut(cut *cut, const fake_quantize_layout *layout) {
    const int64_t channels = layout->channels, inner = layout->inner;
    cut->outer = layout->outer;
    cut->channels = channels;
    cut->inner = inner;
    cut->spread = channels > 1 && layout->outer > 1 && inner < SHORT;
    cut->width = cut->spread ? channels * inner : channels;
    float *memory = malloc(FIELDS * (size_t)cut->width * sizeof *memory);
    cut->memory = memory;
    if (!memory) {
        return FAKE_QUANTIZE_NO_MEMORY;
    }
    const int64_t w = cut->width;
    cut->params = (fake_quantize_params){memory, memory + w, memory + 2 * w, memory + 3 * w,
                                         memory + 4 * w};
    for (int64_t i = 0; i < w; i++) {
        if (!set_params(cut, i, cut->spread ? i / inner : i, layout)) {
            free(memory);
            return FAKE_QUANTIZE_BAD_PARAMETERS;
        }
    }
    return FAKE_QUANTIZE_DONE;
}

static fake_quantize_params params_from(const cut *cut, int64_t i) {
    const fake_quantize_params *p = &cut->params;
    return (fake_quantize_params){p->scale + i, p->inverse_scale + i, p->offset + i, p->lo + i,
                                  p->hi + i};
}

/* ---- Blocks --------------------------------------------------------------------------------- */

typedef struct {
    const float_input *grad, *x; /* grad is NULL forward */
    const float_output *result;
} tensors;

/* n floats of each, where kernels can read and write them: where they are, or in buffers. */
typedef struct {
    const float *grad, *x;
    float *result;
    float buffers[3][BUFFER_FLOATS];
} block;

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* The largest n. */
static int64_t block_size(const tensors *t, int64_t most) {
    most = smaller(most, t->grad ? reads_at_once(t->grad) : most);
    return smaller(most, smaller(reads_at_once(t->x), writes_at_once(t->result)));
}

static void open_block(const tensors *t, int64_t begin, int64_t n, block *b) {
    b->grad = t->grad ? read_floats(t->grad, begin, n, b->buffers[0]) : NULL;
    b->x = read_floats(t->x, begin, n, b->buffers[1]);
    b->result = place_for_floats(t->result, begin, b->buffers[2]);
}

static void close_block(const tensors *t, int64_t begin, int64_t n, const block *b) {
    write_floats(t->result, begin, n, b->result);
}

/* ---- Forward and backward ------------------------------------------------------------------- */

typedef struct {
    const fake_quantize_kernels *kernels;
    tensors tensors;
    const cut *cut;
} map_context;

static void map_block(const map_context *c, int64_t begin, int64_t n) {
    const int64_t call = c->cut->spread ? c->cut->width : c->cut->inner;
    block b;
    open_block(&c->tensors, begin, n, &b);
    for (int64_t done = 0, length; done < n; done += length) {
        const int64_t at = begin + done, within = at % call;
        length = smaller(call - within, n - done);
        const fake_quantize_params params =
            params_from(c->cut, c->cut->spread ? within : at / call % c->cut->channels);
        if (b.grad) {
            c->kernels->backward(b.grad + done, b.x + done, b.result + done, length, &params,
                                 c->cut->spread);
        } else {
            c->kernels->forward(b.x + done, b.result + done, length, &params, c->cut->spread);
        }
    }
    close_block(&c->tensors, begin, n, &b);
}

enum { CHUNK = 1 << 16 };

/* From the end: that is what the cache holds of a tensor just written, or just observed. */
static void map_range(const void *context, int64_t begin, int64_t end) {
    const map_context *c = context;
    const int64_t most = block_size(&c->tensors, CHUNK);
    while (end > begin) {
        const int64_t n = smaller(end - begin, most);
        map_block(c, end - n, n);
        end -= n;
    }
}

static void expect_floats(const float_output *y, int64_t n) {
    expect_writes(y->data, n * (int64_t)(y->format->narrow ? sizeof(uint16_t) : sizeof(float)));
}

static enum fake_quantize_status map_tensor(
    const fake_quantize_kernels *kernels, const float_input *grad, const float_input *x,
    const float_output *result, const fake_quantize_layout *layout, int threads) {
    cut cut;
    const enum fake_quantize_status status = make_cut(&cut, layout);
    if (status != FAKE_QUANTIZE_DONE) {
        return status;
    }
    const int64_t size = layout->outer * layout->channels * layout->inner;
    const map_context context = {kernels, {grad, x, result}, &cut};
    expect_floats(result, size);
    parallel(size, GRAIN / sizeof(float), threads, map_range, &context);
    free(cut.memory);
    return FAKE_QUANTIZE_DONE;
}

enum fake_quantize_status fake_quantize_forward(
    const fake_quantize_kernels *kernels, const float_input *x, const float_output *y,
    const fake_quantize_layout *layout, int threads) {
    return map_tensor(kernels, NULL, x, y, layout, threads);
}

enum fake_quantize_status fake_quantize_backward(
    const fake_quantize_kernels *kernels, const float_input *grad, const float_input *x,
    const float_output *grad_x, const fake_quantize_layout *layout, int threads) {
    return map_tensor(kernels, grad, x, grad_x, layout, threads);
}

/* ---- Backward with gradients of the parameters ---------------------------------------------- */

/* Per tensor, pieces of this size have a sum each; threads share the pieces. Per channel they
 * share the channels, and each is summed in the order of memory. */
enum { PIECE = 1 << 16 };

typedef struct {
    const fake_quantize_kernels *kernels;
    tensors tensors;
    const cut *cut;
    fake_quantize_sums sums; /* one for each piece, channel or element of a row */
} learn_context;

/* `param` and `sum` are those of the first element; of a spread cut, each has its own. */
static void learn_run(const learn_context *c, int64_t begin, int64_t n, int64_t param,
                      int64_t sum) {
    const int64_t most = block_size(&c->tensors, n);
    const int spread = c->cut->spread;
    block b;
    for (int64_t done = 0, some; done < n; done += some) {
        some = smaller(most, n - done);
        const int64_t skip = spread ? done : 0;
        const fake_quantize_params params = params_from(c->cut, param + skip);
        const fake_quantize_sums sums = {c->sums.scale + sum + skip,
                                         c->sums.zero_point + sum + skip};
        open_block(&c->tensors, begin + done, some, &b);
        c->kernels->learn(b.grad, b.x, b.result, some, &params, spread, &sums);
        close_block(&c->tensors, begin + done, some, &b);
    }
}

static void learn_pieces(const void *context, int64_t begin, int64_t end) {
    const learn_context *c = context;
    const int64_t size = c->cut->outer * c->cut->inner;
    for (int64_t i = begin; i < end; i++) {
        learn_run(c, i * PIECE, smaller(PIECE, size - i * PIECE), 0, i);
    }
}

static void learn_channels(const void *context, int64_t begin, int64_t end) {
    const learn_context *c = context;
    const int64_t inner = c->cut->inner, row = c->cut->channels * inner;
    for (int64_t o = 0; o < c->cut->outer; o++) {
        if (c->cut->spread) {
            const int64_t first = begin * inner;
            learn_run(c, o * row + first, (end - begin) * inner, first, first);
            continue;
        }
        for (int64_t channel = begin; channel < end; channel++) {
            learn_run(c, o * row + channel * inner, inner, channel, channel);
        }
    }
}

/* The sum of values[from ... from + n). */
static double total(const double *values, int64_t from, int64_t n) {
    double sum = 0;
    for (int64_t i = from; i < from + n; i++) {
        sum += values[i];
    }
    return sum;
}

enum fake_quantize_status fake_quantize_learn(
    const fake_quantize_kernels *kernels, const float_input *grad, const float_input *x,
    const float_output *grad_x, float *grad_scale, float *grad_zero_point, double grad_factor,
    const fake_quantize_layout *layout, int threads) {
    const int64_t size = layout->outer * layout->channels * layout->inner;
    const int64_t pieces = (size + PIECE - 1) / PIECE;
    cut cut;
    const enum fake_quantize_status status = make_cut(&cut, layout);
    if (status != FAKE_QUANTIZE_DONE) {
        return status;
    }
    const int per_tensor = layout->channels == 1;
    const int64_t count = per_tensor ? pieces : cut.width;
    double *memory = calloc(2 * (size_t)count + 1, sizeof *memory);
    if (!memory) {
        free(cut.memory);
        return FAKE_QUANTIZE_NO_MEMORY;
    }
    const learn_context context = {kernels, {grad, x, grad_x}, &cut, {memory, memory + count}};
    expect_floats(grad_x, size);
    if (per_tensor) {
        parallel(pieces, 1, threads, learn_pieces, &context);
    } else {
        parallel(layout->channels, GRAIN * layout->channels / (4 * size + 1) + 1, threads,
                 learn_channels, &context);
    }
    const int64_t each = count / layout->channels; /* sums of one channel */
    for (int64_t c = 0; c < layout->channels; c++) {
        const double scale = total(context.sums.scale, c * each, each);
        const double zero_point = total(context.sums.zero_point, c * each, each);
        grad_scale[c] = (float)(scale * grad_factor);
        grad_zero_point[c] = (float)(-(double)layout->scales[c] * zero_point * grad_factor);
    }
    free(memory);
    free(cut.memory);
    return FAKE_QUANTIZE_DONE;
}
