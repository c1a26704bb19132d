/*
 * From digits to numbers: exact integers where they fit, else the double that is nearest to what the text says. No
 * locale has a say.
 */
#include "json_number.h"

#include <float.h>
#include <stdlib.h>

typedef unsigned char byte;

/* What a number's text says: (-)digits with the point taken out, times ten to the `exponent`. */
typedef struct decimal {
    bool negative, whole;
    uint64_t mantissa; /* if digits <= 19 */
    size_t digits;     /* significant ones: without zeros in front */
    int64_t exponent;
} decimal;

#define ENOUGH_DIGITS 800          /* 767 settle any rounding to a double; one more says "and something" */
#define HUGE_EXPONENT 100000000000 /* beyond what any text below 4 GiB can make up for with its digits */

/*
 * The slow way, correctly rounded by strtod. It gets its digits without a point, so no locale has a say, and never more
 * than ENOUGH_DIGITS of them.
 */
static double convert_long(const decimal *d, const byte *p, const byte *end)
{
    char text[ENOUGH_DIGITS + 32];
    size_t n = 0, dropped = 0;
    bool rest = false;
    int64_t exponent = d->exponent;

    for (; p < end && *p != 'e' && *p != 'E'; p++) {
        if (*p == '-' || *p == '.' || (n == 0 && *p == '0')) continue;
        if (n < ENOUGH_DIGITS) {
            text[n++] = (char)*p;
        } else {
            dropped++;
            rest = rest || *p != '0';
        }
    }
    if (n == 0) return 0.0;
    if (rest) {
        text[n++] = '1';
        dropped--;
    }
    exponent += (int64_t)dropped;
    if (exponent > 99999) exponent = 99999;
    if (exponent < -99999) exponent = -99999;
    text[n++] = 'e';
    if (exponent < 0) text[n++] = '-';
    if (exponent < 0) exponent = -exponent;
    for (int64_t place = 10000; place > 0; place /= 10) text[n++] = (char)('0' + exponent / place % 10);
    text[n] = '\0';
    return strtod(text, NULL);
}

static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                              1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static double convert(const decimal *d, const byte *p, const byte *end)
{
    double value;

    /* Both operands are exact here, so the one operation rounds once (Clinger); x87 would round twice. */
    if (FLT_EVAL_METHOD == 0 && d->digits <= 19 && d->mantissa <= (uint64_t)1 << 53 && d->exponent >= -22 &&
        d->exponent <= 22) {
        value = (double)d->mantissa;
        value = d->exponent < 0 ? value / tens[-d->exponent] : value * tens[d->exponent];
    } else {
        value = convert_long(d, p, end);
    }
    return d->negative ? -value : value;
}

/* Takes the digits from p on into `d`; returns what follows them. */
static const byte *take_digits(const byte *p, const byte *end, decimal *d)
{
    for (; p < end && *p >= '0' && *p <= '9'; p++) {
        if (d->digits || *p != '0') d->digits++;
        if (d->digits <= 19) d->mantissa = d->mantissa * 10 + (uint64_t)(*p - '0');
    }
    return p;
}

/* The same for an exponent: p is behind its "e". NULL: it has no digits. */
static const byte *take_exponent(const byte *p, const byte *end, decimal *d, const byte **error_at)
{
    const byte *first;
    int64_t value = 0;
    bool negative = false;

    if (p < end && (*p == '+' || *p == '-')) negative = *p++ == '-';
    for (first = p; p < end && *p >= '0' && *p <= '9'; p++)
        if (value < HUGE_EXPONENT) value = value * 10 + (*p - '0');
    d->exponent += negative ? -value : value;
    *error_at = p;
    return p > first ? p : NULL;
}

/* The text of a number into `d`; returns what follows it, or NULL. */
static const byte *take_number(const byte *p, const byte *end, decimal *d, const char **error, const byte **error_at)
{
    const byte *first;

    if (*p == '-') d->negative = true, p++;
    first = p;
    *error = "a number has no digits";
    if ((p = take_digits(*error_at = p, end, d)) == first) return NULL;
    *error = "a number starts with a zero too many";
    if (*first == '0' && p - first > 1) return NULL;
    if (p < end && *p == '.') {
        d->whole = false;
        first = p + 1;
        *error = "a number has no digits behind its point";
        if ((p = take_digits(*error_at = first, end, d)) == first) return NULL;
        d->exponent -= p - first;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        d->whole = false;
        *error = "a number has no digits in its exponent";
        if (!(p = take_exponent(p + 1, end, d, error_at))) return NULL;
    }
    *error = NULL;
    return p;
}

/* The common case: digits, a point and digits, 15 in all, which is exact on both sides of one division. NULL: another. */
static const byte *read_short(const byte *p, const byte *end, dpg_json_value *v)
{
    const byte *first = p + (*p == '-'), *point, *limit;
    int64_t mantissa = 0;
    bool negative = *p == '-';

    limit = end - first > 17 ? first + 17 : end;
    for (p = first; p < limit && (byte)(*p - '0') < 10; p++) mantissa = mantissa * 10 + (*p - '0');
    point = p;
    if (p == first || p == limit || *p != '.' || (*first == '0' && p - first > 1)) return NULL;
    for (p++; p < limit && (byte)(*p - '0') < 10; p++) mantissa = mantissa * 10 + (*p - '0');
    if (p == point + 1 || p == limit || (*p | 0x20) == 'e') return NULL;
    v->type = DPG_JSON_NUMBER;
    v->as.number = (double)mantissa / tens[p - point - 1];
    if (negative) v->as.number = -v->as.number;
    return p;
}

const byte *dpg_json_read_number(const byte *p, const byte *end, dpg_json_value *v, const char **error,
                                 const byte **error_at)
{
    decimal d = {.whole = true};
    const byte *start = p, *behind;

    if (FLT_EVAL_METHOD == 0 && (behind = read_short(p, end, v)) != NULL) return behind;
    if (!(p = take_number(p, end, &d, error, error_at))) return NULL;
    /* 19 digits are below 2^64; -0 stays a number, since no integer has that sign */
    if (d.whole && d.digits <= 19 && d.mantissa <= (uint64_t)INT64_MAX + d.negative &&
        !(d.negative && d.mantissa == 0)) {
        v->type = DPG_JSON_INTEGER;
        if (!d.negative) v->as.integer = (int64_t)d.mantissa;
        else v->as.integer = -(int64_t)(d.mantissa - 1) - 1;
    } else {
        v->type = DPG_JSON_NUMBER;
        v->as.number = convert(&d, start, p);
    }
    return p;
}
