/* Shares the values of a tensor to be requantized among threads. */
#include "requantize.h"

#include "parallel.h"

void requantize_channels(requantize_kernel *kernel, const operand *q, void *out,
                         const requantize_layout *layout, int threads) {
    const requantize_context context = {q, out, layout};
    if (is_by_rows(layout)) {
        parallel(layout->outer, GRAIN / 4 / layout->channels + 1, threads, kernel, &context);
    } else {
        const int64_t size = layout->outer * layout->channels * layout->inner;
        parallel(size, GRAIN / 4, threads, kernel, &context);
    }
}
