/* Images of up to three dimensions, lying in memory in any way, and the rows they are cut into.
 *
 * Where the channels of a pixel lie side by side, a row has all of them, and so they lie in the
 * output. Where they do not, each channel is an image of its own, in the output too: a row is then
 * one of each of a few channels, which have everything but their place in common. */
#ifndef QTENSOR_IMAGES_H
#define QTENSOR_IMAGES_H

#include <stdint.h>

typedef struct {
    int64_t depth, height, width; /* 1 where there is no such axis */
} image_size;

typedef struct {
    int64_t batch, channels;
    int64_t batch_stride, channel_stride; /* bytes between neighbours, none of them negative */
    image_size size, strides;
    int channels_last; /* channel_stride is 1; the output is NDHWC, else NCDHW */
} image_layout;

/* A row of the output, and where it is computed from. */
typedef struct {
    const uint8_t *input; /* the first channel of the image's first pixel */
    uint8_t *output;
    int64_t channels, z, y;
} image_row;

static inline int64_t pixels_of(image_size size) { return size.depth * size.height * size.width; }

/* Few enough to stay in the cache while their rows are worked on one after the other, and enough
 * to share the work of finding one. */
enum { FEW_CHANNELS = 32, CACHED_BYTES = 1 << 15 };

static inline int64_t channels_at_once(const image_layout *images) {
    const int64_t pixels = pixels_of(images->size);
    const int64_t cached = pixels ? CACHED_BYTES / pixels : 0;
    const int64_t most = cached < FEW_CHANNELS ? FEW_CHANNELS : cached;
    return images->channels_last || images->channels < most ? images->channels : most;
}

/* How many rows an output of this size has; none if there are no channels. */
static inline int64_t rows_of(const image_layout *images, image_size output) {
    const int64_t most = channels_at_once(images);
    const int64_t parts = most ? (images->channels + most - 1) / most : 0;
    return images->batch * parts * output.depth * output.height;
}

static inline image_row row_at(const image_layout *images, const uint8_t *input, uint8_t *output,
                               image_size size, int64_t index) {
    const int64_t most = channels_at_once(images), parts = (images->channels + most - 1) / most;
    const int64_t plane = index / size.height, part = plane / size.depth, image = part / parts;
    const int64_t channel = part % parts * most, left = images->channels - channel;
    image_row row = {.channels = left < most ? left : most};
    row.z = plane % size.depth;
    row.y = index % size.height;
    row.input = input + image * images->batch_stride + channel * images->channel_stride;
    const int64_t before = image * images->channels + channel; /* images of one channel */
    const int64_t line = row.z * size.height + row.y;
    const int64_t of_pixel = images->channels_last ? images->channels : 1;
    row.output = output + before * pixels_of(size) + line * size.width * of_pixel;
    return row;
}

/* Behind the last byte that there is. */
static inline const uint8_t *end_of(const image_layout *images, const uint8_t *input) {
    return input + (images->batch - 1) * images->batch_stride +
           (images->channels - 1) * images->channel_stride +
           (images->size.depth - 1) * images->strides.depth +
           (images->size.height - 1) * images->strides.height +
           (images->size.width - 1) * images->strides.width + 1;
}

#endif
