/* Tensors of any strides, and of half floats, for kernels that know only dense bytes and floats.
 *
 * What lies otherwise is gathered block by block into a buffer that stays in the L1 cache, in the
 * order of the output's memory, and half floats are converted there; so no tensor is ever copied
 * as a whole. What needs none of that is read and written where it is.
 */
#ifndef QTENSOR_BLOCKS_H
#define QTENSOR_BLOCKS_H

#include <stdint.h>

/* Dimensions that cannot be merged have two indices or more each: 2^32 elements have no more. */
enum { MAX_DIMS = 32, BUFFER_BYTES = 4096, BUFFER_FLOATS = BUFFER_BYTES / sizeof(float) };

/* How a tensor lies under an output, whose dimensions come in memory order, those that can be
 * merged merged. Without any it lies like the output. */
typedef struct {
    int dims;
    int64_t sizes[MAX_DIMS], strides[MAX_DIMS]; /* in elements */
} memory_layout;

/* Of these dimensions, outermost first, merged where they can be; -1 of them if they are too many. */
memory_layout merged(int dims, const int64_t *sizes, const int64_t *strides);

/* Where in memory an element of the output's order is, in elements from the first. */
int64_t offset_of(const memory_layout *layout, int64_t index);

typedef struct {
    const void *data;
    const memory_layout *layout;
} operand;

/* Elements begin ... begin + n of the output's order, of 1, 2 or 4 bytes: gathered in `block`, or
 * where they are if they lie in that order. */
const void *elements(const operand *x, int64_t begin, int64_t n, int size, void *block);

/* How many elements are worth asking for at once, where a block holds `most`. */
static inline int64_t at_once(const operand *x, int64_t most) {
    return x->layout->dims == 0 ? INT64_MAX : most;
}

/* ---- Floats --------------------------------------------------------------------------------- */

enum float_type { FLOAT32, FLOAT16, BFLOAT16 };

/* To float32, which is exact but that NaN becomes a quiet one, and from it: ties to even. float32's
 * own format has neither. `half_scalar` is the specification, and `half_avx2` equals it. */
typedef struct {
    void (*widen)(const uint16_t *x, float *y, int64_t n);
    void (*narrow)(const float *x, uint16_t *y, int64_t n);
} float_format;

extern const float_format half_scalar[3], half_avx2[3]; /* of each type */

typedef struct {
    operand from;
    const float_format *format;
} float_input;

typedef struct {
    void *data; /* dense */
    const float_format *format;
} float_output;

/* As `elements`; `block` holds BUFFER_FLOATS. */
const float *read_floats(const float_input *x, int64_t begin, int64_t n, float *block);

static inline int64_t reads_at_once(const float_input *x) {
    return x->format->widen ? BUFFER_FLOATS : at_once(&x->from, BUFFER_FLOATS);
}

/* Where to write the floats begin ... begin + n, and what to call when they are there. */
static inline float *place_for_floats(const float_output *y, int64_t begin, float *block) {
    return y->format->narrow ? block : (float *)y->data + begin;
}

static inline void write_floats(const float_output *y, int64_t begin, int64_t n,
                                const float *block) {
    if (y->format->narrow) {
        y->format->narrow(block, (uint16_t *)y->data + begin, n);
    }
}

static inline int64_t writes_at_once(const float_output *y) {
    return y->format->narrow ? BUFFER_FLOATS : INT64_MAX;
}

#endif
