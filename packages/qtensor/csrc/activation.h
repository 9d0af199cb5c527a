/* The constants of the activations; qtensor/_ops/_activation.py has the same. */
#ifndef QTENSOR_ACTIVATION_H
#define QTENSOR_ACTIVATION_H

#define EXP_LOWEST -87.0f /* e^v is not denormal */
#define LOG2_E 1.44269504f
#define LN2_HIGH 0.693359375f /* few bits, so that its products with n are exact */
#define LN2_LOW -2.12194440e-4f
#define ROUND_TO_INTEGER 12582912.0f /* added, leaves an integer in the low bits */

#define ERF_P 0.231641888f /* 0.3275911 / sqrt(2) */
#define ERF_1 0.254829592f
#define ERF_2 -0.284496736f
#define ERF_3 1.421413741f
#define ERF_4 -1.453152027f
#define ERF_5 1.061405429f

#define LOGISTIC_1 1.59576912f   /* 2 sqrt(2 / pi) */
#define LOGISTIC_3 0.0713548163f /* the same, times 0.044715 */

#endif
