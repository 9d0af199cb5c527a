/* Convolution over channels-last images: rows are output pixels.
 *
 * A block is a STRIP of output rows of one image. The input rows that it needs are copied, with
 * padding, into a buffer that stays in the L2 cache; then every output pixel has one base pointer,
 * and each tap of the kernel lies at a constant offset from it. No im2col, no table per pixel.
 */
#include <stdlib.h>
#include <string.h>

#include "gemm.h"

enum {
    STRIP_BYTES = 192 << 10, /* of staged input, a part of the L2 cache */
    SLACK = 64,              /* bytes that kernels may read past the last pixel */
};

typedef struct {
    const product *product;
    enum input_kind kind;
    const uint8_t *input;
    const conv_shape *shape;
    bool in_place;
    int64_t pitch;       /* bytes of a row of pixels, as the kernels read it */
    int64_t strip_rows;  /* output rows of a strip */
    int64_t strips;      /* of an image */
    const int32_t *step_offsets; /* see find_steps(); NULL where they are the packed ones */
} source;

static int64_t input_rows(const conv_shape *c, int64_t output_rows) {
    return (output_rows - 1) * c->stride[0] + (c->kernel[0] - 1) * c->dilation[0] + 1;
}

static size_t bases_bytes(const source *s) {
    return (size_t)(s->strip_rows * s->shape->out_width) * sizeof(uint8_t *);
}

static void copy_bytes(uint8_t *to, const uint8_t *from, int64_t count, enum input_kind kind) {
    if (kind == INPUT_S8)
        for (int64_t i = 0; i < count; i++) to[i] = from[i] ^ 0x80;
    else
        memcpy(to, from, (size_t)count);
}

/* Copies input rows first .. first + count of one image, which may lie in the padding. */
static void copy_strip(const source *s, int64_t image, int64_t first, int64_t count, uint8_t *to) {
    const conv_shape *c = s->shape;
    int64_t row_bytes = c->width * c->channels, side = c->padding[1] * c->channels;
    for (int64_t i = first; i < first + count; i++, to += s->pitch) {
        if (i < 0 || i >= c->height) {
            memset(to, c->padding_value, (size_t)s->pitch);
            continue;
        }
        memset(to, c->padding_value, (size_t)side);
        copy_bytes(to + side, s->input + (image * c->height + i) * row_bytes, row_bytes, s->kind);
        memset(to + side + row_bytes, c->padding_value, (size_t)side);
    }
}

static row_block stage_strip(const void *context, int64_t block, void *memory) {
    const source *s = context;
    const conv_shape *c = s->shape;
    int64_t image = block / s->strips, first = block % s->strips * s->strip_rows;
    int64_t count = smaller(s->strip_rows, c->out_height - first);
    const uint8_t **bases = memory, *start;
    if (s->in_place) {
        start = s->input + (image * c->height + first * c->stride[0]) * s->pitch;
    } else {
        uint8_t *staged = (uint8_t *)memory + bases_bytes(s);
        copy_strip(s, image, first * c->stride[0] - c->padding[0], input_rows(c, count), staged);
        start = staged;
    }
    for (int64_t y = 0; y < count; y++)
        for (int64_t x = 0; x < c->out_width; x++)
            bases[y * c->out_width + x] =
                start + y * c->stride[0] * s->pitch + x * c->stride[1] * c->channels;
    return (row_block){.bases = bases, .count = count * c->out_width,
                       .first = (image * c->out_height + first) * c->out_width,
                       .step_offsets = s->step_offsets};
}

/* Where each step lies, from an output pixel's first byte. */
static void find_steps(const source *s, int32_t *out) {
    const conv_shape *c = s->shape;
    const packed *w = s->product->weights;
    int64_t runs = w->run_length ? w->k / c->kernel[0] / w->run_length : 0; /* of a kernel row */
    for (int64_t y = 0; y < c->kernel[0]; y++)
        for (int64_t x = 0; x < runs; x++)
            for (int64_t i = 0; i < w->run_length; i += STEP)
                *out++ = (int32_t)(y * c->dilation[0] * s->pitch +
                                   x * c->dilation[1] * c->channels + i);
}

int conv2d(const product *p, enum input_kind kind, const uint8_t *input, const conv_shape *shape) {
    const conv_shape *c = shape;
    bool pointwise = c->kernel[0] == 1 && c->kernel[1] == 1 && !c->padding[0] && !c->padding[1];
    source s = {.product = p, .kind = kind, .input = input, .shape = c};
    s.in_place = pointwise && kind == INPUT_U8 && p->weights->run_length % STEP == 0;
    s.pitch = (c->width + 2 * c->padding[1]) * c->channels;

    int64_t most = c->out_height;
    /* Threads share strips where the input is what is large, else panels; see run(). */
    if (p->threads > 1 && p->weights->bytes < c->batch * c->height * s.pitch)
        most = divide_up(c->batch * c->out_height, TASKS_PER_THREAD * (int64_t)p->threads);
    s.strip_rows = 1;
    while (s.strip_rows < most && input_rows(c, s.strip_rows + 1) * s.pitch <= STRIP_BYTES)
        s.strip_rows++;
    s.strips = divide_up(c->out_height, s.strip_rows);
    s.strip_rows = divide_up(c->out_height, larger(s.strips, 1)); /* all of about one size */

    size_t staged = (size_t)(input_rows(c, s.strip_rows) * s.pitch + SLACK);
    int32_t *offsets = malloc((size_t)(p->weights->offset_count + 1) * sizeof *offsets);
    if (!offsets) return -1;
    if (!s.in_place) {
        find_steps(&s, offsets);
        s.step_offsets = offsets;
    }
    job j = {.product = p, .blocks = c->out_width ? c->batch * s.strips : 0,
             .block_rows = s.strip_rows * c->out_width,
             .stage_bytes = bases_bytes(&s) + (s.in_place ? 0 : staged),
             .stage = stage_strip, .source = &s};
    int result = run(&j);
    free(offsets);
    return result;
}
