/* What the kernels that work on single bytes share.
 *
 * They know only unsigned bytes. A signed byte v is the unsigned byte v + 128 with its top bit
 * flipped, so for int8 tensors `flip` is 0x80 (else 0), every byte is XORed with it on the way in
 * and out, and zero points and bounds come with 128 added. All differences `q - zero_point`
 * stay the same integers, and hence all results.
 */
#ifndef QTENSOR_BYTES_H
#define QTENSOR_BYTES_H

#include <stdint.h>
#include <string.h>

/* How drivers are told the type of a tensor's integers. */
enum element_type { ELEMENT_U8, ELEMENT_S8, ELEMENT_S32 };

static inline int32_t flip_of(enum element_type type) { return type == ELEMENT_S8 ? 0x80 : 0; }

/* What is too short to call memcpy: sixteen bytes at a time, or less, the last of them perhaps
 * twice. */
static inline void copy_short(const uint8_t *from, uint8_t *to, int64_t n) {
    if (n >= 16) {
        for (int64_t i = 0; i < n - 16; i += 16) {
            memcpy(to + i, from + i, 16);
        }
        memcpy(to + n - 16, from + n - 16, 16);
    } else if (n >= 8) {
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        memcpy(to, from, 4);
        memcpy(to + n - 4, from + n - 4, 4);
    } else if (n > 0) {
        to[0] = from[0];
        to[n / 2] = from[n / 2];
        to[n - 1] = from[n - 1];
    }
}

#endif
