/* Convolution of one, two or three dimensions over channels-last images: rows are output pixels.
 *
 * A block is a BOX of output pixels of one image. The input that it needs is copied, with its
 * padding, into a buffer that stays in the L2 cache; then every output pixel has one base pointer,
 * and each tap of the kernel lies at a constant offset from it. No im2col, no table per pixel.
 *
 * Everything has three axes here; those that an image lacks have size 1. A transposed convolution
 * comes as several plain ones: the outputs of one phase, that is, of one remainder modulo the
 * stride, are a convolution of the input with some of the taps: _ops/_conv_axes.py.
 */
#include <stdlib.h>
#include <string.h>

#include "conv.h"
#include "parallel.h"

enum {
    BOX_BYTES = 192 << 10, /* of what a block reads, a part of the L2 cache */
    MIN_BOX_ROWS = 16,     /* fewer would read the weights too often */
    SLACK = 64,            /* bytes that kernels may read past the last pixel */
};

typedef struct {
    const product *product;
    const image_source *image;
    const conv_shape *shape;     /* image->shape */
    bool in_place;
    int64_t box[AXES];           /* output pixels of a block, along each axis */
    int64_t boxes[AXES];         /* of an image */
    int64_t pitch[AXES];         /* bytes from one input pixel to the next, as the kernels read */
    const int32_t *step_offsets; /* see find_steps(); NULL where they are the packed ones */
} source;

static void extents(const source *s, const int64_t *box, int64_t *pixels) {
    for (int a = 0; a < AXES; a++) pixels[a] = extent(&s->shape->axes[a], box[a]);
}

/* ---- staging ---- */

static void copy_box(const source *s, int64_t image, const int64_t *first, const int64_t *pixels,
                     float *buffer, uint8_t *to) {
    const conv_shape *c = s->shape;
    line l = lines_of(s->image, image, buffer);
    for (int64_t i = 0; i < pixels[0] * pixels[1]; i++) {
        uint8_t *row = to + i / pixels[1] * s->pitch[0] + i % pixels[1] * s->pitch[1];
        int64_t z = located(&c->axes[0], first[0] + i / pixels[1], c->padding_mode);
        int64_t y = located(&c->axes[1], first[1] + i % pixels[1], c->padding_mode);
        if (z < 0 || y < 0) {
            memset(row, l.zero, (size_t)(pixels[2] * c->channels));
            continue;
        }
        l.from = pixel(s->image, image, z, y, 0);
        copy_line(s->image, &l, first[2], pixels[2], row);
    }
}

/* ---- blocks ---- */

/* The pieces of a block's memory. */
typedef struct {
    const uint8_t **bases;
    float *scales;
    int32_t *zero_points;
    float *buffer;
    uint8_t *staged;
    size_t bytes; /* of all */
} stage;

static void *carve(stage *t, void *memory, int64_t count, size_t size) {
    void *piece = memory ? (char *)memory + t->bytes : NULL;
    t->bytes += (size_t)count * size;
    return piece;
}

/* Without memory it only measures. */
static stage divide(const source *s, const int64_t *box, void *memory) {
    int64_t rows = volume(box), channels = s->shape->channels, pixels[AXES];
    int64_t floats = s->image->kind == INPUT_FLOAT;
    extents(s, box, pixels);
    stage t = {0};
    t.bases = carve(&t, memory, rows, sizeof *t.bases);
    t.scales = carve(&t, memory, rows * floats, sizeof *t.scales);
    t.zero_points = carve(&t, memory, rows * floats, sizeof *t.zero_points);
    t.buffer = carve(&t, memory, pixels[2] * channels * floats, sizeof *t.buffer);
    t.staged = carve(&t, memory, s->in_place ? 0 : volume(pixels) * channels + SLACK, 1);
    return t;
}

static void find_bases(const source *s, const int64_t *count, const uint8_t *start,
                       const uint8_t **bases) {
    int64_t step[AXES];
    for (int a = 0; a < AXES; a++) step[a] = s->shape->axes[a].stride * s->pitch[a];
    for (int64_t i = 0; i < count[0] * count[1]; i++) {
        const uint8_t *row = start + i / count[1] * step[0] + i % count[1] * step[1];
        for (int64_t x = 0; x < count[2]; x++) *bases++ = row + x * step[2];
    }
}

static row_block stage_box(const void *context, int64_t block, void *memory) {
    const source *s = context;
    const conv_axis *axes = s->shape->axes;
    int64_t image = block / volume(s->boxes), rest = block % volume(s->boxes);
    int64_t count[AXES], first[AXES], place[AXES], pixels[AXES];
    for (int a = AXES - 1; a >= 0; rest /= s->boxes[a--]) {
        int64_t begin = rest % s->boxes[a] * s->box[a];
        count[a] = smaller(s->box[a], axes[a].outputs - begin);
        first[a] = axes[a].first + begin * axes[a].stride;
        place[a] = axes[a].place + begin * axes[a].spacing;
    }
    stage t = divide(s, s->box, memory);
    if (s->in_place) {
        find_bases(s, count, (const uint8_t *)pixel(s->image, image, first[0], first[1], first[2]),
                   t.bases);
    } else {
        extents(s, count, pixels);
        copy_box(s, image, first, pixels, t.buffer, t.staged);
        find_bases(s, count, t.staged, t.bases);
    }
    row_block rows = {
        .bases = t.bases,
        .count = volume(count),
        .first = ((image * axes[0].out_size + place[0]) * axes[1].out_size + place[1]) *
                     axes[2].out_size + place[2],
        .line = count[2],
        .spacing = axes[2].spacing,
        .line_spacing = axes[1].spacing * axes[2].out_size,
        .step_offsets = s->step_offsets,
    };
    if (rows.spacing == 1 && rows.line == rows.line_spacing) rows.line = rows.count;
    if (s->image->kind == INPUT_FLOAT) {
        for (int64_t i = 0; i < rows.count; i++) {
            t.scales[i] = s->image->scales[image];
            t.zero_points[i] = s->image->quantized[image].zero_point;
        }
        rows.scales = t.scales;
        rows.zero_points = t.zero_points;
    }
    return rows;
}

/* What a block of this size keeps in the cache. */
static int64_t block_bytes(const source *s, const int64_t *box) {
    int64_t pixels[AXES];
    extents(s, box, pixels);
    return volume(box) * (int64_t)sizeof(uint8_t *) + volume(pixels) * s->shape->channels;
}

/* Boxes grow along x, then y, then z, as long as their rows are evenly spaced in the output. */
static void choose_boxes(source *s) {
    const conv_shape *c = s->shape;
    const conv_axis *axes = c->axes;
    int64_t outputs = c->batch, inputs = c->batch * c->channels, most = INT64_MAX;
    for (int a = 0; a < AXES; a++) {
        outputs *= axes[a].outputs;
        inputs *= axes[a].size;
        s->box[a] = 1;
    }
    /* Threads share boxes where the input is what is large, else panels; see run(). */
    int threads = s->product->threads;
    if (threads > 1 && s->product->weights->bytes < inputs)
        most = larger(divide_up(outputs, TASKS_PER_THREAD * (int64_t)threads), MIN_BOX_ROWS);
    for (int a = AXES - 1; a >= 0; a--) {
        if (a == 0 && axes[0].spacing * axes[1].spacing * axes[2].spacing != 1) break;
        int64_t fitting = 1, too_many = axes[a].outputs + 1;
        while (too_many - fitting > 1) {
            s->box[a] = (fitting + too_many) / 2;
            bool fits = volume(s->box) <= most && block_bytes(s, s->box) <= BOX_BYTES;
            *(fits ? &fitting : &too_many) = s->box[a];
        }
        s->box[a] = fitting;
        if (fitting < axes[a].outputs) break;
    }
    for (int a = 0; a < AXES; a++) {
        s->boxes[a] = divide_up(axes[a].outputs, s->box[a]);
        s->box[a] = divide_up(axes[a].outputs, larger(s->boxes[a], 1)); /* all of about one size */
    }
}

/* Whether a line of taps was packed as one run. */
static bool joined(const source *s) {
    const packed *w = s->product->weights;
    return w->run_length * w->groups > s->shape->channels;
}

/* Whether the kernels may read the input as it is: nothing to pad, nothing that they would read
 * past its end, and taps that were packed as neighbours are. */
static bool readable_in_place(const source *s) {
    const conv_shape *c = s->shape;
    const packed *w = s->product->weights;
    int64_t length = w->run_length, reach = length;
    if (s->image->kind != INPUT_U8 || c->channel_stride != 1) return false;
    if (length % STEP) return false;
    if (joined(s) && c->axes[2].input_stride != c->channels) return false;
    for (int a = 0; a < AXES; a++) {
        const conv_axis *axis = &c->axes[a];
        if (axis->first < 0 || axis->first + extent(axis, axis->outputs) > axis->size) return false;
        reach += (axis->taps - 1) * axis->dilation * axis->input_stride;
    }
    return reach <= INT32_MAX;
}

static void find_pitch(source *s) {
    int64_t pixels[AXES], pitch = s->shape->channels;
    extents(s, s->box, pixels);
    for (int a = AXES - 1; a >= 0; a--) {
        s->pitch[a] = s->in_place ? s->shape->axes[a].input_stride : pitch;
        pitch *= pixels[a];
    }
}

/* Where each step lies, from an output pixel's first byte. */
static void find_steps(const source *s, int32_t *out) {
    const conv_axis *axes = s->shape->axes;
    const packed *w = s->product->weights;
    int64_t runs = joined(s) ? 1 : axes[2].taps; /* of a line of taps */
    for (int64_t z = 0; z < axes[0].taps; z++)
        for (int64_t y = 0; y < axes[1].taps; y++)
            for (int64_t x = 0; x < runs; x++)
                for (int64_t i = 0; i < w->run_length; i += STEP)
                    *out++ = (int32_t)(z * axes[0].dilation * s->pitch[0] +
                                       y * axes[1].dilation * s->pitch[1] +
                                       x * axes[2].dilation * s->pitch[2] + i);
}

/* Makes boxes, and runs through them. */
static int dense(const product *p, const image_source *image) {
    const packed *weights = p->weights;
    source source = {.product = p, .image = image, .shape = image->shape}, *s = &source;
    choose_boxes(s);
    s->in_place = readable_in_place(s);
    find_pitch(s);
    int32_t *offsets = malloc((size_t)(weights->offset_count + 1) * sizeof *offsets);
    if (!offsets) return -1;
    find_steps(s, offsets);
    s->step_offsets = offsets;
    job j = {.product = s->product, .blocks = s->shape->batch * volume(s->boxes),
             .block_rows = volume(s->box), .stage_bytes = divide(s, s->box, NULL).bytes,
             .stage = stage_box, .source = s};
    int result = run(&j);
    free(offsets);
    return result;
}

static int convolve(const product *p, const image_source *image) {
    return (p->weights->depthwise ? depthwise : dense)(p, image);
}

int conv(const product *p, enum input_kind kind, const void *input, const conv_shape *shape) {
    image_source s = {.kernels = p->kernels, .kind = kind, .input = input, .element = 1,
                      .shape = shape};
    return convolve(p, &s);
}

/* ---- floats, quantized on the way ---- */

typedef struct {
    const image_source *source;
    memory_layout layout; /* of an image's elements, in any order */
    int64_t size;
    extremes *extremes;
} images;

/* Channels last or first, whichever makes steps small. */
static memory_layout image_layout(const conv_shape *shape) {
    const bool last = shape->channel_stride <= shape->axes[AXES - 1].input_stride;
    int64_t sizes[AXES + 1], strides[AXES + 1];
    sizes[last ? AXES : 0] = shape->channels;
    strides[last ? AXES : 0] = shape->channel_stride;
    for (int a = 0; a < AXES; a++) {
        sizes[a + !last] = shape->axes[a].size;
        strides[a + !last] = shape->axes[a].input_stride;
    }
    return merged(AXES + 1, sizes, strides);
}

static void find_extremes(const void *context, int64_t begin, int64_t end) {
    const images *all = context;
    for (int64_t i = begin; i < end; i++) {
        const operand image = {pixel(all->source, i, 0, 0, 0), &all->layout};
        all->extremes[i] = extremes_of(all->source->kernels, &image, all->size);
    }
}

int conv_dynamic(const product *p, const float *input, const conv_shape *shape, int32_t quant_max,
                 bool per_image) {
    int64_t batch = shape->batch;
    image_source s = {.kernels = p->kernels, .kind = INPUT_FLOAT, .input = (const char *)input,
                      .element = sizeof *input, .shape = shape};
    images all = {.source = &s, .layout = image_layout(shape), .size = shape->channels};
    for (int a = 0; a < AXES; a++) all.size *= shape->axes[a].size;
    all.extremes = malloc((size_t)batch * sizeof *all.extremes);
    quantize_params *quantized = malloc((size_t)batch * sizeof *quantized);
    float *scales = malloc((size_t)batch * sizeof *scales);
    int result = -1;
    if (all.extremes && quantized && scales) {
        parallel(batch, GRAIN / larger(all.size, 1), p->threads, find_extremes, &all);
        extremes whole = OF_NOTHING;
        for (int64_t i = 0; i < batch; i++) whole = joined_extremes(whole, all.extremes[i]);
        for (int64_t i = 0; i < batch; i++)
            scales[i] = choose_parameters(per_image ? all.extremes[i] : whole, quant_max,
                                          &quantized[i]);
        s.quantized = quantized;
        s.scales = scales;
        result = convolve(p, &s);
    }
    free(all.extremes);
    free(quantized);
    free(scales);
    return result;
}
