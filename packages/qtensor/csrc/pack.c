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
    return p->groups * p->group_panels * CHANNELS;
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

void pack_free(packed *p) {
    if (!p) return;
    free(p->memory);
    free(p);
}
