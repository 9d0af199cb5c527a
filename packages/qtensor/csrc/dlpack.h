/* How tensors describe themselves to C, and are made from it, without their library's headers:
 * the part of DLPack (its specification: "C API (dlpack.h)", version 1) that qtensor uses. Its
 * layout stays as it is for as long as the major version is 1. */
#ifndef QTENSOR_DLPACK_H
#define QTENSOR_DLPACK_H

#include <stdint.h>

enum { DLPACK_MAJOR = 1, DLPACK_MINOR = 3 };
enum { DLPACK_CPU = 1 };
enum dlpack_code { DLPACK_INT = 0, DLPACK_UINT = 1, DLPACK_FLOAT = 2 }; /* only the first two are integers */

typedef struct {
    uint32_t major, minor;
} dlpack_version;

typedef struct {
    void *data;
    int32_t device_type, device_id;
    int32_t ndim;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *sizes;
    int64_t *strides; /* in elements */
    uint64_t byte_offset;
} dlpack_tensor;

/* A tensor that is handed over with its memory; whoever has it last calls `deleter`. */
typedef struct dlpack_owned {
    dlpack_version version;
    void *context;
    void (*deleter)(struct dlpack_owned *);
    uint64_t flags;
    dlpack_tensor tensor;
} dlpack_owned;

/* What the capsule `__dlpack_c_exchange_api__` of a tensor class points to. The functions return 0,
 * or -1 with a Python exception set. */
typedef struct {
    dlpack_version version;
    void *previous;
    void *allocate;
    void *export_owned;
    int (*import_owned)(dlpack_owned *, void **object);
    int (*describe)(void *object, dlpack_tensor *);
    void *work_stream;
} dlpack_exchange;

#endif
