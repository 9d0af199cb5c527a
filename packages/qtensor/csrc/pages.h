/* Asks for huge pages for memory that is about to be written for the first time. */
#ifndef QTENSOR_PAGES_H
#define QTENSOR_PAGES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __linux__
#include <sys/mman.h>
#endif

/* A large tensor comes from the kernel as pages that do not exist yet, and creating them 4 KiB at
 * a time takes longer than most operators that fill them: 27 ms for 51 MB on a machine that then
 * writes them in 3.5. Only a hint, and only for what is worth a system call. */
static inline void expect_writes(void *memory, int64_t size) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const uintptr_t page = 4096, first = ((uintptr_t)memory + page - 1) & ~(page - 1);
    const uintptr_t end = ((uintptr_t)memory + (uintptr_t)size) & ~(page - 1);
    if (size >= 8 << 20) {
        madvise((void *)first, end - first, MADV_HUGEPAGE);
    }
#else
    (void)memory;
    (void)size;
#endif
}

#endif
