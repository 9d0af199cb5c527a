#include "requantize_loops.h"

void requantize_avx2(const void *context, int64_t begin, int64_t end) {
    requantize_range(context, begin, end);
}
