/* How the steps of a panel are summed, and the proof that it is exact: schedule.c. */
#ifndef QTENSOR_SCHEDULE_H
#define QTENSOR_SCHEDULE_H

#include "gemm.h"

enum {
    LANES = 2 * CHANNELS, /* 16-bit sums of one step */
    MAX_BUNDLE = 4,       /* steps that are summed together */
    CENTRE_BYTES = 2 * LANES, /* of the centres of a bundle */
};

/* What each lane adds up: its positive weights, and the magnitudes of its negative ones. */
typedef struct {
    int16_t positive[LANES];
    int16_t negative[LANES];
} lane_sums;

/* The activations of a step may be complemented (a becomes 255 - a): which of the 4 bytes is one of
 * these masks. The first two bytes share a lane, and so do the last two. */
enum { COMPLEMENTS = 4, WIDE = -1 /* in place of a complement */ };
extern const uint8_t step_complements[COMPLEMENTS][STEP];

/* Steps whose products are added in 16 bits before they are widened. */
typedef struct {
    int32_t steps[MAX_BUNDLE];
    int32_t count;  /* 1, 2 or 4; 0 if the step is part of another one's bundle */
    bool centred;   /* exact only with centres() added */
    int complement; /* which of step_complements; or WIDE; those are bundles of one */
} bundle;

/* Every array has one entry for each step. */
typedef struct {
    bundle *bundles;
    lane_sums *sums; /* of the bundles */
    uint8_t *orders; /* of the steps: which of step_orders */
    int32_t *by_size; /* the rest is workspace */
    int16_t *size;
} schedule;

/* raw: the panel's steps in natural order, STEP_BYTES each; orders: how many may be used. */
void plan(schedule *s, const int8_t *raw, int32_t steps, int amax, int orders);

/* What to add to the 16-bit sums of a centred bundle, whose sums then fit. */
void centres(const lane_sums *sums, int amax, int16_t *out);

/* Whether a step of int8 weights may be unsafe even alone. */
bool may_be_wide(int amax);

#endif
