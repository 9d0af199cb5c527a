/* Plans how the steps of a panel are summed, and proves that no sum is lost.
 *
 * The instruction that the fast kernels use multiplies 4 activations by 4 weights and leaves two
 * 16-bit LANES, each the sum of two products, saturated. Further steps are added to a lane modulo
 * 2**16. With activations in 0 .. amax, and
 *
 *     P = amax * (the sum of the lane's positive weights),
 *     N = amax * (the sum of the magnitudes of its negative ones),
 *
 * every sum of some of the products lies in -N .. P. So:
 *
 * - Nothing saturates in a step that has P <= 32767 and N <= 32768 in every lane.
 * - A bundle of such steps is exact if the same holds for the lanes of the whole bundle.
 * - It is also exact if P + N <= 65535: a CENTRE is added that moves -N .. P into the range of 16
 *   bits, and what comes out modulo 2**16 is the moved sum itself. The sum of all centres is taken
 *   off in the end.
 *
 * A step that is not safe as it is may be so in another order, which lets other weights share a
 * lane; or with some of its activations COMPLEMENTED: a w = 255 w + (255 - a)(-w), and the sign of
 * w is what matters where two large weights meet.
 * README.md tells more.
 */
#include <stdlib.h>

#include "schedule.h"

enum {
    MAX_SUM = 256 * MAX_BUNDLE, /* of magnitudes in a lane */
    MAX_TRIES = 24,             /* partners looked at for one bundle before it is left as it is */
};

const uint8_t step_orders[ORDERS][STEP] = {{0, 1, 2, 3}, {0, 2, 1, 3}, {0, 3, 1, 2}};
const uint8_t step_complements[COMPLEMENTS][STEP] = {
    {0, 0, 0, 0}, {0, 255, 0, 0}, {0, 0, 0, 255}, {0, 255, 0, 255}};

/* ---- proofs ---- */

typedef struct {
    int positive, negative, both;
} limits;

static limits limits_for(int amax) {
    return (limits){32767 / amax, 32768 / amax, 65535 / amax};
}

bool may_be_wide(int amax) {
    limits limit = limits_for(amax);
    return limit.positive < 2 * INT8_MAX || limit.negative < -2 * INT8_MIN;
}

static const lane_sums nothing;

/* Whether what is in both a and b fits, as it is or centred. */
static bool fits(const lane_sums *a, const lane_sums *b, bool centred, limits limit) {
    int unsafe = 0; /* no early exit: the loops are vectorized */
    if (centred) {
        for (int lane = 0; lane < LANES; lane++)
            unsafe |= a->positive[lane] + b->positive[lane] + a->negative[lane] +
                          b->negative[lane] > limit.both;
        return !unsafe;
    }
    for (int lane = 0; lane < LANES; lane++) {
        unsafe |= a->positive[lane] + b->positive[lane] > limit.positive;
        unsafe |= a->negative[lane] + b->negative[lane] > limit.negative;
    }
    return !unsafe;
}

void centres(const lane_sums *sums, int amax, int16_t *out) {
    for (int lane = 0; lane < LANES; lane++) {
        int below = amax * sums->negative[lane] - 32768, above = amax * sums->positive[lane] - 32767;
        out[lane] = (int16_t)(below > 0 ? below : above > 0 ? -above : 0);
    }
}

/* ---- single steps ---- */

/* Returns false if a weight that should change its sign is -128. */
static bool sum_step(const int8_t *weights, const uint8_t *order, const uint8_t *complement,
                     lane_sums *out) {
    bool possible = true;
    *out = nothing;
    for (int i = 0; i < STEP_BYTES; i++) {
        int weight = weights[i / STEP * STEP + order[i % STEP]];
        if (complement[i % STEP]) weight = -weight;
        possible &= weight <= INT8_MAX;
        if (weight > 0) out->positive[i / 2] += (int16_t)weight;
        if (weight < 0) out->negative[i / 2] -= (int16_t)weight;
    }
    return possible;
}

/* How a step is safe, if it is: in another order, which costs nothing, or complemented. */
static void plan_step(schedule *s, int32_t step, const int8_t *weights, int orders,
                      limits limit) {
    bundle *b = &s->bundles[step];
    *b = (bundle){.steps = {step}, .count = 1, .complement = WIDE};
    s->orders[step] = 0;
    for (int c = 0; c < COMPLEMENTS; c++) {
        for (int order = 0; order < orders; order++) {
            lane_sums *sums = &s->sums[step];
            if (!sum_step(weights, step_orders[order], step_complements[c], sums)) continue;
            if (!fits(sums, &nothing, false, limit)) continue;
            b->complement = c;
            s->orders[step] = (uint8_t)order;
            return;
        }
    }
}

/* ---- bundles ---- */

static int16_t largest_lane(const lane_sums *s, bool centred) {
    int16_t largest = 0;
    for (int lane = 0; lane < LANES; lane++) {
        int16_t p = s->positive[lane], n = s->negative[lane];
        int16_t size = (int16_t)(centred ? p + n : p > n ? p : n);
        largest = size > largest ? size : largest;
    }
    return largest;
}

/* Puts the bundles of `count` steps in s->by_size, smallest first; returns how many there are. */
static int32_t sort(schedule *s, int32_t steps, int count, bool centred) {
    int32_t starts[MAX_SUM + 2] = {0};
    for (int32_t i = 0; i < steps; i++) {
        const bundle *b = &s->bundles[i];
        s->size[i] = -1;
        if (b->count != count || b->centred || b->complement) continue;
        s->size[i] = largest_lane(&s->sums[i], centred);
        starts[s->size[i] + 1]++;
    }
    for (int i = 0; i <= MAX_SUM; i++) starts[i + 1] += starts[i];
    int32_t sorted = starts[MAX_SUM + 1];
    for (int32_t i = 0; i < steps; i++)
        if (s->size[i] >= 0) s->by_size[starts[s->size[i]]++] = i;
    return sorted;
}

static void join(schedule *s, int32_t first, int32_t second, bool centred) {
    bundle *a = &s->bundles[smaller(first, second)], *b = &s->bundles[larger(first, second)];
    lane_sums *sums = s->sums + (a - s->bundles), *more = s->sums + (b - s->bundles);
    for (int lane = 0; lane < LANES; lane++) {
        sums->positive[lane] += more->positive[lane];
        sums->negative[lane] += more->negative[lane];
    }
    for (int32_t i = 0; i < b->count; i++) a->steps[a->count++] = b->steps[i];
    a->centred = centred;
    b->count = 0;
}

/* Joins the largest of the bundles of `count` steps with the smallest one, the next largest with
 * the next smallest and so on: for plain numbers that gives the most bundles under a bound. These
 * have 64 numbers each, so where the first candidate does not fit, a few larger ones are tried. */
static void join_all(schedule *s, int32_t steps, int count, bool centred, limits limit) {
    int32_t smallest = 0;
    for (int32_t i = sort(s, steps, count, centred) - 1; i > 0; i--) {
        int32_t large = s->by_size[i];
        if (s->bundles[large].count != count) continue;
        while (smallest < i && s->bundles[s->by_size[smallest]].count != count) smallest++;
        for (int32_t j = smallest, tries = 0; j < i && tries < MAX_TRIES; j++) {
            int32_t small = s->by_size[j];
            if (s->bundles[small].count != count) continue;
            tries++;
            if (!fits(&s->sums[large], &s->sums[small], centred, limit)) continue;
            join(s, large, small, centred);
            break;
        }
    }
}

void plan(schedule *s, const int8_t *raw, int32_t steps, int amax, int orders) {
    limits limit = limits_for(amax);
    for (int32_t i = 0; i < steps; i++)
        plan_step(s, i, raw + (size_t)i * STEP_BYTES, orders, limit);
    for (int count = 1; count < MAX_BUNDLE; count *= 2) join_all(s, steps, count, false, limit);
    join_all(s, steps, 1, true, limit);
}
