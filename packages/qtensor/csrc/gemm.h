/* Integer matrix products for linear and convolution: the shared types. README.md tells the scheme.
 *
 * A ROW is what produces one row of outputs: a row of activations, or one output pixel. It is given
 * by a base pointer. K, the dimension summed over, is cut into STEPS of 4 consecutive activation
 * bytes; each lies at some offset from the row's base, the same for all rows. 16 output channels
 * form a PANEL, whose weights are stored step by step, 64 bytes each.
 */
#ifndef QTENSOR_GEMM_H
#define QTENSOR_GEMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "elementwise.h"

enum {
    CHANNELS = 16,   /* output channels of a panel */
    STEP = 4,        /* activation bytes of a step */
    STEP_BYTES = 64, /* weight bytes of a step: CHANNELS * STEP */
    WIDE_BYTES = 2 * STEP_BYTES, /* of a wide step, whose weights are kept in 16 bits */
    MAX_ROWS = 32,   /* rows that one call of a kernel works on */
    MAX_CHUNK = 32768, /* longest K that int32 sums exactly, whatever the zero points: README.md */
    TASKS_PER_THREAD = 4, /* so that threads which are held up delay the others little */
};

/* The orders in which the 4 activations of a step may be taken: the first two share a 16-bit lane,
 * and so do the last two, so these are the three ways to divide them. Each takes a copy of the rows
 * in which every 4 bytes have that order. */
enum { ORDERS = 3 };
extern const uint8_t step_orders[ORDERS][STEP];

/* The weights of 16 channels, in the order in which a tile function runs through them. */
typedef struct {
    int32_t quads;               /* T = 4: bundles of four steps that are summed in 16 bits */
    int32_t pairs;               /* T = 2: of two */
    int32_t centred_pairs;       /* the same, where that takes a centre */
    int32_t single;              /* T = 1: steps that are safe only alone */
    int32_t wide;                /* steps whose products need 32 bits from the start */
    int32_t offset_count;        /* of all steps */
    const int32_t *offsets;      /* of each step, from the row's base */
    const int8_t *weights;       /* 64 bytes a step, 128 if it is wide; 64-byte aligned */
    const int16_t *centres;      /* 2 * CHANNELS for each centred pair; 64-byte aligned */
    const uint8_t *complements;  /* of each single step, exclusive or with its activations */
    int32_t sums[CHANNELS];         /* of each channel's weights */
    int32_t centred[CHANNELS];      /* the sums of all centres */
    int32_t complemented[CHANNELS]; /* what sums lack because activations are complemented */
} panel;

/* acc[row][channel] = the products of the row's activations, less the zero point, and the panel's
 * weights, in wrapping 32-bit arithmetic. */
typedef void multiply_function(const uint8_t *const *rows, int count, const panel *p,
                               int32_t zero_point, int32_t *acc);

struct one_row; /* one_row.h */

/* sums[channel] = the products of the row's activations, less the zero point, and a panel's weights,
 * whose sums are given; in wrapping 32-bit arithmetic. */
typedef void one_row_function(const struct one_row *row, const int8_t *weights,
                              const int32_t *weight_sums, int32_t *sums);

/* Functions of the real result, before it is bounded: activation.h. */
enum activation { NO_ACTIVATION, LEAKY_RELU, TANH, GELU, GELU_TANH };

/* How the sums of one panel become output: finish.c says it exactly. */
typedef struct {
    const float *multiplier, *bias; /* of the CHANNELS channels; zeros if there is no bias */
    float filled[2][CHANNELS]; /* where they point if what was given has fewer: do not copy then */
    int64_t multiplier_step, bias_step; /* from a row's to the next row's; mostly 0: they share */
    float lowest, highest;  /* bounds of the float result */
    int32_t zero_point;
    int32_t columns;        /* valid channels, <= CHANNELS */
    int64_t stride;         /* elements between two rows of the output, and of the residual */
    bool is_signed;         /* output and residual are int8 */
    float residual_multiplier;
    int32_t residual_zero_point;
    enum activation activation;
    float negative_slope;        /* of LEAKY_RELU */
    float scale, inverse_scale;  /* of the output; 1 if that is float */
} finish;

/* out, residual: of the first row and channel; residual may be NULL, or out itself */
typedef void requantize_function(const int32_t *acc, int rows, const finish *restrict f,
                                 const uint8_t *residual, uint8_t *out);
typedef void dequantize_function(const int32_t *acc, int rows, const finish *restrict f,
                                 const float *row_scales, float *restrict out);

typedef void finish_function(const float *sums, int rows, const finish *restrict f,
                             const float *row_scales, float *restrict out);

/* sums[row][channel]: products of rows of k floats and weights [k][CHANNELS] less their zero
 * points, added up in the order of k, in float32. */
typedef void float_rows_function(const float *rows, int count, int64_t k, const int8_t *weights,
                                 const int32_t *zero_points, float *sums);

/* The kernels of one instruction set. */
typedef struct {
    const char *name;
    multiply_function *dense;     /* on what pack() makes */
    one_row_function *one_row;    /* on what pack_one_row() makes */
    const struct depthwise_kernels *depthwise; /* on what pack_depthwise() makes: depthwise.h */
    /* acc[r][c] -= row[r] * channel[c], wrapping */
    void (*subtract_products)(int32_t *acc, int rows, const int32_t *row, const int32_t *channel);
    requantize_function *requantize;
    dequantize_function *dequantize;
    finish_function *finish_floats; /* dequantize, on sums that are floats */
    float_rows_function *float_rows;
    uint8_t (*or_bytes)(const uint8_t *bytes, int64_t count);
    /* Puts copies of a row of steps, in the other step_orders, behind it. */
    void (*copy_in_orders)(uint8_t *row, int64_t bytes);
    /* Lowest and highest of the values and 0; returns false if one is NaN or infinite. */
    bool (*range)(const float *values, int64_t count, float *lowest, float *highest);
    const elementwise_kernels *elementwise;
} kernels;

extern const kernels scalar_kernels, avx2_kernels;

extern const struct depthwise_kernels depthwise_scalar, depthwise_avx2;

/* What kernels do with their sums: finish.c and finish_avx2.c. */
extern requantize_function requantize_scalar, requantize_avx2;
extern dequantize_function dequantize_scalar, dequantize_avx2;
extern finish_function dequantize_sums, finish_floats_avx2;
extern float_rows_function float_rows_scalar, float_rows_avx2;
/* The same on sums that were converted to float, or were too long for 32 bits. */
void requantize_sums(const float *sums, int rows, const finish *f, const uint8_t *residual,
                     uint8_t *out);

/* By name; NULL if this machine cannot run them, or there are none of that name. */
const kernels *find_kernels(const char *name);

/* ---- weights ---- */

typedef struct {
    int64_t groups;
    int64_t channels;         /* output channels of a group */
    int64_t group_panels;     /* panels of a group; the last one may be partly empty */
    int64_t k;                /* weights of a channel */
    int64_t run_length;       /* K is made of runs of consecutive activations, each of this many */
    int64_t offset_count;     /* a panel's offsets are a permutation of 4 * (0, 1, 2 ...), */
    int copies;               /* plus 4 * offset_count for each copy before the one that is read */
    int64_t group_stride;     /* activation bytes from one group to the next */
    const struct depthwise_weights *depthwise; /* depthwise.h; NULL unless it is one of these, */
    const struct one_row_weights *one_row;     /* one_row.h; which have no panels as below */
    int64_t chunks;           /* K is cut so that 32 bits hold each chunk's sum; mostly 1 */
    panel *panels;            /* [chunks][groups][group_panels] */
    panel *ones;              /* [chunks]: channel 0 sums the activations; or NULL */
    int64_t counts[4];        /* of all panels: steps in bundles of 4, of 2, single, wide */
    int64_t bytes;            /* of memory held */
    void *memory;
} packed;

/* weights: [groups * channels][runs * run_length]. The activations of one run are consecutive.
 * row_sums: whether multiply() needs the sums of the activations, for zero points of the weights.
 * orders: whether the rows can be copied in other orders, one copy after the other.
 * Returns NULL if memory is short. */
packed *pack(const int8_t *weights, int64_t groups, int64_t channels, int64_t runs,
             int64_t run_length, int64_t group_stride, int amax, bool row_sums, bool orders);
/* For depthwise convolution; weights: [channels][taps], already without their zero points.
 * Output channel c sees input channel c / multiplier. */
packed *pack_depthwise(const int16_t *weights, int64_t channels, int64_t multiplier,
                       const int64_t *taps);
/* For products of single rows, of any bytes; weights: [channels][k], k at most MAX_CHUNK. */
packed *pack_one_row(const int8_t *weights, int64_t channels, int64_t k);
void pack_free(packed *p);

/* ---- running ---- */

enum output_kind { OUTPUT_BYTES, OUTPUT_FLOAT, OUTPUT_INT32 };

/* Everything about a product but where its rows come from. */
typedef struct {
    const kernels *kernels;
    const packed *weights;
    int threads;
    enum output_kind kind;
    void *output;             /* [rows][groups * channels] */
    int32_t input_zero_point; /* of the bytes as the kernels read them */
    const int64_t *weight_zero_points; /* per channel, or NULL if all are zero */
    const float *multipliers; /* of the sums, per channel */
    int64_t multiplier_stride; /* 0: one for all channels */
    const float *bias;        /* in the output's steps; or NULL */
    double output_scale;
    int32_t output_zero_point;
    float lowest, highest;
    const uint8_t *residual;
    bool is_signed;           /* output and residual are int8 */
    float residual_multiplier;
    int32_t residual_zero_point;
    enum activation activation;
    float negative_slope;
} product;

/* How its sums become output; `stride` as in finish. */
finish start_finish(const product *p, int64_t stride);
/* Makes it one of so many channels, of which this is the first. */
void choose_channels(finish *f, const product *p, int64_t first, int columns);
/* Turns sums into output, which begins at this element. */
void put_sums(const product *p, const finish *f, const int32_t *acc, int rows,
              const float *row_scales, int64_t at);

/* A block of rows. */
typedef struct {
    const uint8_t *const *bases;
    int64_t count;
    int64_t first;               /* index of the first row in the output */
    int64_t line, spacing;       /* rows come in lines of so many, so far apart in the output; */
    int64_t line_spacing;        /* and the lines so far */
    const int32_t *step_offsets; /* replaces offset 4 * s by step_offsets[s], or NULL */
    const float *scales;         /* per row, OUTPUT_FLOAT only */
    const int32_t *zero_points;  /* per row, instead of input_zero_point; or NULL */
} row_block;

/* A product of many rows, block by block. */
typedef struct {
    const product *product;
    int64_t blocks;
    int64_t block_rows; /* the most rows in a block */
    size_t stage_bytes; /* memory that stage() needs, 64-byte aligned */
    /* Makes one block of rows readable: finds where they are, or copies them to memory. */
    row_block (*stage)(const void *source, int64_t block, void *memory);
    const void *source;
} job;

/* Returns 0, or -1 if memory is short. */
int run(const job *j);

/* ---- operators; 0, or -1 if memory is short ---- */

enum input_kind { INPUT_U8, INPUT_S8, INPUT_FLOAT };

/* The lowest and highest of some floats and 0, and whether none is a NaN or an infinity. */
typedef struct {
    float lowest, highest;
    bool finite;
} extremes;

#define OF_NOTHING ((extremes){0, 0, true})

extremes joined_extremes(extremes a, extremes b);
extremes extremes_of(const kernels *k, const operand *values, int64_t count);

/* Asymmetric parameters, and what inverts their scale; returns that. If there is a NaN or an
 * infinity it is NaN, which makes all outputs NaN. */
float choose_parameters(extremes of, int32_t quant_max, quantize_params *params);

typedef struct {
    enum input_kind kind;
    operand values;    /* in the order of their rows */
    int64_t rows, k;
    int32_t quant_max; /* floats are quantized on the way, to 0 .. quant_max, */
    bool per_row;      /* with parameters for each row, or for all */
} linear_input;

int linear(const product *p, const linear_input *input);

/* One axis of a convolution: output i is the sum over taps t of input[first + i * stride +
 * t * dilation], where there is input. */
typedef struct {
    int64_t size, input_stride; /* of the input; elements from one to the next */
    int64_t taps, first, stride, dilation;
    int64_t out_size;                /* of the whole output, of which */
    int64_t outputs, place, spacing; /* place + i * spacing are computed, for all i < outputs */
} conv_axis;

enum padding_mode { PAD_ZEROS, PAD_REFLECT, PAD_REPLICATE, PAD_CIRCULAR };

typedef struct {
    int64_t batch, channels;
    int64_t batch_stride, channel_stride; /* elements from one to the next, in the input */
    conv_axis axes[3];
    enum padding_mode padding_mode;
    uint8_t padding_value; /* a byte as the kernels read it */
} conv_shape;

/* The output is [batch][out_size][out_size][out_size][channels]. */
int conv(const product *p, enum input_kind kind, const void *input, const conv_shape *shape);

/* Floats, quantized on the way to 0 .. quant_max, with parameters per image or for all. */
int conv_dynamic(const product *p, const float *input, const conv_shape *shape, int32_t quant_max,
                 bool per_image);

typedef struct {
    const uint8_t *a, *b;
    memory_layout a_batch, b_batch; /* of the first elements of their matrices, one of each result */
    memory_layout a_rows;           /* of a matrix */
    int64_t b_row_stride, b_column_stride;
    bool a_signed, b_signed;
    int64_t batch, rows, k, columns;
} matmul_shape;

/* Output: bytes or int32, [batch][rows][columns]. p->weights is not used. */
int matmul(const product *p, const matmul_shape *shape);

typedef struct {
    const float *input;   /* [rows][k] */
    const int8_t *panels; /* [channels / 16, rounded up][k][16] */
    int64_t rows, k, channels;
} weight_only_shape;

/* Output: floats, [rows][channels]. p->weights is not used. */
void weight_only(const product *p, const weight_only_shape *shape);

/* What an LSTM cell makes of its gates, each of them a byte. */
typedef struct {
    const uint8_t *gate_tables[4]; /* of input, forget, cell and output gate; 256 bytes each */
    const uint8_t *tanh_table;     /* of the cell state */
    binary_params forgotten, added, sum, output; /* f * c, i * g, their sum, o * tanh(c) */
    uint8_t flip;
} lstm_cell;

/* Some steps of an LSTM layer, all tensors bytes of one type. p: of [4 * size][size] weights, to
 * bytes; its output and residual are not used. input_gates: [steps][batch][4 * size]; hidden:
 * [batch][size], what came before; cells: likewise, replaced by the last step's; outputs:
 * [steps][batch][size]. */
int lstm(const product *p, const lstm_cell *cell, int64_t steps, int64_t batch, int64_t size,
         const uint8_t *input_gates, const uint8_t *hidden, uint8_t *cells, uint8_t *outputs);

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t divide_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit; }

#endif
