/* The loops of requantization, written so that compilers vectorize them: included once for each
 * instruction set. All are additions, multiplications and comparisons of single values, so every
 * one gives the same bits. */
#include "requantize.h"

/* Added and subtracted, they round to integers, ties to even. */
static const float round_float = 0x1.8p23f;
static const double round_double = 0x1.8p52;

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

enum { CHANNELS = 256 }; /* whose parameters are brought into the loops' form at a time */

static inline double scale_at(const channel_parameters *p, int64_t channel) {
    const int64_t i = p->several_scales ? channel : 0;
    return p->doubles ? ((const double *)p->scales)[i] : ((const float *)p->scales)[i];
}

static inline int64_t zero_point_at(const channel_parameters *p, int64_t channel) {
    return p->zero_points[p->several_zero_points ? channel : 0];
}

#define PARAMETERS(REAL)                                                                           \
    typedef struct {                                                                               \
        REAL ratios[CHANNELS], zero_points[CHANNELS], output_zero_points[CHANNELS];                \
    } REAL##_parameters;                                                                           \
    static void REAL##_parameters_of(REAL##_parameters *p, const requantize_layout *layout,        \
                                     int64_t first, int64_t n) {                                   \
        const channel_parameters *given = &layout->given, *wanted = &layout->wanted;               \
        for (int64_t i = 0; i < n; i++) {                                                          \
            p->ratios[i] = (REAL)(scale_at(given, first + i) / scale_at(wanted, first + i));       \
            p->zero_points[i] = (REAL)zero_point_at(given, first + i);                             \
            p->output_zero_points[i] = (REAL)zero_point_at(wanted, first + i);                     \
        }                                                                                          \
    }

PARAMETERS(float)
PARAMETERS(double)

/* `n` neighbours. `step` says how far their parameters lie apart: 0 or 1, a constant where this is
 * inlined. */
#define RUN(NAME, IN, OUT, REAL, ROUND)                                                            \
    static inline __attribute__((always_inline)) void NAME##_run(                                  \
        const IN *restrict q, OUT *restrict out, int64_t n, const REAL##_parameters *restrict p,   \
        const requantize_layout *layout, const int step) {                                         \
        const REAL quant_min = (REAL)layout->quant_min, quant_max = (REAL)layout->quant_max;       \
        for (int64_t i = 0; i < n; i++) {                                                          \
            const REAL zero_point = p->output_zero_points[i * step];                               \
            const REAL lowest = quant_min - zero_point, highest = quant_max - zero_point;          \
            REAL t = ((REAL)q[i] - p->zero_points[i * step]) * p->ratios[i * step];                \
            t = t > lowest ? t : lowest; /* NaN too */                                             \
            t = t < highest ? t : highest;                                                         \
            out[i] = (OUT)(int32_t)((t + ROUND) - ROUND + zero_point);                             \
        }                                                                                          \
    }                                                                                              \
    static void NAME(const requantize_context *c, int64_t begin, int64_t end) {                    \
        const requantize_layout *layout = c->layout;                                               \
        OUT *out = (OUT *)c->out;                                                                  \
        REAL##_parameters p;                                                                       \
        IN block[BUFFER_BYTES / sizeof(IN)];                                                       \
        if (is_by_rows(layout)) {                                                                  \
            const int64_t channels = layout->channels;                                             \
            for (int64_t first = 0; first < channels; first += CHANNELS) {                         \
                const int64_t n = smaller(channels - first, CHANNELS);                             \
                const int64_t most = rows_at_once(layout, n, sizeof(IN));                          \
                REAL##_parameters_of(&p, layout, first, n);                                        \
                for (int64_t row = begin, rows; row < end; row += rows) {                          \
                    rows = smaller(most, end - row);                                               \
                    const int64_t at = row * channels + first;                                     \
                    const IN *q = elements(c->q, at, rows * n, sizeof(IN), block);                 \
                    for (int64_t i = 0; i < rows * n; i += n) {                                    \
                        NAME##_run(q + i, out + at + i, n, &p, layout, 1);                         \
                    }                                                                              \
                }                                                                                  \
            }                                                                                      \
            return;                                                                                \
        }                                                                                          \
        const int64_t most = at_once(c->q, BUFFER_BYTES / sizeof(IN));                             \
        for (int64_t at = begin, n; at < end; at += n) {                                           \
            n = smaller(smaller(layout->inner - at % layout->inner, most), end - at);              \
            REAL##_parameters_of(&p, layout, at / layout->inner % layout->channels, 1);            \
            const IN *q = elements(c->q, at, n, sizeof(IN), block);                                \
            NAME##_run(q, out + at, n, &p, layout, 0);                                             \
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

typedef void requantize_run(const requantize_context *, int64_t, int64_t);
static requantize_run *const runs[3][3] = {
    {u8_to_u8, u8_to_s8, u8_to_s32},
    {s8_to_u8, s8_to_s8, s8_to_s32},
    {s32_to_u8, s32_to_s8, s32_to_s32},
};

static inline void requantize_range(const void *context, int64_t begin, int64_t end) {
    const requantize_context *c = context;
    runs[c->layout->input][c->layout->output](c, begin, end);
}
