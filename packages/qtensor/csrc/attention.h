/* The weights of attention: softmax over rows of integer scores, each row rounded to bytes of its
 * own largest weight. attention_scalar.c says it exactly. */
#ifndef QTENSOR_ATTENTION_H
#define QTENSOR_ATTENTION_H

#include "blocks.h"

/* steps = round(255 e^(t - max(t))) for t = score * scale + mask; mask may be NULL. Returns the sum
 * of the steps. What is -infinity or NaN gets none. */
typedef int64_t attention_kernel(const int32_t *scores, const float *mask, uint8_t *steps,
                                 int64_t n, float scale);
attention_kernel attention_scalar, attention_avx2;

/* `rows` rows of `n` scores, and as much of a mask, or NULL. Row r's weights are its steps times
 * scales[r]. Returns 0, or -1 if memory is short. */
int attention_weights(attention_kernel *kernel, const operand *scores, const operand *mask,
                      uint8_t *steps, float *scales, int64_t rows, int64_t n, float scale,
                      int threads);

#endif
