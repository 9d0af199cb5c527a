/* Packs int8 weights into panels, in the order and form that kernels read: as schedule.c plans. */
#include <stdlib.h>
#include <string.h>

#include "schedule.h"

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

/* What packing one panel after the other needs; the last two move on. */
typedef struct {
    schedule plan;
    int8_t *raw; /* the panel's steps in natural order */
    int amax;
    int32_t *offsets;
    int8_t *weights;
} packer;

static void emit(packer *w, panel *p, int32_t step, int complement) {
    const int8_t *from = w->raw + (size_t)step * STEP_BYTES;
    if (complement == WIDE) {
        store_wide(from, (int16_t *)w->weights);
        w->weights += WIDE_BYTES;
        return;
    }
    for (int i = 0; i < STEP_BYTES; i++) {
        bool changed = step_complements[complement][i % STEP];
        *w->weights++ = (int8_t)(changed ? -from[i] : from[i]);
        if (changed) p->complemented[i / STEP] += UINT8_MAX * from[i];
    }
}

/* All bundles of one kind, in natural order, which suits the caches. Returns how many. */
static int32_t emit_all(packer *w, panel *p, int64_t first, int32_t count, bool centred,
                        int complement) {
    int32_t emitted = 0;
    for (int32_t i = 0; i < p->offset_count; i++) {
        const bundle *b = &w->plan.bundles[i];
        if (b->count != count || b->centred != centred || b->complement != complement) continue;
        for (int32_t j = 0; j < count; j++) {
            *w->offsets++ = (int32_t)(STEP * (first + b->steps[j]));
            emit(w, p, b->steps[j], complement);
        }
        emitted++;
    }
    return emitted;
}

static void emit_centres(packer *w, panel *p) {
    p->centres = (const int16_t *)w->weights;
    for (int32_t i = 0; i < p->offset_count; i++) {
        const bundle *b = &w->plan.bundles[i];
        if (!b->count || !b->centred) continue;
        int16_t *out = (int16_t *)w->weights;
        centres(&w->plan.sums[i], w->amax, out);
        for (int lane = 0; lane < LANES; lane++) p->centred[lane / 2] += out[lane];
        w->weights += CENTRE_BYTES;
    }
}

/* first: the number of the first step in packer->raw, in the whole of K. */
static panel pack_panel(packer *w, int64_t first, int64_t steps) {
    panel p = {.offsets = w->offsets, .weights = w->weights, .offset_count = (int32_t)steps};
    plan(&w->plan, w->raw, p.offset_count,
         &(rules){.amax = w->amax, .most = MAX_BUNDLE, .complements = COMPLEMENTS,
                  .centred = true});
    p.quads = emit_all(w, &p, first, 4, false, 0);
    p.pairs = emit_all(w, &p, first, 2, false, 0);
    p.centred_pairs = emit_all(w, &p, first, 2, true, 0);
    for (int c = 0; c < COMPLEMENTS; c++) p.single[c] = emit_all(w, &p, first, 1, false, c);
    p.wide = emit_all(w, &p, first, 1, false, WIDE);
    emit_centres(w, &p);
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
    s->bundles = carve(a, steps, sizeof(bundle));
    s->sums = carve(a, steps, sizeof(lane_sums));
    s->order = carve(a, steps, sizeof(int32_t));
    s->size = carve(a, steps, sizeof(int16_t));
    return carve(a, steps, STEP_BYTES); /* the raw panel */
}

static void count_steps(packed *p, const panel *done) {
    p->counts[0] += 4 * done->quads;
    p->counts[1] += 2 * (done->pairs + done->centred_pairs);
    for (int c = 0; c < COMPLEMENTS; c++) p->counts[2] += done->single[c];
    p->counts[3] += done->wide;
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
                    .step_bytes = may_be_wide(amax) ? WIDE_BYTES
                                                    : STEP_BYTES + CENTRE_BYTES / 2};

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

static int32_t emit_tap_bundles(depthwise_writer *w, const schedule *s, int32_t steps,
                                int32_t count, bool wide) {
    int32_t emitted = 0;
    for (int32_t i = 0; i < steps; i++) {
        const bundle *b = &s->bundles[i];
        if (b->count != count || (b->complement == WIDE) != wide) continue;
        for (int32_t j = 0; j < count; j++) emit_taps(w, b->steps[j], wide);
        emitted++;
    }
    return emitted;
}

static panel emit_depthwise(depthwise_writer *w, const schedule *s, int32_t steps) {
    panel p = {.offsets = w->offset, .weights = w->out, .offset_count = 2 * steps};
    p.pairs = emit_tap_bundles(w, s, steps, 2, false);
    p.single[0] = emit_tap_bundles(w, s, steps, 1, false);
    p.wide = emit_tap_bundles(w, s, steps, 1, true);
    return p;
}

packed *pack_depthwise(const int16_t *weights, int64_t channels, int64_t taps, int amax) {
    int64_t steps = (taps + 1) / 2;
    packed sizes = {.groups = 1, .channels = channels, .k = taps, .run_length = 1, .chunks = 1,
                    .offset_count = 2 * steps,
                    .step_bytes = WIDE_BYTES, .depthwise = true,
                    .group_panels = divide_up(channels, DEPTHWISE_CHANNELS)};
    rules rules = {.amax = amax, .most = 2, .complements = 1};
    for (int64_t i = 0; i < channels * taps; i++) /* zero points can make 9 bits of 8 */
        rules.nine_bits |= weights[i] != (int8_t)weights[i];

    schedule schedule;
    arena measure = {0};
    carve_schedule(&schedule, &measure, steps);
    void *workspace = malloc(measure.used + 1);
    depthwise_writer w = {.taps = taps};
    packed *p = workspace ? allocate(sizes, &w.offset, &w.out, false) : NULL;
    if (p) {
        int8_t *raw = carve_schedule(&schedule, &(arena){workspace, 0}, steps);
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
            plan(&schedule, raw, (int32_t)steps, &rules);
            p->panels[i] = emit_depthwise(&w, &schedule, (int32_t)steps);
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
