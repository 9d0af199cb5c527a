/* The loops of requantization, written so that compilers vectorize them: included once for each
 * instruction set. All are additions, multiplications and comparisons of single values, so every
 * one gives the same bits. */
#include "requantize.h"

/* Added and subtracted, they round to integers, ties to even. */
static const float round_float = 0x1.8p23f;
static const double round_double = 0x1.8p52;

/* `n` neighbours. `step` says how far their parameters lie apart: 0 or 1, a constant where this is
 * inlined. */
#define RUN(NAME, IN, OUT, REAL, ROUND)                                                            \
    static inline __attribute__((always_inline)) void NAME##_run(                                  \
        const IN *restrict q, OUT *restrict out, int64_t n, const REAL *restrict ratios,           \
        const REAL *restrict zero_points, const REAL *restrict output_zero_points,                 \
        const REAL quant_min, const REAL quant_max, const int step) {                              \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const REAL zero_point = output_zero_points[i * step];                                  \
            const REAL lowest = quant_min - zero_point, highest = quant_max - zero_point;          \
            REAL t = ((REAL)q[i] - zero_points[i * step]) * ratios[i * step];                      \
            t = t > lowest ? t : lowest; /* NaN too */                                             \
            t = t < highest ? t : highest;                                                         \
            out[i] = (OUT)(int32_t)((t + ROUND) - ROUND + zero_point);                             \
        }                                                                                          \
    }                                                                                              \
    static void NAME(const requantize_context *c, int64_t at, int64_t n, int64_t channel,          \
                     int step) {                                                                   \
        const requantize_layout *p = c->layout;                                                    \
        const IN *q = (const IN *)c->q + at;                                                       \
        OUT *out = (OUT *)c->out + at;                                                             \
        const REAL *ratios = (const REAL *)p->ratios + channel;                                    \
        const REAL *zeros = (const REAL *)p->zero_points + channel;                                \
        const REAL *output_zeros = (const REAL *)p->output_zero_points + channel;                  \
        const REAL low = (REAL)p->quant_min, high = (REAL)p->quant_max;                            \
        if (step) {                                                                                \
            NAME##_run(q, out, n, ratios, zeros, output_zeros, low, high, 1);                      \
        } else {                                                                                   \
            NAME##_run(q, out, n, ratios, zeros, output_zeros, low, high, 0);                      \
        }                                                                                          \
    }

RUN(u8_to_u8, uint8_t, uint8_t, float, round_float)
RUN(u8_to_s8, uint8_t, int8_t, float, round_float)
RUN(s8_to_u8, int8_t, uint8_t, float, round_float)
RUN(s8_to_s8, int8_t, int8_t, float, round_float)
RUN(u8_to_s32, uint8_t, int32_t, double, round_double)
RUN(s8_to_s32, int8_t, int32_t, double, round_double)
RUN(s32_to_u8, int32_t, uint8_t, double, round_double)
RUN(s32_to_s8, int32_t, int8_t, double, round_double)
RUN(s32_to_s32, int32_t, int32_t, double, round_double)

typedef void requantize_run(const requantize_context *, int64_t, int64_t, int64_t, int);
static requantize_run *const runs[3][3] = {
    {u8_to_u8, u8_to_s8, u8_to_s32},
    {s8_to_u8, s8_to_s8, s8_to_s32},
    {s32_to_u8, s32_to_s8, s32_to_s32},
};

static inline void requantize_range(const void *context, int64_t begin, int64_t end) {
    const requantize_context *c = context;
    const requantize_layout *p = c->layout;
    requantize_run *run = runs[p->input][p->output];
    /* Either all of a line has one channel's parameters, or each value those of another. */
    const int step = p->inner == 1 && p->channels > 1;
    const int64_t length = step ? p->channels : p->inner;
    for (int64_t at = begin; at < end;) {
        const int64_t line = at / length, within = at % length;
        const int64_t n = length - within < end - at ? length - within : end - at;
        run(c, at, n, step ? within : line % p->channels, step);
        at += n;
    }
}
