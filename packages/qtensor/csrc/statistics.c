/* Drivers: strided tensors into runs of values, runs to kernels. See statistics.h. */
#include "statistics.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parallel.h"

static const value_range NOTHING = {INFINITY, -INFINITY, 0};

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* +0 for -0, which of the two is found would depend on the order. */
static float positive_zero(float v) { return v + 0.0f; }

static void take_range(value_range *all, const value_range *part) {
    all->lowest = part->lowest < all->lowest ? part->lowest : all->lowest;
    all->highest = part->highest > all->highest ? part->highest : all->highest;
    all->nonfinite += part->nonfinite;
}

/* ---- Runs ---------------------------------------------------------------------------------- */

/* The same values with their dimensions in the order of memory and as few as possible; at least
 * one. `without`: a dimension to leave out, or -1. */
static strided_tensor in_memory_order(const strided_tensor *tensor, int without) {
    strided_tensor view = {.data = tensor->data, .format = tensor->format, .dimensions = 0};
    for (int d = 0; d < tensor->dimensions; d++) {
        if (d == without || tensor->sizes[d] == 1) {
            continue;
        }
        int at = view.dimensions++;
        for (; at > 0 && view.strides[at - 1] < tensor->strides[d]; at--) {
            view.sizes[at] = view.sizes[at - 1];
            view.strides[at] = view.strides[at - 1];
        }
        view.sizes[at] = tensor->sizes[d];
        view.strides[at] = tensor->strides[d];
    }
    if (view.dimensions == 0) {
        view.dimensions = view.sizes[0] = view.strides[0] = 1;
    }
    int last = 0;
    for (int d = 1; d < view.dimensions; d++) {
        if (view.strides[last] == view.sizes[d] * view.strides[d]) {
            view.sizes[last] *= view.sizes[d];
        } else {
            view.sizes[++last] = view.sizes[d];
        }
        view.strides[last] = view.strides[d];
    }
    view.dimensions = last + 1;
    return view;
}

static int64_t number_of_values(const strided_tensor *view) {
    int64_t n = 1;
    for (int d = 0; d < view->dimensions; d++) {
        n *= view->sizes[d];
    }
    return n;
}

static int size_of(const float_format *format) {
    return format->widen ? sizeof(uint16_t) : sizeof(float);
}

/* Where value number `index` lies, in the order of dimensions. */
static const void *value_at(const strided_tensor *view, int64_t index) {
    int64_t offset = 0;
    for (int d = view->dimensions - 1; d >= 0; d--) {
        offset += index % view->sizes[d] * view->strides[d];
        index /= view->sizes[d];
    }
    return (const char *)view->data + offset * size_of(view->format);
}

typedef void run_function(void *context, const float *x, int64_t n);

enum { LONG_RUN = 64 };

/* Floats, or half floats that become ones when the buffer is full. */
typedef struct {
    float floats[BUFFER_FLOATS];
    uint16_t halves[BUFFER_FLOATS];
    int64_t filled;
} value_buffer;

/* Takes up to n values, `step` apart, as far as there is room; returns how many. */
static int64_t take_values(value_buffer *b, const void *x, int64_t step, int64_t n, int halves) {
    n = smaller(n, BUFFER_FLOATS - b->filled);
    if (!halves) {
        for (int64_t i = 0; i < n; i++) {
            b->floats[b->filled + i] = ((const float *)x)[i * step];
        }
    } else if (step == 1) {
        memcpy(b->halves + b->filled, x, (size_t)n * sizeof *b->halves);
    } else {
        for (int64_t i = 0; i < n; i++) {
            b->halves[b->filled + i] = ((const uint16_t *)x)[i * step];
        }
    }
    b->filled += n;
    return n;
}

/* Calls `run` for the values from number `begin` to `end`, where they are if they are floats and
 * many lie together, else gathered into a buffer. */
static void for_runs(const strided_tensor *view, int64_t begin, int64_t end, run_function *run,
                     void *context) {
    const int last = view->dimensions - 1;
    const int64_t length = view->sizes[last], step = view->strides[last];
    const int halves = view->format->widen != NULL;
    value_buffer buffer = {.filled = 0};
    while (begin < end) {
        const void *x = value_at(view, begin);
        int64_t n = smaller(length - begin % length, end - begin);
        if (step == 1 && n >= LONG_RUN && !halves) {
            run(context, x, n);
        } else {
            n = take_values(&buffer, x, step, n, halves);
        }
        begin += n;
        if (buffer.filled == BUFFER_FLOATS || begin == end) {
            if (halves) {
                view->format->widen(buffer.halves, buffer.floats, buffer.filled);
            }
            run(context, buffer.floats, buffer.filled);
            buffer.filled = 0;
        }
    }
}

/* ---- Per tensor: a piece for each thread, the results joined -------------------------------- */

enum { MAX_PIECES = 64 };

static int pieces_of(int64_t values, int threads) {
    const int64_t worthwhile = values * (int64_t)sizeof(float) / GRAIN;
    const int64_t pieces = smaller(smaller(threads, MAX_PIECES), worthwhile);
    return pieces > 1 ? (int)pieces : 1;
}

typedef struct {
    const statistics_kernels *kernels;
    const strided_tensor *view;
    int64_t values;
    int pieces;
    value_range ranges[MAX_PIECES];
    /* of histograms only */
    const dyadic_bins *bins;
    uint32_t *counters; /* COUNTERS of each bin, OUTER ones too, for each piece */
    int64_t *counts;    /* one of each bin, for each piece */
} piecewise;

typedef struct {
    const piecewise *all;
    value_range range;
    uint32_t *counters;
    int64_t *counts, pending;
} piece;

static void range_run(void *context, const float *x, int64_t n) {
    piece *p = context;
    p->all->kernels->range(x, n, &p->range);
}

static void range_pieces(const void *context, int64_t begin, int64_t end) {
    piecewise *all = (piecewise *)context;
    for (int64_t i = begin; i < end; i++) {
        piece p = {.all = all, .range = NOTHING};
        for_runs(all->view, all->values * i / all->pieces, all->values * (i + 1) / all->pieces,
                 range_run, &p);
        all->ranges[i] = p.range;
    }
}

static value_range joined_ranges(const piecewise *all) {
    value_range range = NOTHING;
    for (int i = 0; i < all->pieces; i++) {
        take_range(&range, all->ranges + i);
    }
    range.lowest = positive_zero(range.lowest);
    range.highest = positive_zero(range.highest);
    return range;
}

value_range range_of(const statistics_kernels *kernels, const strided_tensor *tensor,
                     int threads) {
    const strided_tensor view = in_memory_order(tensor, -1);
    piecewise all = {.kernels = kernels, .view = &view, .values = number_of_values(&view)};
    all.pieces = pieces_of(all.values, threads);
    parallel(all.pieces, 1, threads, range_pieces, &all);
    return joined_ranges(&all);
}

/* 32 bits hold what is counted until this often. */
static const int64_t FLUSH_AFTER = INT64_C(1) << 31;

/* The number of the bin that v lies in, or of the nearest one; v is finite. */
static int64_t nearest_bin(float v, const dyadic_bins *bins) {
    const double index = floor(v * ldexp(1.0, -bins->exponent)) - bins->first;
    const double last = (double)(bins->size - 1);
    return (int64_t)(index < 0 ? 0 : index < last ? index : last);
}

/* Only between the bounds of what was seen: of many bins, few values fill few. */
static void flush_counts(piece *p) {
    p->pending = 0;
    if (p->range.lowest > p->range.highest) {
        return;
    }
    const int64_t begin = nearest_bin(p->range.lowest, p->all->bins);
    const int64_t end = nearest_bin(p->range.highest, p->all->bins) + 1;
    uint32_t *counters = p->counters + (1 + begin) * COUNTERS; /* the first is an outer bin */
    for (int64_t bin = begin; bin < end; bin++) {
        for (int k = 0; k < COUNTERS; k++) {
            p->counts[bin] += counters[k];
            counters[k] = 0;
        }
        counters += COUNTERS;
    }
}

static void count_run(void *context, const float *x, int64_t n) {
    piece *p = context;
    for (int64_t i = 0, count; i < n; i += count) {
        count = smaller(FLUSH_AFTER - p->pending, n - i);
        p->all->kernels->count(x + i, count, p->all->bins, p->counters, &p->range);
        p->pending += count;
        if (p->pending == FLUSH_AFTER) {
            flush_counts(p);
        }
    }
}

static void count_pieces(const void *context, int64_t begin, int64_t end) {
    piecewise *all = (piecewise *)context;
    for (int64_t i = begin; i < end; i++) {
        piece p = {.all = all, .range = NOTHING};
        p.counters = all->counters + i * COUNTERS * (all->bins->size + OUTER);
        p.counts = all->counts + i * all->bins->size;
        for_runs(all->view, all->values * i / all->pieces, all->values * (i + 1) / all->pieces,
                 count_run, &p);
        flush_counts(&p);
        all->ranges[i] = p.range;
    }
}

int count_values(const statistics_kernels *kernels, const strided_tensor *tensor,
                 const dyadic_bins *bins, int64_t *counts, value_range *range, int threads) {
    const strided_tensor view = in_memory_order(tensor, -1);
    piecewise all = {
        .kernels = kernels, .view = &view, .values = number_of_values(&view), .bins = bins};
    all.pieces = pieces_of(all.values, threads);
    const size_t pieces = (size_t)all.pieces, size = (size_t)bins->size;
    all.counters = calloc(pieces * (size + OUTER) * COUNTERS, sizeof *all.counters);
    all.counts = calloc(pieces * size, sizeof *all.counts);
    const int ready = all.counters && all.counts;
    if (ready) {
        parallel(all.pieces, 1, threads, count_pieces, &all);
        *range = joined_ranges(&all);
        for (int64_t bin = 0; bin < bins->size; bin++) {
            for (int i = 0; i < all.pieces; i++) {
                counts[bin] += all.counts[i * bins->size + bin];
            }
        }
    }
    free(all.counters);
    free(all.counts);
    return ready;
}

/* ---- Per channel: threads share the channels ------------------------------------------------ */

typedef struct {
    const statistics_kernels *kernels;
    const strided_tensor *view;     /* the dimensions but those of the channels */
    const strided_tensor *channels; /* these */
    const channel_ranges *ranges;
} channelwise;

typedef struct {
    const statistics_kernels *kernels;
    value_range range;
} channel;

static void channel_run(void *context, const float *x, int64_t n) {
    channel *c = context;
    c->kernels->range(x, n, &c->range);
}

/* Channel by channel: where the values of one lie together, or nothing does. */
static void channels_in_turn(const void *context, int64_t begin, int64_t end) {
    const channelwise *all = context;
    strided_tensor view = *all->view;
    const int64_t values = number_of_values(&view);
    for (int64_t i = begin; i < end; i++) {
        channel c = {all->kernels, NOTHING};
        view.data = value_at(all->channels, i);
        for_runs(&view, 0, values, channel_run, &c);
        all->ranges->lowest[i] = positive_zero(c.range.lowest);
        all->ranges->highest[i] = positive_zero(c.range.highest);
        all->ranges->nonfinite[i] = c.range.nonfinite;
    }
}

enum { LINE = 16 }; /* floats in a cache line, which no two threads should share */

/* Of rows that lie as the last dimension says. Half floats become floats a few rows, or a part of
 * one, at a time. */
static void column_ranges(const channelwise *all, const void *x, int64_t rows, int64_t columns,
                          const channel_ranges *ranges) {
    const float_format *format = all->view->format;
    const int64_t stride = all->view->strides[all->view->dimensions - 1];
    if (!format->widen) {
        all->kernels->column_ranges(x, rows, stride, columns, ranges);
        return;
    }
    float block[BUFFER_FLOATS];
    const int64_t width = smaller(columns, BUFFER_FLOATS), height = BUFFER_FLOATS / width;
    for (int64_t column = 0; column < columns; column += width) {
        const int64_t some = smaller(width, columns - column);
        const channel_ranges here = {ranges->lowest + column, ranges->highest + column,
                                     ranges->nonfinite + column};
        for (int64_t row = 0, n; row < rows; row += n) {
            n = smaller(height, rows - row);
            for (int64_t i = 0; i < n; i++) {
                const uint16_t *from = (const uint16_t *)x + (row + i) * stride + column;
                format->widen(from, block + i * some, some);
            }
            all->kernels->column_ranges(block, n, some, some, &here);
        }
    }
}

/* All channels side by side: where they follow each other in memory, as in channels_last. */
static void channels_together(const void *context, int64_t begin, int64_t end) {
    const channelwise *all = context;
    const strided_tensor *view = all->view;
    const int last = view->dimensions - 1;
    const int64_t first = begin * LINE;
    const int64_t columns = smaller(end * LINE, all->channels->sizes[0]) - first;
    const channel_ranges ranges = {all->ranges->lowest + first, all->ranges->highest + first,
                                   all->ranges->nonfinite + first};
    for (int64_t c = 0; c < columns; c++) {
        ranges.lowest[c] = INFINITY;
        ranges.highest[c] = -INFINITY;
        ranges.nonfinite[c] = 0;
    }
    const int64_t rows = view->sizes[last], values = number_of_values(view);
    for (int64_t at = 0; at < values; at += rows) {
        const char *x = (const char *)value_at(view, at) + first * size_of(view->format);
        column_ranges(all, x, rows, columns, &ranges);
    }
    for (int64_t c = 0; c < columns; c++) {
        ranges.lowest[c] = positive_zero(ranges.lowest[c]);
        ranges.highest[c] = positive_zero(ranges.highest[c]);
    }
}

/* How many channels are worth waking a thread for. */
static int64_t channel_grain(const strided_tensor *view) {
    const int64_t bytes = number_of_values(view) * (int64_t)sizeof(float);
    return GRAIN / (bytes > 0 ? bytes : 1) + 1;
}

void ranges_of_rows(const statistics_kernels *kernels, const strided_tensor *tensor,
                    const channel_ranges *ranges, int threads) {
    strided_tensor leading = *tensor, row = *tensor;
    const int last = --leading.dimensions;
    row.dimensions = 1;
    row.sizes[0] = tensor->sizes[last];
    row.strides[0] = tensor->strides[last];
    const channelwise all = {kernels, &row, &leading, ranges};
    parallel(number_of_values(&leading), channel_grain(&row), threads, channels_in_turn, &all);
}

void ranges_of_channels(const statistics_kernels *kernels, const strided_tensor *tensor, int axis,
                        const channel_ranges *ranges, int threads) {
    const strided_tensor view = in_memory_order(tensor, axis);
    const int64_t channels = tensor->sizes[axis], stride = tensor->strides[axis];
    const strided_tensor along = {tensor->data, tensor->format, 1, {channels}, {stride}};
    const channelwise all = {kernels, &view, &along, ranges};
    const int64_t grain = channel_grain(&view);
    if (stride == 1 && view.strides[view.dimensions - 1] >= channels && channels > 1) {
        parallel((channels + LINE - 1) / LINE, (grain + LINE - 1) / LINE, threads,
                 channels_together, &all);
    } else {
        parallel(channels, grain, threads, channels_in_turn, &all);
    }
}
