/* Gathers blocks of tensors. See blocks.h. */
#include "blocks.h"

#include <string.h>

#define INLINE static inline __attribute__((always_inline))

/* `size` is a constant where this is inlined. */
INLINE void gather(const char *from, int64_t stride, char *to, int64_t n, const int size) {
    for (int64_t i = 0; i < n; i++) {
        memcpy(to + i * size, from + i * stride * size, size);
    }
}

static void copy_run(const char *from, int64_t stride, char *to, int64_t n, int size) {
    if (stride == 1) {
        memcpy(to, from, n * size);
    } else if (size == 1 && stride == 0) {
        memset(to, *from, n);
    } else if (size == 1) {
        gather(from, stride, to, n, 1);
    } else if (size == 2) {
        gather(from, stride, to, n, 2);
    } else {
        gather(from, stride, to, n, 4);
    }
}

/* The first `period` bytes again and again, up to n: what is there already is copied at once. */
static void repeat(char *block, int64_t period, int64_t n) {
    for (int64_t done = period; done < n; done *= 2) {
        memcpy(block + done, block, done < n - done ? done : n - done);
    }
}

memory_layout merged(int dims, const int64_t *sizes, const int64_t *strides) {
    memory_layout layout;
    layout.dims = 0;
    for (int d = 0; d < dims; d++) {
        const int last = layout.dims - 1;
        if (sizes[d] == 0) { /* no element is anywhere */
            layout.dims = 0;
            return layout;
        }
        if (sizes[d] == 1) {
            continue;
        }
        if (last >= 0 && layout.strides[last] == sizes[d] * strides[d]) {
            layout.sizes[last] *= sizes[d];
            layout.strides[last] = strides[d];
        } else if (last + 1 == MAX_DIMS) {
            layout.dims = -1;
            return layout;
        } else {
            layout.sizes[last + 1] = sizes[d];
            layout.strides[last + 1] = strides[d];
            layout.dims++;
        }
    }
    if (layout.dims == 1 && layout.strides[0] == 1) {
        layout.dims = 0;
    }
    return layout;
}

/* Where it is; `place` gets its index along each dimension. */
static int64_t locate(const memory_layout *layout, int64_t index, int64_t place[MAX_DIMS]) {
    int64_t offset = 0;
    for (int d = layout->dims - 1; d >= 0; d--) {
        place[d] = index % layout->sizes[d];
        index /= layout->sizes[d];
        offset += place[d] * layout->strides[d];
    }
    return offset;
}

int64_t offset_of(const memory_layout *layout, int64_t index) {
    int64_t place[MAX_DIMS];
    return layout->dims == 0 ? index : locate(layout, index, place);
}

const void *elements(const operand *x, int64_t begin, int64_t n, int size, void *block) {
    const memory_layout *layout = x->layout;
    const char *from = x->data;
    if (layout->dims == 0) {
        return from + begin * size;
    }
    const int64_t *sizes = layout->sizes, *strides = layout->strides;
    const int last = layout->dims - 1;
    int64_t index[MAX_DIMS];
    from += locate(layout, begin, index) * size;
    if (strides[last] == 1 && n <= sizes[last] - index[last]) {
        return from;
    }
    for (int64_t done = 0; done < n;) {
        const int64_t left = sizes[last] - index[last], run = left < n - done ? left : n - done;
        char *to = (char *)block + done * size;
        copy_run(from, strides[last], to, run, size);
        if (last > 0 && strides[last - 1] == 0 && run == sizes[last]) {
            const int64_t rows = sizes[last - 1] - index[last - 1], whole = (n - done) / run;
            const int64_t repeats = rows < whole ? rows : whole;
            repeat(to, run * size, repeats * run * size);
            done += (repeats - 1) * run;
            index[last - 1] += repeats - 1;
        }
        done += run;
        index[last] += run;
        from += run * strides[last] * size;
        for (int d = last; d > 0 && index[d] == sizes[d]; d--) { /* carry */
            from += (strides[d - 1] - sizes[d] * strides[d]) * size;
            index[d] = 0;
            index[d - 1]++;
        }
    }
    return block;
}

const float *read_floats(const float_input *x, int64_t begin, int64_t n, float *block) {
    if (!x->format->widen) {
        return elements(&x->from, begin, n, sizeof(float), block);
    }
    uint16_t halves[BUFFER_FLOATS];
    x->format->widen(elements(&x->from, begin, n, sizeof *halves, halves), block, n);
    return block;
}
