/* Channels and pixels of images in another order. */
#ifndef QTENSOR_SHUFFLE_H
#define QTENSOR_SHUFFLE_H

#include <stdbool.h>
#include <stdint.h>

/* A batch of images. Where pixels are shuffled, height and width are those of the smaller image,
 * and channels those of the larger, which has `factor` as many pixels along each side. */
typedef struct {
    const uint8_t *input;
    uint8_t *output;
    int64_t batch, channels, height, width, factor;
    bool channels_last; /* or first */
} shuffle;

typedef void shuffle_function(const shuffle *s, int threads);

/* Channel (g, k) of `factor` groups becomes channel (k, g); of images whose channels are last. */
shuffle_function channel_shuffle;

/* Channel (c, i, j) of the smaller image and channel c of pixel (i, j) within one of its pixels. */
shuffle_function pixel_shuffle, pixel_unshuffle;

#endif
