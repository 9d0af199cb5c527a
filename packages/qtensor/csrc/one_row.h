/* Products of a single row of activations, which take as long as their weights take to be read.
 * README.md tells the scheme.
 *
 * ROW_CHANNELS output channels form a PANEL. Its weights lie in natural order, step by step, those
 * of all its channels side by side, with zeros after the last so that steps come in whole GROUPS.
 */
#ifndef QTENSOR_ONE_ROW_H
#define QTENSOR_ONE_ROW_H

#include "gemm.h"

enum {
    ROW_CHANNELS = 2 * CHANNELS,
    ROW_STEP_BYTES = ROW_CHANNELS * STEP, /* weights of a step */
    GROUP_STEPS = 8, /* the most whose products with 4 bits each add up to no more than 16 bits */
    GROUP_BYTES = GROUP_STEPS * STEP, /* activations of a group */
};

struct one_row_weights {
    int64_t groups;        /* of a panel */
    const int32_t *sums;   /* [panels][ROW_CHANNELS]: of each channel's weights */
    const int8_t *weights; /* [panels][groups][GROUP_STEPS][ROW_CHANNELS][STEP], 64-byte aligned */
};

struct one_row {
    int64_t groups;
    const uint8_t *bytes;  /* [groups][GROUP_BYTES] */
    const uint8_t *halves; /* [groups][2][GROUP_BYTES]: bytes = 16 * the first + the second; or NULL
                              if no byte exceeds 127 */
    int32_t zero_point;
};

extern one_row_function one_row_scalar, one_row_avx2;

/* The product of a row, of whole groups, with all channels. row_scale: if the output is float. */
int multiply_row(const product *p, const uint8_t *bytes, int32_t zero_point, float row_scale);

#endif
