/* Drivers of operators on one quantized tensor, from bytes to bytes. */
#include <string.h>

#include "elementwise.h"
#include "parallel.h"

typedef struct {
    const elementwise_kernels *kernels;
    const uint8_t *q;
    uint8_t *out;
    const void *table; /* 256 bytes, or slopes */
    const requantize_params *params;
    int64_t channels, inner; /* of slopes */
    int64_t length, stride;  /* of rows */
} bytewise_context;

/* ---- Lookup -------------------------------------------------------------------------------- */

static void lookup_range(const void *context, int64_t begin, int64_t end) {
    const bytewise_context *c = context;
    c->kernels->lookup(c->q + begin, c->out + begin, end - begin, c->table);
}

void lookup_tensor(const elementwise_kernels *kernels, const uint8_t *q, uint8_t *out, int64_t n,
                   const uint8_t *table, int threads) {
    const bytewise_context context = {.kernels = kernels, .q = q, .out = out, .table = table};
    parallel(n, GRAIN / 2, threads, lookup_range, &context);
}

/* ---- Requantize, and join what was requantized --------------------------------------------- */

static void requantize_range(const void *context, int64_t begin, int64_t end) {
    const bytewise_context *c = context;
    const int64_t n = end - begin;
    c->kernels->requantize(c->q + begin, c->out + begin, 1, n, n, c->params);
}

static void copy_rows(const uint8_t *from, uint8_t *to, int64_t rows, int64_t length,
                      int64_t stride) {
    for (int64_t r = 0; r < rows; r++, from += length, to += stride) {
        if (length < 1024) {
            copy_short(from, to, length);
        } else {
            memcpy(to, from, length);
        }
    }
}

enum { BLOCK = 4096, SHORT = 32 }; /* bytes */

/* Rows shorter than a vector are requantized together, before they are sent to their places. */
static void requantize_short_rows(const bytewise_context *c, int64_t begin, int64_t end) {
    uint8_t block[BLOCK];
    const int64_t length = c->length, most = BLOCK / length;
    for (; begin < end; begin += most) {
        const int64_t rows = end - begin < most ? end - begin : most, n = rows * length;
        c->kernels->requantize(c->q + begin * length, block, 1, n, n, c->params);
        copy_rows(block, c->out + begin * c->stride, rows, length, c->stride);
    }
}

static void join_range(const void *context, int64_t begin, int64_t end) {
    const bytewise_context *c = context;
    const uint8_t *q = c->q + begin * c->length;
    uint8_t *out = c->out + begin * c->stride;
    if (!c->params) {
        copy_rows(q, out, end - begin, c->length, c->stride);
    } else if (c->length < SHORT) {
        requantize_short_rows(c, begin, end);
    } else {
        c->kernels->requantize(q, out, end - begin, c->length, c->stride, c->params);
    }
}

void join_rows(const elementwise_kernels *kernels, const uint8_t *q, uint8_t *out, int64_t rows,
               int64_t length, int64_t stride, const requantize_params *p, int threads) {
    const bytewise_context context = {
        .kernels = kernels, .q = q, .out = out, .params = p, .length = length, .stride = stride,
    };
    if (p && (rows == 1 || length == stride)) { /* threads may share a row */
        parallel(rows * length, GRAIN / 2, threads, requantize_range, &context);
    } else if (length > 0) {
        parallel(rows, GRAIN / 2 / length + 1, threads, join_range, &context);
    }
}

/* ---- PReLU --------------------------------------------------------------------------------- */

/* Over runs of one channel, or where channels alternate, over runs of all. */
static void prelu_range(const void *context, int64_t begin, int64_t end) {
    const bytewise_context *c = context;
    const float *slopes = c->table;
    const int each = c->inner == 1 && c->channels > 1;
    const int64_t period = each ? c->channels : c->inner;
    while (begin < end) {
        const int64_t run = begin / period;
        const int64_t run_end = (run + 1) * period < end ? (run + 1) * period : end;
        const int64_t first = each ? begin % period : run % c->channels;
        c->kernels->prelu(c->q + begin, c->out + begin, run_end - begin, c->params,
                          slopes + first, each);
        begin = run_end;
    }
}

void prelu_tensor(const elementwise_kernels *kernels, const uint8_t *q, uint8_t *out,
                  int64_t outer, int64_t channels, int64_t inner, const requantize_params *p,
                  const float *slopes, int threads) {
    const bytewise_context context = {
        .kernels = kernels, .q = q, .out = out, .params = p, .table = slopes,
        .channels = channels, .inner = inner,
    };
    parallel(outer * channels * inner, GRAIN / 2, threads, prelu_range, &context);
}

/* ---- Bounds -------------------------------------------------------------------------------- */

typedef struct {
    const elementwise_kernels *kernels;
    const uint8_t *q;
    uint8_t *out;
    uint8_t low, high, flip;
} bounds_context;

static void clamp_range(const void *context, int64_t begin, int64_t end) {
    const bounds_context *c = context;
    c->kernels->clamp(c->q + begin, c->out + begin, end - begin, c->low, c->high, c->flip);
}

void clamp_tensor(const elementwise_kernels *kernels, const uint8_t *q, uint8_t *out, int64_t n,
                  int32_t low, int32_t high, enum element_type type, int threads) {
    const int32_t flip = flip_of(type);
    const bounds_context context = {
        kernels, q, out, (uint8_t)(low + flip), (uint8_t)(high + flip), (uint8_t)flip,
    };
    parallel(n, GRAIN / 2, threads, clamp_range, &context);
}
