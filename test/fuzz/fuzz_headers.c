/*
 * Any bytes as the head of an answer, line by line, and each line as each thing that headers.h reads.
 */
#include "must.h"

#include "headers.h"

#include <string.h>

static bool inside(dpg_str part, dpg_str whole)
{
    return part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len;
}

static void check_line(dpg_str line)
{
    dpg_str name, value;
    int64_t number = -1, again, first, last, whole;
    char text[32];

    if (dpg_header_line(line, &name, &value)) {
        MUST(inside(name, line) && inside(value, line));
        MUST(dpg_header_name_ok(name) && dpg_header_value_ok(value));
        MUST(!value.len || (!strchr(" \t", value.ptr[0]) && !strchr(" \t", value.ptr[value.len - 1])));
    }
    if (dpg_header_number(line, 1000000, &number)) {
        MUST(number >= 0 && number <= 1000000);
        snprintf(text, sizeof text, "%lld", (long long)number);
        MUST(dpg_header_number(dpg_cstr(text), number, &again) && again == number);
        MUST(number == 0 || !dpg_header_number(dpg_cstr(text), number - 1, &again));
    }
    if (dpg_header_range(line, &first, &last, &whole))
        MUST(first >= 0 && last >= first && last < INT64_MAX && (whole == -1 || whole > last));
    if (dpg_header_date(line, &number)) MUST(number >= -62167219200 && number <= 253402300800);
    if (dpg_iso8601(line, &number)) MUST(number >= -62167219200000 - 86400000 && number <= 253402300800000 + 86400000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int64_t clocks[] = {INT64_MIN, -1, 0, 1795550400500, INT64_MAX};
    dpg_header headers[16];
    size_t n = 0, start = 0;

    for (size_t i = 0; i <= size; i++) {
        dpg_str line;
        char *copy;

        if (i < size && data[i] != '\n') continue;
        line = dpg_str_of((const char *)data + start, i - start);
        start = i + 1;
        copy = malloc(line.len ? line.len : 1); /* of its own, so that one byte too far is seen */
        MUST(copy);
        if (line.len) memcpy(copy, line.ptr, line.len);
        check_line(dpg_str_of(copy, line.len));
        free(copy);
        if (n < 16 && dpg_header_line(line, &headers[n].name, &headers[n].value)) n++;
    }
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        int64_t wait = dpg_headers_retry_after(headers, n, clocks[i]);

        MUST(wait >= -1 && wait <= DPG_RETRY_AFTER_MAX_MS);
        MUST(wait == -1 || dpg_headers_find(headers, n, "retry-after", NULL));
    }
    return 0;
}
