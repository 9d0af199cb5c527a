/* Copies lines of an image, with its padding, to where the kernels read them: bytes, channels last,
 * whatever the input's type and strides. */
#include <string.h>

#include "conv.h"

/* Channel by channel, since where pixels are not whole, each channel's lie together. */
#define GATHER(type)                               \
    for (int64_t j = 0; j < channels; j++)         \
        for (int64_t i = 0; i < count; i++)        \
            ((type *)to)[i * channels + j] =       \
                ((const type *)from)[i * pixel_stride + j * c->channel_stride];

/* Consecutive pixels of a line, channels last; `to` is used only if they are not so already. */
static const void *gathered(const image_source *s, const void *from, int64_t count, void *to) {
    const conv_shape *c = s->shape;
    int64_t channels = c->channels, pixel_stride = c->axes[2].input_stride;
    bool whole_pixels = c->channel_stride == 1 || channels == 1;
    if (whole_pixels && (pixel_stride == channels || count <= 1)) return from;
    if (s->element == 1) {
        GATHER(uint8_t)
    } else {
        GATHER(float)
    }
    return to;
}

static void copy_pixels(const image_source *s, const line *l, int64_t first, int64_t count,
                        uint8_t *to) {
    int64_t n = count * s->shape->channels;
    const char *from = l->from + first * s->shape->axes[2].input_stride * s->element;
    if (s->kind == INPUT_FLOAT) {
        const float *values = gathered(s, from, count, l->buffer);
        s->kernels->elementwise->quantize(values, to, n, l->quantized, 0);
        return;
    }
    const uint8_t *bytes = gathered(s, from, count, to);
    if (s->kind == INPUT_S8)
        for (int64_t i = 0; i < n; i++) to[i] = bytes[i] ^ 0x80;
    else if (bytes != to)
        memcpy(to, bytes, (size_t)n);
}

static void copy_padding(const image_source *s, const line *l, int64_t first, int64_t count,
                         uint8_t *to) {
    const conv_shape *c = s->shape;
    for (int64_t i = first; i < first + count; i++, to += c->channels) {
        int64_t from = located(&c->axes[2], i, c->padding_mode);
        if (from < 0)
            memset(to, l->zero, (size_t)c->channels);
        else
            copy_pixels(s, l, from, 1, to);
    }
}

line lines_of(const image_source *s, int64_t image, float *buffer) {
    line l = {.buffer = buffer, .zero = s->shape->padding_value};
    if (s->quantized) {
        l.quantized = &s->quantized[image];
        l.zero = (uint8_t)l.quantized->zero_point;
    }
    return l;
}

void copy_line(const image_source *s, const line *l, int64_t first, int64_t count, uint8_t *to) {
    int64_t channels = s->shape->channels, size = s->shape->axes[2].size;
    int64_t before = smaller(larger(-first, 0), count);
    int64_t inside = smaller(size - first, count) - before;
    if (inside <= 0) {
        copy_padding(s, l, first, count, to);
        return;
    }
    int64_t end = before + inside;
    copy_padding(s, l, first, before, to);
    copy_pixels(s, l, first + before, inside, to + before * channels);
    copy_padding(s, l, first + end, count - end, to + end * channels);
}
