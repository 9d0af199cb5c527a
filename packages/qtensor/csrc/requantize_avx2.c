#include "bytes_avx2.h"
#include "requantize_loops.h"

/* ---- Bytes to bytes, where channels alternate from one to the next ---------------------------- */

enum { BLOCK = 32, BLOCKS = CHANNELS / BLOCK };

/* Parameters of 32 channels, in the order of two unpacks. */
typedef struct {
    int64_t start;
    float magic_zero_points[BLOCK], ratios[BLOCK];
    int32_t output_zero_points[BLOCK];
} block;

static uint8_t flip_of(int type) { return type ? 0x80 : 0; }

static block block_at(const requantize_layout *layout, int64_t start) {
    float_parameters p;
    float_parameters_of(&p, layout, start, BLOCK);
    block b = {.start = start};
    for (int i = 0; i < BLOCK; i++) { /* byte i of a half is in vector i / 4 */
        const int at = i % 16 / 4 * 8 + i / 16 * 4 + i % 4;
        b.magic_zero_points[at] = MAGIC + p.zero_points[i] + flip_of(layout->input);
        b.ratios[at] = p.ratios[i];
        b.output_zero_points[at] = (int32_t)p.output_zero_points[i] + flip_of(layout->output);
    }
    return b;
}

/* What is too large for int32 is bounded in float; what is too small, and NaN, becomes INT32_MIN,
 * to which a zero point of 0 ... 255 can be added. Packing saturates both, and bounding integers is
 * the same before rounding and after. */
static inline __m256i block_values(const block *b, __m256i bytes, const int k) {
    const __m256 zero_points = _mm256_loadu_ps(b->magic_zero_points + 8 * k);
    const __m256 ratios = _mm256_loadu_ps(b->ratios + 8 * k);
    const __m256 t = _mm256_mul_ps(centered(bytes, k, zero_points), ratios);
    const __m256i steps = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_set1_ps(0x1p16f), t));
    const int32_t *zeros = b->output_zero_points + 8 * k;
    return _mm256_add_epi32(steps, _mm256_loadu_si256((const __m256i *)zeros));
}

static void bytes_by_rows(const requantize_context *c, int64_t begin, int64_t end) {
    const requantize_layout *layout = c->layout;
    const int64_t channels = layout->channels, last = channels - BLOCK;
    const uint8_t flip = flip_of(layout->input), output_flip = flip_of(layout->output);
    const __m256i flips = _mm256_set1_epi8((char)flip);
    const __m256i output_flips = _mm256_set1_epi8((char)output_flip);
    const __m256i lowest = _mm256_set1_epi8((char)((int)layout->quant_min + output_flip));
    const __m256i highest = _mm256_set1_epi8((char)((int)layout->quant_max + output_flip));
    uint8_t buffer[BUFFER_BYTES];
    for (int64_t first = 0; first < channels; first += CHANNELS) {
        block blocks[BLOCKS]; /* the last one of a row overlaps the one before */
        int count = 0;
        for (; count < BLOCKS && first + count * BLOCK < channels; count++) {
            blocks[count] = block_at(layout, smaller(first + count * BLOCK, last));
        }
        const int64_t start = blocks[0].start, n = blocks[count - 1].start + BLOCK - start;
        const int64_t most = rows_at_once(layout, n, 1);
        for (int64_t row = begin, rows; row < end; row += rows) {
            rows = smaller(most, end - row);
            const int64_t at = row * channels + start;
            const uint8_t *q = elements(c->q, at, rows * n, 1, buffer);
            uint8_t *out = (uint8_t *)c->out + at;
            for (int64_t r = 0; r < rows; r++, q += n, out += n) {
                for (const block *b = blocks; b < blocks + count; b++) {
                    const __m256i given = _mm256_xor_si256(load(q + b->start - start), flips);
                    const __m256i bytes = pack_bytes(
                        block_values(b, given, 0), block_values(b, given, 1),
                        block_values(b, given, 2), block_values(b, given, 3),
                        _mm256_setzero_si256());
                    const __m256i bounded =
                        _mm256_min_epu8(_mm256_max_epu8(bytes, lowest), highest);
                    store(out + b->start - start, _mm256_xor_si256(bounded, output_flips));
                }
            }
        }
    }
}

void requantize_avx2(const void *context, int64_t begin, int64_t end) {
    const requantize_layout *layout = ((const requantize_context *)context)->layout;
    const int bytes = layout->input < 2 && layout->output < 2;
    if (bytes && is_by_rows(layout) && layout->channels >= BLOCK) {
        bytes_by_rows(context, begin, end);
    } else {
        requantize_range(context, begin, end);
    }
}
