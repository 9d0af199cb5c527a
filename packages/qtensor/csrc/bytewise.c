/* Drivers of operators on one quantized tensor, from bytes to bytes. */
#include <string.h>

#include "elementwise.h"
#include "parallel.h"

typedef struct bytewise_context bytewise_context;

/* Writes n bytes of the output, of which q are the input, from byte `begin` on. */
typedef void block_function(const bytewise_context *c, const uint8_t *q, int64_t begin, int64_t n);

struct bytewise_context {
    const elementwise_kernels *kernels;
    block_function *block;
    const operand *q;
    uint8_t *out;
    const void *table; /* 256 bytes, or slopes */
    const requantize_params *params;
    int64_t channels, inner; /* of slopes */
    int64_t length, stride;  /* of rows */
    uint8_t low, high, flip; /* bounds */
};

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static void bytewise_range(const void *context, int64_t begin, int64_t end) {
    const bytewise_context *c = context;
    const int64_t most = at_once(c->q, BUFFER_BYTES);
    uint8_t block[BUFFER_BYTES];
    for (int64_t n; begin < end; begin += n) {
        n = smaller(end - begin, most);
        c->block(c, elements(c->q, begin, n, 1, block), begin, n);
    }
}

/* ---- Lookup -------------------------------------------------------------------------------- */

static void lookup_block(const bytewise_context *c, const uint8_t *q, int64_t begin, int64_t n) {
    c->kernels->lookup(q, c->out + begin, n, c->table);
}

void lookup_tensor(const elementwise_kernels *kernels, const operand *q, uint8_t *out, int64_t n,
                   const uint8_t *table, int threads) {
    const bytewise_context context = {
        .kernels = kernels, .block = lookup_block, .q = q, .out = out, .table = table,
    };
    parallel(n, GRAIN / 2, threads, bytewise_range, &context);
}

/* ---- Requantize, and join what was requantized --------------------------------------------- */

static void requantize_block(const bytewise_context *c, const uint8_t *q, int64_t begin,
                             int64_t n) {
    c->kernels->requantize(q, c->out + begin, 1, n, n, c->params);
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

enum { SHORT = 32 }; /* bytes */

/* Rows shorter than a vector are requantized together, before they are sent to their places. */
static void requantize_short_rows(const bytewise_context *c, const uint8_t *q, uint8_t *out,
                                  int64_t rows, int64_t length) {
    uint8_t block[BUFFER_BYTES];
    const int64_t most = BUFFER_BYTES / length;
    for (int64_t done = 0; done < rows; done += most) {
        const int64_t some = smaller(rows - done, most), n = some * length;
        c->kernels->requantize(q + done * length, block, 1, n, n, c->params);
        copy_rows(block, out + done * c->stride, some, length, c->stride);
    }
}

/* Rows of `length` bytes, or as many bytes of each. */
static void join(const bytewise_context *c, const uint8_t *q, uint8_t *out, int64_t rows,
                 int64_t length) {
    if (!c->params) {
        copy_rows(q, out, rows, length, c->stride);
    } else if (length < SHORT) {
        requantize_short_rows(c, q, out, rows, length);
    } else {
        c->kernels->requantize(q, out, rows, length, c->stride, c->params);
    }
}

/* As many rows at once as a block holds, or a part of one. */
static void join_range(const void *context, int64_t begin, int64_t end) {
    const bytewise_context *c = context;
    const int64_t most = at_once(c->q, BUFFER_BYTES), length = smaller(c->length, most);
    const int64_t most_rows = most / length;
    uint8_t block[BUFFER_BYTES];
    for (int64_t row = begin, rows; row < end; row += rows) {
        rows = smaller(end - row, most_rows);
        for (int64_t at = 0, n; at < c->length; at += n) {
            n = smaller(c->length - at, length);
            const uint8_t *q = elements(c->q, row * c->length + at, rows * n, 1, block);
            join(c, q, c->out + row * c->stride + at, rows, n);
        }
    }
}

void join_rows(const elementwise_kernels *kernels, const operand *q, uint8_t *out, int64_t rows,
               int64_t length, int64_t stride, const requantize_params *p, int threads) {
    const bytewise_context context = {
        .kernels = kernels, .block = requantize_block, .q = q, .out = out, .params = p,
        .length = length, .stride = stride,
    };
    if (p && (rows == 1 || length == stride)) { /* threads may share a row */
        parallel(rows * length, GRAIN / 2, threads, bytewise_range, &context);
    } else if (length > 0) {
        parallel(rows, GRAIN / 2 / length + 1, threads, join_range, &context);
    }
}

/* ---- PReLU --------------------------------------------------------------------------------- */

/* Over runs of one channel, or where channels alternate, over runs of all. */
static void prelu_block(const bytewise_context *c, const uint8_t *q, int64_t begin, int64_t n) {
    const float *slopes = c->table;
    const int each = c->inner == 1 && c->channels > 1;
    const int64_t period = each ? c->channels : c->inner;
    for (int64_t done = 0, length; done < n; done += length) {
        const int64_t run = (begin + done) / period, within = (begin + done) % period;
        const int64_t first = each ? within : run % c->channels;
        length = smaller(period - within, n - done);
        c->kernels->prelu(q + done, c->out + begin + done, length, c->params, slopes + first, each);
    }
}

void prelu_tensor(const elementwise_kernels *kernels, const operand *q, uint8_t *out,
                  int64_t outer, int64_t channels, int64_t inner, const requantize_params *p,
                  const float *slopes, int threads) {
    const bytewise_context context = {
        .kernels = kernels, .block = prelu_block, .q = q, .out = out, .params = p,
        .table = slopes, .channels = channels, .inner = inner,
    };
    parallel(outer * channels * inner, GRAIN / 2, threads, bytewise_range, &context);
}

/* ---- Bounds -------------------------------------------------------------------------------- */

static void clamp_block(const bytewise_context *c, const uint8_t *q, int64_t begin, int64_t n) {
    c->kernels->clamp(q, c->out + begin, n, c->low, c->high, c->flip);
}

void clamp_tensor(const elementwise_kernels *kernels, const operand *q, uint8_t *out, int64_t n,
                  int32_t low, int32_t high, enum element_type type, int threads) {
    const int32_t flip = flip_of(type);
    const bytewise_context context = {
        .kernels = kernels, .block = clamp_block, .q = q, .out = out,
        .low = (uint8_t)(low + flip), .high = (uint8_t)(high + flip), .flip = (uint8_t)flip,
    };
    parallel(n, GRAIN / 2, threads, bytewise_range, &context);
}
