/* Every shuffle is lines of bytes that are laid side by side, or the other way round. See
 * shuffle.h. */
#include "shuffle.h"

#include "parallel.h"

#define INLINE static inline __attribute__((always_inline))

/* Byte k of line j, which begins `stride` bytes after the line before, is byte j of the k-th group,
 * which begins `step` bytes after the group before. Compiled for constant counts and steps. */
INLINE void interleave(const uint8_t *restrict lines, int64_t stride, uint8_t *restrict groups,
                       const int64_t step, const int64_t count, int64_t length) {
    for (int64_t k = 0; k < length; k++)
        for (int64_t j = 0; j < count; j++) groups[k * step + j] = lines[j * stride + k];
}

INLINE void separate(const uint8_t *restrict groups, const int64_t step, uint8_t *restrict lines,
                     int64_t stride, const int64_t count, int64_t length) {
    for (int64_t k = 0; k < length; k++)
        for (int64_t j = 0; j < count; j++) lines[j * stride + k] = groups[k * step + j];
}

static void channel_range(const void *context, int64_t begin, int64_t end) {
    const shuffle *s = context;
    const int64_t channels = s->channels, groups = s->factor, each = channels / groups;
    const uint8_t *from = s->input + begin * channels;
    uint8_t *to = s->output + begin * channels;
    for (int64_t i = begin; i < end; i++, from += channels, to += channels) {
        switch (groups) {
        case 2: interleave(from, each, to, 2, 2, each); break;
        case 3: interleave(from, each, to, 3, 3, each); break;
        case 4: interleave(from, each, to, 4, 4, each); break;
        case 8: interleave(from, each, to, 8, 8, each); break;
        default: interleave(from, each, to, groups, groups, each); break;
        }
    }
}

/* One row of the larger image. With channels first, its pixels are those of `factor` rows of the
 * smaller one, side by side. With channels last, so are the channels of `factor` of its pixels, in
 * what is one pixel of the smaller image. */
INLINE void pixel_row(const shuffle *s, int64_t row, const bool enlarges, const int64_t factor) {
    const int64_t height = s->height, width = s->width, channels = s->channels;
    const int64_t large_height = height * factor, y = row % large_height;
    const int64_t i = y % factor, image = row / large_height;
    int64_t small, large, pixels, of_small, of_large, step, stride, length;
    if (s->channels_last) {
        small = ((image * height + y / factor) * width * channels * factor + i) * factor;
        large = row * width * factor * channels;
        pixels = width, step = factor * factor, stride = length = channels;
        of_small = channels * factor * factor, of_large = channels * factor;
    } else {
        small = ((image * factor + i) * factor * height + y / factor) * width;
        large = row * width * factor;
        pixels = 1, step = factor, stride = height * width, length = width;
        of_small = of_large = 0;
    }
    for (int64_t at = 0; at < pixels; at++, small += of_small, large += of_large) {
        if (s->channels_last != enlarges)
            interleave(s->input + (enlarges ? small : large), stride,
                       s->output + (enlarges ? large : small), step, factor, length);
        else
            separate(s->input + (enlarges ? small : large), step,
                     s->output + (enlarges ? large : small), stride, factor, length);
    }
}

INLINE void pixel_range(const shuffle *s, int64_t begin, int64_t end, const bool enlarges) {
    for (int64_t row = begin; row < end; row++) {
        switch (s->factor) {
        case 2: pixel_row(s, row, enlarges, 2); break;
        case 3: pixel_row(s, row, enlarges, 3); break;
        case 4: pixel_row(s, row, enlarges, 4); break;
        default: pixel_row(s, row, enlarges, s->factor); break;
        }
    }
}

static void enlarge_range(const void *context, int64_t begin, int64_t end) {
    pixel_range(context, begin, end, true);
}

static void reduce_range(const void *context, int64_t begin, int64_t end) {
    pixel_range(context, begin, end, false);
}

/* Bytes that one thread moves at the least: a byte takes about as long as four of a copy. */
enum { WORTH_A_THREAD = GRAIN / 4 };

void channel_shuffle(const shuffle *s, int threads) {
    const int64_t pixels = s->batch * s->height * s->width;
    parallel(pixels, WORTH_A_THREAD / s->channels + 1, threads, channel_range, s);
}

static void pixels(const shuffle *s, int threads, range_function *range) {
    const int64_t planes = s->channels_last ? 1 : s->channels;
    const int64_t row_bytes = s->width * s->factor * (s->channels / planes);
    parallel(s->batch * planes * s->height * s->factor, WORTH_A_THREAD / row_bytes + 1, threads,
             range, s);
}

void pixel_shuffle(const shuffle *s, int threads) { pixels(s, threads, enlarge_range); }

void pixel_unshuffle(const shuffle *s, int threads) { pixels(s, threads, reduce_range); }
