/* Shares a loop among threads. */
#ifndef QTENSOR_PARALLEL_H
#define QTENSOR_PARALLEL_H

#include <stdint.h>

/* Bytes of work that are worth waking a thread for: some five microseconds. */
enum { GRAIN = 1 << 16 };

typedef void range_function(const void *context, int64_t begin, int64_t end);

/* Calls run on [0, size) cut into one range for each thread, each of `grain` or more. One thread
 * never enters OpenMP, whose runtime hangs in a forked child. */
static inline void parallel(int64_t size, int64_t grain, int threads, range_function *run,
                            const void *context) {
    const int64_t pieces = size / (grain > 0 ? grain : 1);
    if (pieces < threads) {
        threads = (int)pieces;
    }
    if (threads <= 1) {
        run(context, 0, size);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int t = 0; t < threads; t++) {
        run(context, size * t / threads, size * (t + 1) / threads);
    }
}

#endif
