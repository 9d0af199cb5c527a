/* Packs int8 weights into panels and proves which of their steps may be summed in 16 bits.
 *
 * The instruction that the fast kernels use multiplies 4 activations by 4 weights and leaves two
 * 16-bit LANES, each the sum of two products, saturated. A lane that sums the products of one or
 * more steps cannot saturate if, with activations in 0 .. amax,
 *
 *     amax * (sum of its positive weights) <= 32767   and
 *     amax * (sum of its negative weights) >= -32768,
 *
 * because every partial sum lies between the two. That is the certificate; README.md has the whole
 * argument. Steps come in three kinds: pairs of steps certified together, single ones certified
 * alone, and wide ones, which no certificate covers.
 */
#include <stdlib.h>
#include <string.h>

#include "gemm.h"

enum {
    LANES = 2 * CHANNELS,
    MAX_SUM = 256,  /* of one sign in one lane of one step */
    MAX_TRIES = 24, /* partners looked at for one step before it stays single */
};

/* What one step adds to each lane at most, in each direction. */
typedef struct {
    int16_t positive[LANES];
    int16_t negative[LANES];
} step_sums;

typedef struct {
    int positive, negative;
} limits;

static limits limits_for(int amax) {
    return (limits){32767 / amax, 32768 / amax};
}

/* Whether a step of int8 weights may be unsafe even alone. */
static bool may_be_wide(int amax) {
    limits limit = limits_for(amax);
    return limit.positive < 2 * INT8_MAX || limit.negative < -2 * INT8_MIN;
}

const uint8_t step_orders[ORDERS][STEP] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {0, 3, 1, 2}};

static step_sums sum_step(const int8_t *weights, const uint8_t *order) {
    step_sums s;
    for (int lane = 0; lane < LANES; lane++) {
        const int8_t *channel = weights + lane / 2 * STEP;
        int a = channel[order[lane % 2 * 2]], b = channel[order[lane % 2 * 2 + 1]];
        s.positive[lane] = (int16_t)((a > 0 ? a : 0) + (b > 0 ? b : 0));
        s.negative[lane] = (int16_t)((a < 0 ? -a : 0) + (b < 0 ? -b : 0));
    }
    return s;
}

static const step_sums nothing;

static bool certified(const step_sums *a, const step_sums *b, limits limit) {
    int unsafe = 0; /* no early exit: the loop is vectorized */
    for (int lane = 0; lane < LANES; lane++) {
        unsafe |= a->positive[lane] + b->positive[lane] > limit.positive;
        unsafe |= a->negative[lane] + b->negative[lane] > limit.negative;
    }
    return !unsafe;
}

static int largest_sum(const step_sums *s) {
    int largest = 0;
    for (int lane = 0; lane < LANES; lane++) {
        largest = s->positive[lane] > largest ? s->positive[lane] : largest;
        largest = s->negative[lane] > largest ? s->negative[lane] : largest;
    }
    return largest;
}

/* Workspace of one panel's schedule; every array has one entry per step. */
typedef struct {
    step_sums *sums;
    int32_t *by_size; /* safe steps, smallest first */
    int32_t *partner; /* the step it is paired with, or one of the following */
    int16_t *size;
} schedule;

/* Steps without partner: single in one of the orders, wide, or not decided yet. */
enum { SINGLE = -ORDERS, WIDE = SINGLE - 1, OPEN = WIDE - 1 };

/* Pairs the largest step with the smallest one, the next largest with the next smallest and so on:
 * for plain numbers that gives the most pairs under a bound. Steps have 64 numbers each, so where
 * the first candidate does not fit, a few larger ones are tried. */
static void pair_steps(schedule *s, int32_t safe, limits limit) {
    int32_t smallest = 0;
    for (int32_t i = safe - 1; i >= 0; i--) {
        int32_t large = s->by_size[i];
        if (s->partner[large] != OPEN) continue;
        while (smallest < i && s->partner[s->by_size[smallest]] != OPEN) smallest++;
        int32_t found = SINGLE;
        for (int32_t j = smallest, tries = 0; j < i && tries < MAX_TRIES && found < 0; j++) {
            int32_t small = s->by_size[j];
            if (s->partner[small] != OPEN) continue;
            tries++;
            if (certified(&s->sums[large], &s->sums[small], limit)) found = small;
        }
        s->partner[large] = found;
        if (found >= 0) s->partner[found] = large;
    }
}

/* A step that is not safe in the order of its activations may be in another one. */
static int32_t reordered(const int8_t *weights, limits limit, int orders) {
    for (int order = 1; order < orders; order++) {
        step_sums sums = sum_step(weights, step_orders[order]);
        if (certified(&sums, &nothing, limit)) return SINGLE + order;
    }
    return WIDE;
}

/* raw: the panel's steps in natural order, 64 bytes each. orders: how many may be used. */
static void plan_steps(schedule *s, const int8_t *raw, int32_t steps, limits limit, int orders) {
    int32_t starts[MAX_SUM + 2] = {0};
    for (int32_t i = 0; i < steps; i++) {
        const int8_t *weights = raw + (size_t)i * STEP_BYTES;
        s->sums[i] = sum_step(weights, step_orders[0]);
        bool safe = certified(&s->sums[i], &nothing, limit);
        s->partner[i] = safe ? OPEN : reordered(weights, limit, orders);
        if (!safe) continue;
        s->size[i] = (int16_t)largest_sum(&s->sums[i]);
        starts[s->size[i] + 1]++;
    }
    for (int i = 0; i <= MAX_SUM; i++) starts[i + 1] += starts[i];
    int32_t safe = starts[MAX_SUM + 1];
    for (int32_t i = 0; i < steps; i++)
        if (s->partner[i] == OPEN) s->by_size[starts[s->size[i]]++] = i;
    pair_steps(s, safe, limit);
}

/* For each half of the channels: the weights of activations 0 and 2, then those of 1 and 3, which
 * is how the kernel widens the activations. In 16 bits: to widen the weights for every tile costs
 * a sixth of the time. */
static void store_wide(const int8_t *step, int16_t *out) {
    for (int c = 0; c < CHANNELS; c++) {
        int16_t *half = out + c / 8 * 32 + c % 8 * 2;
        half[0] = step[c * STEP];
        half[1] = step[c * STEP + 2];
        half[16] = step[c * STEP + 1];
        half[17] = step[c * STEP + 3];
    }
}

/* Where the next step of a panel goes. */
typedef struct {
    const int8_t *raw;
    int32_t first; /* the number of the first step in the whole of K */
    int32_t *offset;
    int8_t *weights;
} writer;

/* order: NULL for a wide step. */
static void emit(writer *w, int32_t step, const uint8_t *order) {
    const int8_t *from = w->raw + (size_t)step * STEP_BYTES;
    if (order) {
        for (int i = 0; i < STEP_BYTES; i++)
            w->weights[i] = from[i / STEP * STEP + order[i % STEP]];
    } else {
        store_wide(from, (int16_t *)w->weights);
    }
    w->weights += order ? STEP_BYTES : WIDE_BYTES;
    *w->offset++ = STEP * (w->first + step);
}

static int32_t emit_all(writer *w, const schedule *s, int32_t steps, int32_t kind,
                        const uint8_t *order) {
    int32_t count = 0;
    for (int32_t i = 0; i < steps; i++) {
        if (s->partner[i] != kind) continue;
        emit(w, i, order);
        count++;
    }
    return count;
}

/* Pairs, then single steps, then wide ones; each kind in natural order, which suits the caches. */
static panel emit_panel(writer w, const schedule *s, int32_t steps) {
    panel p = {.offsets = w.offset, .weights = w.weights, .offset_count = steps};
    for (int32_t i = 0; i < steps; i++) {
        if (s->partner[i] <= i) continue;
        emit(&w, i, step_orders[0]);
        emit(&w, s->partner[i], step_orders[0]);
        p.pairs++;
    }
    for (int order = 0; order < ORDERS; order++)
        p.single[order] = emit_all(&w, s, steps, SINGLE + order, step_orders[order]);
    p.wide = emit_all(&w, s, steps, WIDE, NULL);
    return p;
}

/* The weights of one panel's steps, natural order, zero where a run or the channels end early. */
static void gather(const int8_t *weights, int64_t channels, int64_t k, int64_t run_length,
                   int64_t first, int64_t steps, int8_t *raw) {
    int64_t run_steps = (run_length + STEP - 1) / STEP;
    memset(raw, 0, (size_t)steps * STEP_BYTES);
    for (int64_t s = 0; s < steps; s++) {
        int64_t run = (first + s) / run_steps, within = (first + s) % run_steps * STEP;
        int64_t count = run_length - within < STEP ? run_length - within : STEP;
        const int8_t *from = weights + run * run_length + within;
        for (int64_t c = 0; c < channels; c++)
            memcpy(raw + s * STEP_BYTES + c * STEP, from + c * k, (size_t)count);
    }
}

/* The panel that sums the activations: weight 1 in channel 0. */
static void gather_ones(int64_t run_length, int64_t first, int64_t steps, int8_t *raw) {
    int64_t run_steps = (run_length + STEP - 1) / STEP;
    memset(raw, 0, (size_t)steps * STEP_BYTES);
    for (int64_t s = 0; s < steps; s++) {
        int64_t within = (first + s) % run_steps * STEP;
        for (int64_t j = 0; j < STEP && within + j < run_length; j++) raw[s * STEP_BYTES + j] = 1;
    }
}

static void add_sums(const int8_t *raw, int64_t steps, int64_t *sums) {
    for (int64_t i = 0; i < steps * STEP_BYTES; i++) sums[i % STEP_BYTES / STEP] += raw[i];
}

/* Cuts one allocation into aligned pieces; with base == NULL it only measures. */
typedef struct {
    char *base;
    size_t used;
} arena;

static void *carve(arena *a, int64_t count, size_t size) {
    void *piece = a->base ? a->base + a->used : NULL;
    a->used += ((size_t)count * size + 63) & ~(size_t)63;
    return piece;
}

static int64_t panel_sums(const packed *p) {
    return p->groups * p->group_panels * (p->depthwise ? DEPTHWISE_CHANNELS : CHANNELS);
}

static void carve_packed(packed *p, arena *a, int32_t **offsets, int8_t **weights, bool ones) {
    int64_t panels = p->groups * p->group_panels;
    p->panels = carve(a, p->chunks * panels, sizeof(panel));
    p->ones = ones ? carve(a, p->chunks, sizeof(panel)) : NULL;
    p->sums = carve(a, panel_sums(p), sizeof(int64_t));
    int64_t count = p->offset_count * (panels + ones);
    *offsets = carve(a, count, sizeof(int32_t));
    *weights = carve(a, count, (size_t)p->step_bytes);
}

/* Allocates what the sizes in *p ask for. */
static packed *allocate(packed sizes, int32_t **offsets, int8_t **weights, bool ones) {
    arena measure = {0};
    carve_packed(&sizes, &measure, offsets, weights, ones);
    packed *p = malloc(sizeof(packed));
    void *memory = aligned_alloc(64, measure.used);
    if (!p || !memory) {
        free(p);
        free(memory);
        return NULL;
    }
    *p = sizes;
    p->memory = memory;
    p->bytes = (int64_t)measure.used;
    carve_packed(p, &(arena){memory, 0}, offsets, weights, ones);
    memset(p->sums, 0, (size_t)panel_sums(p) * sizeof(int64_t));
    return p;
}

static void *carve_schedule(schedule *s, arena *a, int64_t steps) {
    s->sums = carve(a, steps, sizeof(step_sums));
    s->by_size = carve(a, steps, sizeof(int32_t));
    s->partner = carve(a, steps, sizeof(int32_t));
    s->size = carve(a, steps, sizeof(int16_t));
    return carve(a, steps, STEP_BYTES); /* the raw panel */
}

/* What packing one panel after the other needs; the last two move on. */
typedef struct {
    schedule plan;
    int8_t *raw;
    int amax;
    int32_t *offsets;
    int8_t *weights;
} packer;

/* Packs the steps in packer->raw. */
static panel pack_panel(packer *packer, int64_t first, int64_t steps) {
    plan_steps(&packer->plan, packer->raw, (int32_t)steps, limits_for(packer->amax), ORDERS);
    writer w = {packer->raw, (int32_t)first, packer->offsets, packer->weights};
    packer->offsets += steps;
    panel p = emit_panel(w, &packer->plan, (int32_t)steps);
    packer->weights += steps * STEP_BYTES + p.wide * (WIDE_BYTES - STEP_BYTES);
    return p;
}

static void count_steps(packed *p, const panel *done) {
    p->counts[0] += 2 * done->pairs;
    for (int order = 0; order < ORDERS; order++) p->counts[1] += done->single[order];
    p->counts[2] += done->wide;
}

static void pack_chunk(packed *p, packer *packer, const int8_t *weights, int64_t run_length,
                       int64_t first, int64_t steps, int64_t chunk) {
    int64_t panels = p->groups * p->group_panels;
    for (int64_t i = 0; i < panels; i++) {
        int64_t group = i / p->group_panels, channel = i % p->group_panels * CHANNELS;
        int64_t left = p->channels - channel;
        gather(weights + (group * p->channels + channel) * p->k, left < CHANNELS ? left : CHANNELS,
               p->k, run_length, first, steps, packer->raw);
        add_sums(packer->raw, steps, p->sums + i * CHANNELS);
        panel done = pack_panel(packer, first, steps);
        p->panels[chunk * panels + i] = done;
        count_steps(p, &done);
    }
    if (p->ones) {
        gather_ones(run_length, first, steps, packer->raw);
        p->ones[chunk] = pack_panel(packer, first, steps);
    }
}

packed *pack(const int8_t *weights, int64_t groups, int64_t channels, int64_t runs,
             int64_t run_length, int64_t group_stride, int amax, bool row_sums) {
    enum { CHUNK_STEPS = MAX_CHUNK / STEP };
    int64_t steps = runs * ((run_length + STEP - 1) / STEP);
    int64_t chunk_steps = steps < CHUNK_STEPS ? steps : CHUNK_STEPS;
    packed sizes = {.groups = groups, .channels = channels, .k = runs * run_length,
                    .run_length = run_length, .offset_count = steps,
                    .group_stride = group_stride,
                    .group_panels = (channels + CHANNELS - 1) / CHANNELS,
                    .chunks = steps ? (steps + CHUNK_STEPS - 1) / CHUNK_STEPS : 1,
                    .step_bytes = may_be_wide(amax) ? WIDE_BYTES : STEP_BYTES};

    packer packer = {.amax = amax};
    arena measure = {0};
    carve_schedule(&packer.plan, &measure, chunk_steps);
    void *workspace = malloc(measure.used + 1);
    packed *p = workspace ? allocate(sizes, &packer.offsets, &packer.weights, row_sums) : NULL;
    if (p) {
        packer.raw = carve_schedule(&packer.plan, &(arena){workspace, 0}, chunk_steps);
        for (int64_t chunk = 0; chunk < p->chunks; chunk++) {
            int64_t first = chunk * CHUNK_STEPS, left = steps - first;
            pack_chunk(p, &packer, weights, run_length, first,
                       left < CHUNK_STEPS ? left : CHUNK_STEPS, chunk);
        }
        p->bytes = (char *)packer.weights - (char *)p->memory; /* the rest was never touched */
    }
    free(workspace);
    return p;
}

/* ---- depthwise ----
 *
 * Two taps of 32 channels make a step: 32 lanes, one for each channel, which are planned like those
 * of any other step. The kernel joins the bytes of two taps in each 16-byte half of a register, so
 * weights come in the order of channels 0-7, 16-23, 8-15, 24-31; those of a wide step in 16 bits
 * and 0 2 4 6, 16 18 20 22, 1 3 5 7, 17 19 21 23 and so on, which is how it widens 16-bit sums. */

typedef struct {
    const int16_t *weights; /* of the panel's first channel */
    int64_t channels, taps; /* valid channels of the panel */
    int32_t *offset;
    int8_t *out;
} depthwise_writer;

static int16_t tap_weight(const depthwise_writer *w, int64_t channel, int64_t tap) {
    return channel < w->channels && tap < w->taps ? w->weights[channel * w->taps + tap] : 0;
}

static int wide_place(int channel) {
    int half = channel / 16, eight = channel / 8 % 2, within = channel % 8;
    return eight * 16 + within % 2 * 8 + half * 4 + within / 2;
}

static void emit_taps(depthwise_writer *w, int32_t step, bool wide) {
    for (int i = 0; i < 2 * DEPTHWISE_CHANNELS; i++) {
        int channel = i / 2;
        int16_t weight = tap_weight(w, channel, 2 * step + i % 2);
        int half = channel / 16, eight = channel / 8 % 2, within = channel % 8;
        if (wide)
            ((int16_t *)w->out)[2 * wide_place(channel) + i % 2] = weight;
        else
            w->out[2 * (eight * 16 + half * 8 + within) + i % 2] = (int8_t)weight;
    }
    w->out += wide ? WIDE_BYTES : STEP_BYTES;
    *w->offset++ = STEP * 2 * step;
    *w->offset++ = STEP * (2 * step + (2 * step + 1 < w->taps)); /* or the same, weight 0 */
}

static panel emit_depthwise(depthwise_writer *w, const schedule *s, int32_t steps) {
    panel p = {.offsets = w->offset, .weights = w->out, .offset_count = 2 * steps};
    for (int32_t i = 0; i < steps; i++) {
        if (s->partner[i] <= i) continue;
        emit_taps(w, i, false);
        emit_taps(w, s->partner[i], false);
        p.pairs++;
    }
    for (int32_t i = 0; i < steps; i++) {
        if (s->partner[i] != SINGLE) continue;
        emit_taps(w, i, false);
        p.single[0]++;
    }
    for (int32_t i = 0; i < steps; i++) {
        if (s->partner[i] != WIDE) continue;
        emit_taps(w, i, true);
        p.wide++;
    }
    return p;
}

packed *pack_depthwise(const int16_t *weights, int64_t channels, int64_t taps, int amax) {
    int64_t steps = (taps + 1) / 2;
    packed sizes = {.groups = 1, .channels = channels, .k = taps, .run_length = 1, .chunks = 1,
                    .offset_count = 2 * steps,
                    .step_bytes = WIDE_BYTES, .depthwise = true,
                    .group_panels = divide_up(channels, DEPTHWISE_CHANNELS)};
    limits limit = limits_for(amax);
    for (int64_t i = 0; i < channels * taps; i++) /* zero points can make 9 bits of 8 */
        if (weights[i] != (int8_t)weights[i]) limit = (limits){0, 0};

    schedule plan;
    arena measure = {0};
    carve_schedule(&plan, &measure, steps);
    void *workspace = malloc(measure.used + 1);
    depthwise_writer w = {.taps = taps};
    packed *p = workspace ? allocate(sizes, &w.offset, &w.out, false) : NULL;
    if (p) {
        int8_t *raw = carve_schedule(&plan, &(arena){workspace, 0}, steps);
        for (int64_t i = 0; i < p->group_panels; i++) {
            w.weights = weights + i * DEPTHWISE_CHANNELS * taps;
            w.channels = channels - i * DEPTHWISE_CHANNELS;
            memset(raw, 0, (size_t)steps * STEP_BYTES);
            for (int64_t j = 0; j < taps * DEPTHWISE_CHANNELS; j++) {
                int64_t tap = j / DEPTHWISE_CHANNELS, channel = j % DEPTHWISE_CHANNELS;
                int16_t weight = tap_weight(&w, channel, tap);
                raw[tap / 2 * STEP_BYTES + 2 * channel + tap % 2] = (int8_t)weight;
                p->sums[i * DEPTHWISE_CHANNELS + channel] += weight;
            }
            plan_steps(&plan, raw, (int32_t)steps, limit, 1);
            p->panels[i] = emit_depthwise(&w, &plan, (int32_t)steps);
            count_steps(p, &p->panels[i]);
        }
    }
    free(workspace);
    return p;
}

void pack_free(packed *p) {
    if (!p) return;
    free(p->memory);
    free(p);
}
