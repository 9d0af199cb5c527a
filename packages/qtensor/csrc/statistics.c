/* Drivers: strided tensors into runs of values, runs to kernels. See statistics.h. */
#include "statistics.h"

#include <math.h>
#include <stdlib.h>

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
    strided_tensor view = {.data = tensor->data, .dimensions = 0};
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

/* Where value number `index` lies, in the order of memory. */
static int64_t offset_of(const strided_tensor *view, int64_t index) {
    int64_t offset = 0;
    for (int d = view->dimensions - 1; d >= 0; d--) {
        offset += index % view->sizes[d] * view->strides[d];
        index /= view->sizes[d];
    }
    return offset;
}

typedef void run_function(void *context, const float *x, int64_t n);

enum { BUFFER = 1024, LONG_RUN = 64 };

/* Calls `run` for the values from number `begin` to `end`, where they are if many lie together,
 * else gathered into a buffer. */
static void for_runs(const strided_tensor *view, int64_t begin, int64_t end, run_function *run,
                     void *context) {
    const int last = view->dimensions - 1;
    const int64_t length = view->sizes[last], step = view->strides[last];
    float buffer[BUFFER];
    int64_t filled = 0;
    while (begin < end) {
        const float *x = view->data + offset_of(view, begin);
        int64_t n = smaller(length - begin % length, end - begin);
        if (step == 1 && n >= LONG_RUN) {
            run(context, x, n);
        } else {
            n = smaller(n, BUFFER - filled);
            for (int64_t i = 0; i < n; i++) {
                buffer[filled++] = x[i * step];
            }
            if (filled == BUFFER) {
                run(context, buffer, filled);
                filled = 0;
            }
        }
        begin += n;
    }
    run(context, buffer, filled);
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
    const strided_tensor *view; /* the dimensions but that of the channels */
    int64_t channel_stride, channels;
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
        view.data = all->view->data + i * all->channel_stride;
        for_runs(&view, 0, values, channel_run, &c);
        all->ranges->lowest[i] = positive_zero(c.range.lowest);
        all->ranges->highest[i] = positive_zero(c.range.highest);
        all->ranges->nonfinite[i] = c.range.nonfinite;
    }
}

enum { LINE = 16 }; /* floats in a cache line, which no two threads should share */

/* All channels side by side: where they follow each other in memory, as in channels_last. */
static void channels_together(const void *context, int64_t begin, int64_t end) {
    const channelwise *all = context;
    const strided_tensor *view = all->view;
    const int last = view->dimensions - 1;
    const int64_t first = begin * LINE, columns = smaller(end * LINE, all->channels) - first;
    const channel_ranges ranges = {all->ranges->lowest + first, all->ranges->highest + first,
                                   all->ranges->nonfinite + first};
    for (int64_t c = 0; c < columns; c++) {
        ranges.lowest[c] = INFINITY;
        ranges.highest[c] = -INFINITY;
        ranges.nonfinite[c] = 0;
    }
    const int64_t rows = view->sizes[last], values = number_of_values(view);
    for (int64_t at = 0; at < values; at += rows) {
        const float *x = view->data + offset_of(view, at) + first;
        all->kernels->column_ranges(x, rows, view->strides[last], columns, &ranges);
    }
    for (int64_t c = 0; c < columns; c++) {
        ranges.lowest[c] = positive_zero(ranges.lowest[c]);
        ranges.highest[c] = positive_zero(ranges.highest[c]);
    }
}

void ranges_of_channels(const statistics_kernels *kernels, const strided_tensor *tensor, int axis,
                        const channel_ranges *ranges, int threads) {
    const strided_tensor view = in_memory_order(tensor, axis);
    const int64_t channels = tensor->sizes[axis], stride = tensor->strides[axis];
    const channelwise all = {kernels, &view, stride, channels, ranges};
    const int64_t bytes = number_of_values(&view) * (int64_t)sizeof(float); /* of one channel */
    const int64_t grain = GRAIN / (bytes > 0 ? bytes : 1) + 1;
    if (stride == 1 && view.strides[view.dimensions - 1] >= channels && channels > 1) {
        parallel((channels + LINE - 1) / LINE, (grain + LINE - 1) / LINE, threads,
                 channels_together, &all);
    } else {
        parallel(channels, grain, threads, channels_in_turn, &all);
    }
}
