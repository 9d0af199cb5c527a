/* Runs the depthwise kernels over images: joins lines of input, shares the work among threads.
 *
 * A task is a BAND of output lines of one panel, which lie in one FIELD, cut to a length at which
 * the joined lines that are needed at once stay in the L1 cache. Each is made just before the first
 * output line that needs it, in the place of one that is no longer needed. Input whose pixels hold
 * a panel's channels side by side is read where it is, except the padding; any other is copied to
 * bytes first.
 */
#include "depthwise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    JOINED_BYTES = 24 << 10, /* of joined lines: a part of the L1 cache */
    BAND_BYTES = 256 << 10, /* of a band's input, for all panels: a part of the L2 cache */
    MIN_LINES = 8,          /* of a band: some lines are joined for each of two bands */
    MIN_COLUMNS = 16,       /* likewise, for pixels */
    CHUNK = 32,             /* outputs whose sums are kept at once, without the shortcut */
    HALVES = LANES / CHANNELS,
};

typedef struct {
    const product *product;
    const image_source *image;
    const struct depthwise_weights *weights;
    conv_axis axes[AXES];  /* the image's, but with the taps of the weights, and y of a field */
    int64_t channels;      /* of the output */
    int64_t panels;
    int64_t fields, bands; /* of an image, along y; of a field */
    int64_t lines;         /* of a band */
    int64_t columns, cuts; /* outputs of a line, and pieces that it is cut to */
    int64_t width;         /* pixels of a joined line */
    int64_t kept;          /* joined lines, for each tap along z: as many as are needed at once */
    bool in_place;
} plan;

/* What a thread works in. */
typedef struct {
    int16_t *joined;    /* [taps along z][kept][width][JOINED] */
    int64_t cleared;    /* the cut whose padding they have; -1: none */
    int32_t *offsets[PARITIES]; /* of the steps, [kept][steps]: by the first line's place */
    uint8_t *padding;   /* one pixel of it */
    uint8_t *bytes[2];  /* pixels to be joined, [width][LANES], */
    uint8_t *pixels;    /* and how they come from the input, */
    float *floats;      /* where that is quantized */
    size_t size; /* of all */
} scratch;

typedef struct {
    const plan *plan;
    scratch memory;
    int64_t first_channel, lanes;          /* channels of the panel; */
    int64_t skip, channels;                /* how many of them are another's too; the rest */
    int64_t image, z;                      /* output plane */
    int64_t highest, height;               /* line of its first tap; lines of its field needed */
    int64_t top, lines;                    /* output lines: the first, how many of its field, */
    int64_t half;                          /* and as many are run through, */
    bool twice;                            /* since the panel has its channels twice */
    int64_t left, columns;                 /* outputs of each */
    int64_t width, before, inside;         /* pixels joined of a line: all, padding before the */
    int64_t first;                         /* image, of the image; the first of these */
    line line;
    int64_t pitch;          /* from one readable() pixel to the next, in bytes */
    int32_t zero_point;     /* of the bytes there, */
    uint8_t flip;           /* after this exclusive or */
    const int16_t *weights; /* of the panel */
    int64_t next, place;    /* joined line to be made, and where in memory */
    finish halves[HALVES];
    bool shortcut; /* whether this says how sums become output: */
    depthwise_finish bytes;
} task;

/* ---- staging ---- */

/* Copies pixels; where several output channels see one input channel, that comes several times. */
static void copy_pixels(const task *t, const char *from, int64_t first, int64_t count,
                        uint8_t *to) {
    const plan *p = t->plan;
    const int64_t multiplier = p->weights->multiplier, lanes = t->lanes;
    const int64_t channel = t->first_channel / multiplier;
    conv_shape shape = *p->image->shape;
    image_source part = *p->image;
    line l = t->line;
    part.shape = &shape;
    shape.channels = (t->first_channel + lanes - 1) / multiplier - channel + 1;
    l.from = from + channel * shape.channel_stride * part.element;
    copy_line(&part, &l, first, count, t->memory.pixels);
    const uint8_t *pixel = t->memory.pixels;
    for (int64_t i = 0; i < count; i++, pixel += shape.channels, to += LANES)
        for (int64_t c = 0; c < lanes; c++)
            to[c] = pixel[(t->first_channel + c) / multiplier - channel];
}

/* The lines that are joined; NULL for one of padding. Those of the second half of the lanes matter
 * only if they differ. */
typedef struct {
    const char *of[2][HALVES]; /* pixel 0 */
} joined_from;

/* Where pixels of a line can be read, one `pitch` after the other. In place, they must be pixels of
 * the input; else they are copied. */
static const uint8_t *readable(const task *t, const char *from, int64_t first, int64_t count,
                               uint8_t *copy, int64_t *pitch) {
    *pitch = 0;
    if (!from) return t->memory.padding;
    *pitch = t->pitch;
    if (t->plan->in_place) return (const uint8_t *)from + first * t->pitch + t->first_channel;
    copy_pixels(t, from, first, count, copy);
    return copy;
}

/* Joins pixels of two lines. */
static void join_pixels(const task *t, const joined_from *lines, int64_t first, int64_t count,
                        int16_t *to) {
    pixel_pairs p;
    for (int i = 0; i < 2; i++) {
        uint8_t *copy = t->memory.bytes[i];
        p.from[i][0] = readable(t, lines->of[i][0], first, count, copy, &p.pitch[i][0]);
        p.from[i][1] = p.from[i][0] + CHANNELS;
        p.pitch[i][1] = p.pitch[i][0];
        if (t->twice) {
            copy += CHANNELS;
            p.from[i][1] = readable(t, lines->of[i][1], first, count, copy, &p.pitch[i][1]);
        }
    }
    t->plan->image->kernels->depthwise->join(&p, count, t->flip, t->zero_point, to);
}

/* The same for pixels in the padding, where that is not zeros. */
static void join_padding(const task *t, const joined_from *lines, int64_t first, int64_t count,
                         int16_t *to) {
    const enum padding_mode mode = t->plan->image->shape->padding_mode;
    for (int64_t i = first; i < first + count; i++, to += JOINED)
        join_pixels(t, lines, located(&t->plan->axes[2], i, mode), 1, to);
}

/* The same for a line, which may begin and end in the padding. */
static void join_columns(const task *t, const joined_from *lines, int16_t *to) {
    const plan *p = t->plan;
    const int64_t end = t->before + t->inside;
    if (!p->in_place) { /* copying adds the padding */
        join_pixels(t, lines, t->first - t->before, t->width, to);
        return;
    }
    if (p->image->shape->padding_mode != PAD_ZEROS) {
        join_padding(t, lines, t->first - t->before, t->before, to);
        join_padding(t, lines, t->first + t->inside, t->width - end, to + end * JOINED);
    }
    join_pixels(t, lines, t->first, t->inside, to + t->before * JOINED);
}

/* Zeros lie in the same columns of all joined lines of a cut, so they are written once. */
static void clear_padding(const task *t) {
    const plan *p = t->plan;
    const int64_t end = t->before + t->inside;
    int16_t *to = t->memory.joined;
    if (t->inside == t->width) return;
    for (int64_t i = 0; i < p->axes[0].taps * p->kept; i++, to += p->width * JOINED) {
        memset(to, 0, (size_t)(t->before * JOINED) * sizeof *to);
        memset(to + end * JOINED, 0, (size_t)((t->width - end) * JOINED) * sizeof *to);
    }
}

/* The plane that lies under a tap along z; NULL if it is padding. */
static const char *find_plane(const task *t, int64_t tap) {
    const image_source *image = t->plan->image;
    const conv_axis *z = &image->shape->axes[0];
    const int64_t first = z->first + t->z * z->stride + tap * z->dilation;
    const int64_t plane = located(z, first, image->shape->padding_mode);
    return plane < 0 ? NULL : pixel(image, t->image, plane, 0, 0);
}

/* Line `i` of the task's input, counted in its field from the first tap of its first output; NULL
 * if it is padding, or if no output needs it. */
static const char *find_line(const task *t, const char *plane, int64_t i) {
    const image_source *image = t->plan->image;
    const conv_axis *y = &image->shape->axes[1];
    if (!plane || i >= t->height) return NULL;
    const int64_t line = located(y, t->highest + i * y->dilation, image->shape->padding_mode);
    return line < 0 ? NULL : plane + line * y->input_stride * image->element;
}

static void join_line(const task *t) {
    const plan *p = t->plan;
    for (int64_t tap = 0; tap < p->axes[0].taps; tap++) {
        int16_t *to = t->memory.joined + (tap * p->kept + t->place) * p->width * JOINED;
        const char *plane = find_plane(t, tap);
        joined_from lines;
        for (int i = 0; i < 2; i++) {
            for (int half = 0; half < (t->twice ? HALVES : 1); half++) {
                const int64_t upper = 2 * t->next + half * t->half * p->axes[1].stride;
                lines.of[i][half] = find_line(t, plane, upper + i);
            }
        }
        join_columns(t, &lines, to);
    }
}

/* ---- sums ---- */

/* Makes what output line `y` of the task needs, and finds it. */
static depthwise_line stage_line(task *t, int64_t y) {
    const plan *p = t->plan;
    const struct depthwise_weights *w = p->weights;
    const int64_t top = y * p->axes[1].stride, first = top / 2;
    const int parity = top % 2;
    const int64_t last = first + joined_lines(p->axes[1].taps, parity) - 1;
    for (t->next = larger(t->next, first); t->next <= last; t->next++) {
        join_line(t);
        t->place = t->place + 1 < p->kept ? t->place + 1 : 0;
    }
    const int64_t back = t->place - (t->next - first), place = back < 0 ? back + p->kept : back;
    return (depthwise_line){
        .staged = t->memory.joined,
        .offsets = t->memory.offsets[parity] + place * w->steps[parity],
        .weights = t->weights + parity * w->steps[0] * JOINED,
        .steps = w->steps[parity],
        .pitch = p->axes[2].stride * JOINED,
    };
}

/* `at` is the first output's place; the same output of the lower half lies `below` it, if there is
 * one. */
static void put_bytes(const task *t, const depthwise_line *line, int64_t at, int64_t below) {
    const product *p = t->plan->product;
    const struct depthwise_kernels *k = p->kernels->depthwise;
    const int64_t stride = t->plan->channels * t->plan->axes[2].spacing;
    uint8_t *out = (uint8_t *)p->output + at;
    if (t->channels == LANES) {
        k->bytes(line, t->columns, &t->bytes, out, stride);
        return;
    }
    uint8_t *all = t->memory.pixels;
    k->bytes(line, t->columns, &t->bytes, all, LANES);
    for (int64_t i = 0; i < t->columns; i++, out += stride, all += LANES) {
        memcpy(out, all + t->skip, (size_t)t->channels);
        if (below) memcpy(out + below, all + CHANNELS + t->skip, (size_t)t->channels);
    }
}

/* The same by way of the sums. */
static void put_sums_of(const task *t, depthwise_line line, int64_t at, int64_t below) {
    const product *p = t->plan->product;
    const float *scales = t->plan->image->scales;
    int32_t sums[CHUNK * LANES], acc[CHUNK * CHANNELS];
    float row_scales[CHUNK];
    for (int i = 0; i < CHUNK; i++) row_scales[i] = scales ? scales[t->image] : 1;
    for (int64_t done = 0; done < t->columns; done += CHUNK) {
        const int count = (int)smaller(t->columns - done, CHUNK);
        p->kernels->depthwise->sums(&line, count, sums);
        line.staged += count * line.pitch;
        for (int h = 0; h < (below ? HALVES : divide_up(t->channels, CHANNELS)); h++) {
            const finish *f = &t->halves[below ? 0 : h];
            for (int i = 0; i < count; i++)
                memcpy(acc + i * CHANNELS, sums + i * LANES + t->skip + h * CHANNELS,
                       (size_t)f->columns * sizeof *acc);
            const int64_t place = at + h * (below ? below : CHANNELS);
            put_sums(p, f, acc, count, row_scales, place + done * f->stride);
        }
    }
}

static void run_lines(task *t) {
    const plan *p = t->plan;
    const conv_axis *axes = p->axes;
    const int64_t place[] = {axes[0].place + t->z * axes[0].spacing,
                             axes[1].place + t->top * axes[1].spacing,
                             axes[2].place + t->left * axes[2].spacing};
    int64_t at = ((t->image * axes[0].out_size + place[0]) * axes[1].out_size + place[1]) *
                     axes[2].out_size + place[2];
    at = at * p->channels + t->first_channel + t->skip;
    const int64_t next = p->fields * axes[1].spacing * axes[2].out_size * p->channels;
    for (int64_t y = 0; y < t->half; y++, at += next) {
        depthwise_line line = stage_line(t, y);
        const int64_t below = y + t->half < t->lines ? t->half * next : 0;
        if (t->shortcut)
            put_bytes(t, &line, at, below);
        else
            put_sums_of(t, line, at, below);
    }
}

/* ---- tasks ---- */

/* Whether the sums may become bytes by the shortcut, and how. Rounding keeps the order of numbers,
 * so bounds may as well be applied after it, where no result leaves the range of int32 whatever
 * the sums may be; a NaN fails that. */
static bool find_shortcut(task *t) {
    const product *p = t->plan->product;
    depthwise_finish *f = &t->bytes;
    if (!p->kernels->depthwise->bytes || p->kind != OUTPUT_BYTES || p->residual || p->activation)
        return false;
    const int shift = p->output_zero_point + 128 * p->is_signed; /* of a result to unsigned */
    f->zero_point = (int16_t)shift;
    f->lowest = (uint8_t)((int)rintf(p->lowest) + shift);
    f->highest = (uint8_t)((int)rintf(p->highest) + shift);
    f->flip = (uint8_t)(128 * p->is_signed);
    float multiplier[LANES], bias[LANES];
    for (int64_t c = 0; c < t->lanes; c++) {
        multiplier[c] = p->multipliers[(t->first_channel + c) * p->multiplier_stride];
        bias[c] = p->bias ? p->bias[t->first_channel + c] : 0;
    }
    for (int64_t c = t->lanes; c < LANES; c++) multiplier[c] = bias[c] = 0; /* no channel's */
    if (t->twice) {
        memcpy(multiplier + CHANNELS, multiplier, CHANNELS * sizeof *multiplier);
        memcpy(bias + CHANNELS, bias, CHANNELS * sizeof *bias);
    }
    int within = 0;
    for (int lane = 0; lane < LANES; lane++)
        within += fabsf(multiplier[lane]) * 0x1p31f + fabsf(bias[lane]) < 0x1p30f;
    for (int lane = 0; lane < LANES; lane += 4) { /* which lie together */
        memcpy(f->multiplier + place_of(lane), multiplier + lane, 4 * sizeof *multiplier);
        memcpy(f->bias + place_of(lane), bias + lane, 4 * sizeof *bias);
    }
    return within == LANES;
}

/* The lowest digit of a number in which it has this base; the number loses it. */
static inline int64_t take(int64_t *index, int64_t base) {
    const int64_t all = *index;
    if (base == 1) return 0; /* as is mostly so; a division takes longer */
    *index = all / base;
    return all % base;
}

static void run_task(const plan *p, scratch *memory, int64_t index) {
    task t; /* larger than what is worth setting to zero */
    t.plan = p;
    t.memory = *memory;
    t.next = t.place = 0;
    const int64_t panel = take(&index, p->panels), cut = take(&index, p->cuts);
    const int64_t band = take(&index, p->bands), field = take(&index, p->fields);
    const int64_t above = band * p->lines; /* lines of the field */
    t.first_channel = first_channel(panel, p->channels);
    t.lanes = panel_channels(panel, p->channels);
    t.skip = panel * LANES - t.first_channel;
    t.channels = smaller(p->channels - panel * LANES, LANES);
    t.z = take(&index, p->axes[0].outputs);
    t.image = index;
    t.top = field + above * p->fields;
    t.lines = smaller(divide_up(p->axes[1].outputs - field, p->fields) - above, p->lines);
    if (t.lines <= 0) return; /* fields may differ by a line */
    const conv_axis *y = &p->image->shape->axes[1];
    t.highest = y->first + t.top * y->stride;
    t.height = extent(&p->axes[1], t.lines);
    t.twice = is_twice(panel, p->channels);
    t.half = t.twice ? divide_up(t.lines, HALVES) : t.lines;
    t.left = cut * p->columns;
    t.columns = smaller(p->axes[2].outputs - t.left, p->columns);
    const conv_axis *x = &p->axes[2];
    const int64_t start = x->first + t.left * x->stride;
    t.width = extent(x, t.columns);
    t.before = smaller(larger(-start, 0), t.width);
    t.inside = larger(smaller(x->size - start, t.width) - t.before, 0);
    t.first = start + t.before;
    t.line = lines_of(p->image, t.image, memory->floats);
    t.pitch = p->in_place ? p->axes[2].input_stride : LANES;
    t.flip = p->in_place && p->image->kind == INPUT_S8 ? 0x80 : 0;
    t.zero_point = p->image->quantized ? p->image->quantized[t.image].zero_point
                                       : p->product->input_zero_point;
    memset(memory->padding, t.line.zero ^ t.flip, LANES);
    t.weights = p->weights->weights +
                panel * (p->weights->steps[0] + p->weights->steps[1]) * JOINED;
    if (p->in_place && memory->cleared != cut) {
        clear_padding(&t);
        memory->cleared = cut;
    }
    t.shortcut = find_shortcut(&t);
    for (int h = 0; !t.shortcut && h * CHANNELS < t.channels; h++) {
        t.halves[h] = start_finish(p->product, p->channels * p->axes[2].spacing);
        choose_channels(&t.halves[h], p->product, panel * LANES + h * CHANNELS,
                        (int)smaller(t.channels - h * CHANNELS, CHANNELS));
    }
    run_lines(&t);
}

static void *carve(scratch *s, void *memory, int64_t count, size_t size) {
    void *piece = memory ? (char *)memory + s->size : NULL;
    s->size += ((size_t)count * size + 63) & ~(size_t)63;
    return piece;
}

/* Without memory it only measures. */
static scratch divide(const plan *p, void *memory) {
    scratch s = {0};
    int64_t bytes = p->width * LANES, lines = p->axes[0].taps * p->kept;
    s.joined = carve(&s, memory, lines * p->width, JOINED * sizeof(int16_t));
    for (int i = 0; i < PARITIES; i++)
        s.offsets[i] = carve(&s, memory, p->kept * p->weights->steps[i], sizeof(int32_t));
    s.padding = carve(&s, memory, LANES, 1);
    for (int i = 0; i < 2; i++) s.bytes[i] = carve(&s, memory, bytes, 1);
    s.pixels = carve(&s, memory, bytes, 1);
    s.floats = carve(&s, memory, p->image->kind == INPUT_FLOAT ? bytes : 0, sizeof(float));
    return s;
}

/* Of each step, as pack_depthwise() orders them, where an output's first line has each place. */
static void find_offsets(const plan *p, int parity, int32_t *offset) {
    const conv_axis *axes = p->axes;
    for (int64_t place = 0; place < p->kept; place++)
        for (int64_t z = 0; z < axes[0].taps; z++)
            for (int64_t j = 0; j < joined_lines(axes[1].taps, parity); j++)
                for (int64_t x = 0; x < axes[2].taps; x++)
                    *offset++ = (int32_t)(((z * p->kept + (place + j) % p->kept) * p->width +
                                           x * axes[2].dilation) * JOINED);
}

/* Takes one task after the other, from as many stretches as there are threads in turns: what is
 * done at one time then lies far apart. Neighbours would write to the same cache lines. */
static bool run_tasks(const plan *p, int64_t count, int64_t *next) {
    const int64_t stretches = larger(p->product->threads, 1), length = divide_up(count, stretches);
    void *memory = aligned_alloc(64, divide(p, NULL).size);
    if (!memory) return false;
    scratch s = divide(p, memory);
    s.cleared = -1;
    for (int i = 0; i < PARITIES; i++) find_offsets(p, i, s.offsets[i]);
    for (;;) {
        int64_t taken;
#pragma omp atomic capture
        taken = (*next)++;
        if (taken >= stretches * length) break;
        const int64_t stretch = take(&taken, stretches), task = stretch * length + taken;
        if (task < count) run_task(p, &s, task);
    }
    free(memory);
    return true;
}

/* With a dilation, lines of output that are so far apart see the same lines of input, and those in
 * between see others. They form a FIELD, which is a convolution of its own, without a dilation. */
static void choose_fields(plan *p) {
    conv_axis *y = &p->axes[1];
    int64_t common = y->dilation, rest = y->stride; /* their greatest common divisor */
    for (int64_t next; rest; common = rest, rest = next) next = common % rest;
    p->fields = smaller(y->dilation / common, y->outputs);
    y->stride /= common;
    y->dilation = 1;
}

static void choose_tasks(plan *p) {
    const conv_axis *x = &p->axes[2], *y = &p->axes[1];
    const conv_shape *shape = p->image->shape;
    p->panels = divide_up(p->channels, LANES);
    p->kept = joined_lines(y->taps, 1);
    const int64_t pixel_bytes = p->axes[0].taps * JOINED * (int64_t)sizeof(int16_t);
    int64_t columns = (JOINED_BYTES / (pixel_bytes * p->kept) - extent(x, 1)) / x->stride + 1;
    p->cuts = larger(divide_up(x->outputs, larger(columns, MIN_COLUMNS)), 1);
    p->columns = divide_up(x->outputs, p->cuts);
    p->width = extent(x, p->columns);

    const int64_t threads = larger(p->product->threads, 1);
    const int64_t wanted = threads > 1 ? TASKS_PER_THREAD * threads : 1;
    const int64_t others = shape->batch * p->axes[0].outputs * p->cuts * p->panels * p->fields;
    const int64_t lines = divide_up(y->outputs, p->fields);
    const int64_t line_bytes = y->stride * x->size * shape->channels;
    const int64_t bands = larger(divide_up(lines * line_bytes, BAND_BYTES),
                                 divide_up(wanted, larger(others, 1)));
    const int64_t even = divide_up(bands, threads) * threads; /* as many for each */
    p->lines = smaller(larger(divide_up(lines, even), MIN_LINES), lines);
    p->bands = divide_up(lines, larger(p->lines, 1));
}

int depthwise(const product *p, const image_source *image) {
    const conv_shape *shape = image->shape;
    plan plan = {.product = p, .image = image, .weights = p->weights->depthwise,
                 .channels = p->weights->channels};
    for (int a = 0; a < AXES; a++) {
        plan.axes[a] = shape->axes[a];
        plan.axes[a].taps = plan.weights->taps[a];
    }
    choose_fields(&plan);
    choose_tasks(&plan);
    plan.in_place = image->kind != INPUT_FLOAT && shape->channel_stride == 1 &&
                    plan.weights->multiplier == 1 && plan.channels >= CHANNELS &&
                    panel_channels(0, plan.channels) % CHANNELS == 0;
    int64_t next = 0, count = shape->batch * plan.axes[0].outputs * plan.fields * plan.bands *
                              plan.cuts * plan.panels;
    if (count == 0) return 0;
    if (p->threads <= 1 || count == 1) return run_tasks(&plan, count, &next) ? 0 : -1;
    bool ok = true;
#pragma omp parallel num_threads(p->threads) reduction(&& : ok)
    ok = run_tasks(&plan, count, &next);
    return ok ? 0 : -1;
}
