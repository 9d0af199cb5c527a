/* What dense and depthwise convolution share: images, and the lines read from them. Everything has
 * three axes; those that an image lacks have size 1. */
#ifndef QTENSOR_CONV_H
#define QTENSOR_CONV_H

#include "gemm.h"

enum { AXES = 3 };

typedef struct {
    const kernels *kernels;
    enum input_kind kind;
    const char *input;
    int64_t element; /* bytes of an element of the input */
    const conv_shape *shape;
    const quantize_params *quantized; /* how each image is, and by which scale; */
    const float *scales;              /* both INPUT_FLOAT only */
} image_source;

static inline int64_t volume(const int64_t *sizes) { return sizes[0] * sizes[1] * sizes[2]; }

/* Input pixels under consecutive outputs. */
static inline int64_t extent(const conv_axis *axis, int64_t outputs) {
    return larger((outputs - 1) * axis->stride + (axis->taps - 1) * axis->dilation + 1, 0);
}

/* Where pixel i has its value from; -1 if it is zero. */
static inline int64_t located(const conv_axis *axis, int64_t i, enum padding_mode mode) {
    int64_t last = axis->size - 1;
    if (i >= 0 && i <= last) return i;
    if (mode == PAD_REFLECT) return i < 0 ? -i : 2 * last - i;
    if (mode == PAD_REPLICATE) return i < 0 ? 0 : last;
    if (mode == PAD_CIRCULAR) return i < 0 ? i + axis->size : i - axis->size;
    return -1;
}

static inline const char *pixel(const image_source *s, int64_t image, int64_t z, int64_t y,
                                int64_t x) {
    const conv_axis *axes = s->shape->axes;
    return s->input + (image * s->shape->batch_stride + z * axes[0].input_stride +
                       y * axes[1].input_stride + x * axes[2].input_stride) * s->element;
}

/* A line of the input on its way to the bytes that the kernels read, channels last. */
typedef struct {
    const char *from;                 /* its pixel 0 */
    const quantize_params *quantized; /* INPUT_FLOAT only, */
    float *buffer;                    /* for as many pixels as are copied at once */
    uint8_t zero;
} line;

/* All but `from`, which depends on the line. */
line lines_of(const image_source *s, int64_t image, float *buffer);

/* Pixels first .. first + count, which may lie in the padding. */
void copy_line(const image_source *s, const line *l, int64_t first, int64_t count, uint8_t *to);

/* Depthwise convolution: depthwise.c. Returns 0, or -1 if memory is short. */
int depthwise(const product *p, const image_source *s);

#endif
