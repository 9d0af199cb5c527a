/* Fixed point parameters, and the proof that they give what float32 gives. See fixed_point.h. */
#include "fixed_point.h"

#include <math.h>

#include "elementwise.h"

/* ---- Sums of two bytes --------------------------------------------------------------------- */

enum { LOW_BITS = 2 * DIGIT_BITS, HIGHEST_DIGITS = 120 };

/* The lowest digit, from `least` to `least` + 127, which is taken off the number. */
static int16_t take_digit(int64_t *number, int least) {
    const int64_t base = 1 << DIGIT_BITS;
    const int64_t digit = ((*number - least) & (base - 1)) + least;
    *number = (*number - digit) / base;
    return (int16_t)digit;
}

/* Returns whether the highest digit fits. */
static int cut(int64_t number, int least, int first, int16_t digits[SUM_DIGITS]) {
    for (int k = 0; k < SUM_DIGITS - 1; k++) {
        digits[k] = k < first ? 0 : take_digit(&number, least);
    }
    digits[SUM_DIGITS - 1] = (int16_t)number;
    return INT16_MIN <= number && number <= INT16_MAX;
}

/* What the proof compares, for each value of a byte: its term in float32 and in fixed point, the
 * latter cut in two so that all fits 32 bits. */
typedef struct {
    float real[256];
    int32_t high[256], low[256];
} terms;

static void set_terms(terms *t, int32_t zero_point, float multiplier, int64_t factor,
                      int64_t constant) {
    for (int q = 0; q < 256; q++) {
        const int64_t fixed = q * factor + constant;
        t->real[q] = (float)(q - zero_point) * multiplier;
        t->high[q] = (int32_t)(fixed >> LOW_BITS);
        t->low[q] = (int32_t)(fixed & ((1 << LOW_BITS) - 1));
    }
}

static inline float within(float t, float lo, float hi) {
    t = t > lo ? t : lo;
    return t < hi ? t : hi;
}

static int all_sums_equal(const terms *a, const terms *b, int shift, const output_params *output) {
    const float lo = output->lo, hi = output->hi, lowest = rintf(lo), highest = rintf(hi);
    const float magic = 0x1.8p23f; /* added and taken off, rounds floats of up to 2^22 */
    const int32_t zero_point = output->zero_point;
    for (int i = 0; i < 256; i++) {
        const float real = a->real[i];
        const int32_t low = a->low[i], high = a->high[i];
        int32_t differences = 0;
        for (int j = 0; j < 256; j++) {
            const int32_t carry = (low + b->low[j]) >> LOW_BITS;
            const int32_t fixed = ((high + b->high[j] + carry) >> shift) - zero_point;
            const float expected = (within(real + b->real[j], lo, hi) + magic) - magic;
            differences |= within((float)fixed, lowest, highest) != expected;
        }
        if (differences) {
            return 0;
        }
    }
    return 1;
}

void prove_fixed_sum(binary_params *p, enum element_type type) {
    const int32_t flip = flip_of(type);
    const int32_t a_zero_point = p->a_zero_point + flip, b_zero_point = p->b_zero_point + flip;
    const output_params output = {p->output.lo, p->output.hi, p->output.zero_point + flip};
    const double a = p->a_multiplier, b = p->b_multiplier;
    fixed_sum fixed = {.shift = 7};
    p->fixed = fixed;
    if (!(a > 0 && b > 0 && a + b < HIGHEST_DIGITS)) {
        return;
    }
    while (ldexp(a + b, fixed.shift) > HIGHEST_DIGITS) {
        fixed.shift--;
    }
    const int point = fixed.shift + (SUM_DIGITS - 1) * DIGIT_BITS;
    const int64_t a_factor = llrint(ldexp(a, point)), b_factor = llrint(ldexp(b, point));
    /* Rounding adds a half. Next to it, pairs of which float32 makes a tie may still agree. */
    const double nudges[] = {0, 0x1p-18, -0x1p-18};
    for (int i = 0; i < 3; i++) {
        const double constant = output.zero_point + 0.5 + nudges[i] - a * a_zero_point -
                                b * b_zero_point;
        const int64_t c = llrint(ldexp(constant, point - DIGIT_BITS)) * (1 << DIGIT_BITS);
        terms a_terms, b_terms;
        set_terms(&a_terms, a_zero_point, p->a_multiplier, a_factor, c);
        set_terms(&b_terms, b_zero_point, p->b_multiplier, b_factor, 0);
        if (cut(a_factor, -64, 0, fixed.a) && cut(b_factor, -63, 0, fixed.b) &&
            cut(c >> DIGIT_BITS, -64, 1, fixed.c) &&
            all_sums_equal(&a_terms, &b_terms, point - LOW_BITS, &output)) {
            fixed.proven = 1;
            p->fixed = fixed;
            return;
        }
    }
}

/* ---- One byte, rescaled -------------------------------------------------------------------- */

/* Finds what to add after the multiplication: each byte's result allows a range of constants.
 * Returns whether one is allowed by all. */
static int find_constant(const int32_t results[256], int32_t lowest, int32_t highest,
                         fixed_rescaling *fixed) {
    int32_t least = -UINT16_MAX, most = UINT16_MAX;
    for (int q = 0; q < 256; q++) {
        const int32_t product = (int32_t)(((256u * q + fixed->below) * fixed->factor) >> 16);
        const int32_t from = results[q] * (1 << fixed->shift) - product;
        const int32_t to = (results[q] + 1) * (1 << fixed->shift) - 1 - product;
        least = results[q] > lowest && from > least ? from : least;
        most = results[q] < highest && to < most ? to : most;
    }
    const int32_t constant = (least + most) / 2;
    fixed->plus = (uint16_t)(constant > 0 ? constant : 0);
    fixed->minus = (uint16_t)(constant < 0 ? -constant : 0);
    return least <= most;
}

void prove_fixed_rescaling(requantize_params *p) {
    const output_params *output = &p->output;
    const int32_t lowest = (int32_t)lrintf(output->lo) + output->zero_point;
    const int32_t highest = (int32_t)lrintf(output->hi) + output->zero_point;
    int32_t results[256];
    p->fixed.proven = 0;
    for (int q = 0; q < 256; q++) {
        float t = (float)(q - p->zero_point) * p->multiplier;
        t = t > output->lo ? t : output->lo;
        t = t < output->hi ? t : output->hi;
        results[q] = (int32_t)lrintf(t) + output->zero_point;
    }
    int shift = 8; /* more would lose the sum's highest bits; at 0 it would be taken for negative */
    while (shift > 1 && ldexp(p->multiplier, 8 + shift) > UINT16_MAX) {
        shift--;
    }
    const double factor = ldexp(p->multiplier, 8 + shift);
    for (int around = 0; around < 36 && factor < UINT16_MAX - 8 && factor > 8; around++) {
        const int step = around / 4, off = step % 2 ? (step + 1) / 2 : -step / 2;
        fixed_rescaling fixed = {
            .proven = 1,
            .shift = shift,
            .below = (uint16_t)(64 * (around % 4)),
            .factor = (uint16_t)(llrint(factor) + off),
        };
        if (find_constant(results, lowest, highest, &fixed)) {
            p->fixed = fixed;
            return;
        }
    }
}
