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

/* What packing one panel after the other needs; the last three move on. */
typedef struct {
    schedule plan;
    int8_t *raw;        /* the panel's steps in natural order */
    int64_t first;      /* number of the first of them in the whole of K */
    int64_t copy_steps; /* from one copy of a row to the next */
    int amax, orders;
    int32_t *offsets;
    int16_t *centres; /* away from the weights, since single rows do without */
    int8_t *weights;
} packer;

static void emit(packer *w, panel *p, int32_t step, int complement) {
    const int8_t *from = w->raw + (size_t)step * STEP_BYTES;
    const uint8_t *order = step_orders[w->plan.orders[step]];
    *w->offsets++ = (int32_t)(STEP * (w->first + step + w->plan.orders[step] * w->copy_steps));
    if (complement == WIDE) {
        store_wide(from, (int16_t *)w->weights);
        w->weights += WIDE_BYTES;
        return;
    }
    for (int i = 0; i < STEP_BYTES; i++) {
        int8_t weight = from[i / STEP * STEP + order[i % STEP]];
        bool changed = step_complements[complement][i % STEP];
        *w->weights++ = (int8_t)(changed ? -weight : weight);
        if (changed) p->complemented[i / STEP] += UINT8_MAX * weight;
    }
}

/* All bundles of one kind, in natural order, which suits the caches. Returns how many. */
static int32_t emit_all(packer *w, panel *p, int32_t count, bool centred, bool wide) {
    int32_t emitted = 0;
    for (int32_t i = 0; i < p->offset_count; i++) {
        const bundle *b = &w->plan.bundles[i];
        if (b->count != count || b->centred != centred || (b->complement == WIDE) != wide) continue;
        for (int32_t j = 0; j < count; j++) emit(w, p, b->steps[j], b->complement);
        emitted++;
    }
    return emitted;
}

/* The masks of the single steps, in the same order. */
static void emit_complements(packer *w, panel *p) {
    p->complements = (const uint8_t *)w->weights;
    int8_t *out = w->weights;
    for (int32_t i = 0; i < p->offset_count; i++) {
        const bundle *b = &w->plan.bundles[i];
        if (b->count != 1 || b->complement == WIDE) continue;
        memcpy(out, step_complements[b->complement], STEP);
        out += STEP;
    }
    w->weights += divide_up(out - w->weights, STEP_BYTES) * STEP_BYTES; /* to stay aligned */
}

static void emit_centres(packer *w, panel *p) {
    p->centres = w->centres;
    for (int32_t i = 0; i < p->offset_count; i++) {
        const bundle *b = &w->plan.bundles[i];
        if (!b->count || !b->centred) continue;
        centres(&w->plan.sums[i], w->amax, w->centres);
        for (int lane = 0; lane < LANES; lane++) p->centred[lane / 2] += *w->centres++;
    }
}

static void add_sums(const int8_t *raw, int64_t steps, int32_t *sums) {
    for (int64_t i = 0; i < steps * STEP_BYTES; i++) sums[i % STEP_BYTES / STEP] += raw[i];
}

static panel pack_panel(packer *w, int64_t steps) {
    panel p = {.offsets = w->offsets, .weights = w->weights, .offset_count = (int32_t)steps};
    add_sums(w->raw, steps, p.sums);
    plan(&w->plan, w->raw, p.offset_count, w->amax, w->orders);
    p.quads = emit_all(w, &p, 4, false, false);
    p.pairs = emit_all(w, &p, 2, false, false);
    p.centred_pairs = emit_all(w, &p, 2, true, false);
    p.single = emit_all(w, &p, 1, false, false);
    p.wide = emit_all(w, &p, 1, false, true);
    emit_centres(w, &p);
    emit_complements(w, &p);
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

static void carve_packed(packed *p, arena *a, packer *w, bool ones) {
    int64_t panels = p->groups * p->group_panels;
    p->panels = carve(a, p->chunks * panels, sizeof(panel));
    p->ones = ones ? carve(a, p->chunks, sizeof(panel)) : NULL;
    int64_t count = p->offset_count * (panels + ones);
    w->offsets = carve(a, count, sizeof(int32_t));
    w->centres = carve(a, count, CENTRE_BYTES / 2);
    w->weights = carve(a, count, WIDE_BYTES); /* the most that a step takes */
}

/* Allocates what the sizes in *p ask for. */
static packed *allocate(packed sizes, packer *w, bool ones) {
    arena measure = {0};
    carve_packed(&sizes, &measure, w, ones);
    packed *p = malloc(sizeof(packed));
    void *memory = aligned_alloc(64, measure.used);
    if (!p || !memory) {
        free(p);
        free(memory);
        return NULL;
    }
    *p = sizes;
    p->memory = memory;
    carve_packed(p, &(arena){memory, 0}, w, ones);
    return p;
}

static void *carve_schedule(schedule *s, arena *a, int64_t steps) {
    s->bundles = carve(a, steps, sizeof(bundle));
    s->sums = carve(a, steps, sizeof(lane_sums));
    s->orders = carve(a, steps, sizeof(uint8_t));
    s->by_size = carve(a, steps, sizeof(int32_t));
    s->size = carve(a, steps, sizeof(int16_t));
    return carve(a, steps, STEP_BYTES); /* the raw panel */
}

static void count_steps(packed *p, const panel *done) {
    p->counts[0] += 4 * done->quads;
    p->counts[1] += 2 * (done->pairs + done->centred_pairs);
    p->counts[2] += done->single;
    p->counts[3] += done->wide;
}

static void pack_chunk(packed *p, packer *w, const int8_t *weights, int64_t run_length,
                       int64_t steps, int64_t chunk) {
    int64_t panels = p->groups * p->group_panels;
    for (int64_t i = 0; i < panels; i++) {
        int64_t group = i / p->group_panels, channel = i % p->group_panels * CHANNELS;
        int64_t left = p->channels - channel;
        gather(weights + (group * p->channels + channel) * p->k, smaller(left, CHANNELS), p->k,
               run_length, w->first, steps, w->raw);
        panel done = pack_panel(w, steps);
        p->panels[chunk * panels + i] = done;
        count_steps(p, &done);
    }
    if (p->ones) {
        gather_ones(run_length, w->first, steps, w->raw);
        p->ones[chunk] = pack_panel(w, steps);
    }
}

packed *pack(const int8_t *weights, int64_t groups, int64_t channels, int64_t runs,
             int64_t run_length, int64_t group_stride, int amax, bool row_sums, bool orders) {
    enum { CHUNK_STEPS = MAX_CHUNK / STEP };
    int64_t steps = runs * ((run_length + STEP - 1) / STEP);
    int64_t chunk_steps = steps < CHUNK_STEPS ? steps : CHUNK_STEPS;
    orders &= may_be_wide(amax) && steps <= INT32_MAX / STEP / ORDERS; /* which offsets can tell */
    packed sizes = {.groups = groups, .channels = channels, .k = runs * run_length,
                    .run_length = run_length, .offset_count = steps,
                    .copies = orders ? ORDERS : 1,
                    .group_stride = group_stride,
                    .group_panels = (channels + CHANNELS - 1) / CHANNELS,
                    .chunks = steps ? (steps + CHUNK_STEPS - 1) / CHUNK_STEPS : 1};

    packer w = {.amax = amax, .copy_steps = steps, .orders = sizes.copies};
    arena measure = {0};
    carve_schedule(&w.plan, &measure, chunk_steps);
    void *workspace = malloc(measure.used + 1);
    packed *p = workspace ? allocate(sizes, &w, row_sums) : NULL;
    if (p) {
        const packer empty = w;
        w.raw = carve_schedule(&w.plan, &(arena){workspace, 0}, chunk_steps);
        for (int64_t chunk = 0; chunk < p->chunks; chunk++) {
            w.first = chunk * CHUNK_STEPS;
            pack_chunk(p, &w, weights, run_length, smaller(steps - w.first, CHUNK_STEPS), chunk);
        }
        /* The rest was never touched. */
        p->bytes = (char *)empty.centres - (char *)p->memory + (w.weights - empty.weights) +
                   ((char *)w.centres - (char *)empty.centres);
    }
    free(workspace);
    return p;
}

void pack_free(packed *p) {
    if (!p) return;
    free(p->memory);
    free(p);
}
