/*
 * Any bytes as JSON: taken exactly when a second, slow and recursive reader takes them; the tape in order; each string
 * the same after it was unescaped, written and read again; each number to the last bit as strtod has it.
 */
#include "must.h"

#include "json.h"
#include "tape.h"

#include <string.h>

/* --- the second reader: the grammar of RFC 8259, rule by rule; NULL where it does not apply ------------------------ */

static const uint8_t *blanks(const uint8_t *p, const uint8_t *end)
{
    while (p < end && *p && strchr(" \t\r\n", *p)) p++;
    return p;
}

static const uint8_t *word(const uint8_t *p, const uint8_t *end, const char *text)
{
    for (; *text; text++, p++)
        if (p == end || *p != (uint8_t)*text) return NULL;
    return p;
}

static const uint8_t *some_digits(const uint8_t *p, const uint8_t *end)
{
    const uint8_t *start = p;

    while (p < end && *p >= '0' && *p <= '9') p++;
    return p > start ? p : NULL;
}

static const uint8_t *a_number(const uint8_t *p, const uint8_t *end)
{
    if (p < end && *p == '-') p++;
    if (p < end && *p == '0') p++;
    else if (!(p = some_digits(p, end))) return NULL;
    if (p < end && *p == '.' && !(p = some_digits(p + 1, end))) return NULL;
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-')) p++;
        p = some_digits(p, end);
    }
    return p;
}

static long four_hex(const uint8_t *p, const uint8_t *end)
{
    char digits[5] = {0};

    if (end - p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        if (!p[i] || !strchr("0123456789abcdefABCDEF", p[i])) return -1;
        digits[i] = (char)p[i];
    }
    return strtol(digits, NULL, 16);
}

/* One character of UTF-8, by its code and not by its bytes. */
static const uint8_t *a_character(const uint8_t *p, const uint8_t *end)
{
    static const unsigned long least[] = {0, 0, 0x80, 0x800, 0x10000};
    int n = *p < 0x80 ? 1 : (*p & 0xe0) == 0xc0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : (*p & 0xf8) == 0xf0 ? 4 : 0;
    unsigned long code;

    if (n == 0 || end - p < n) return NULL;
    code = n == 1 ? *p : *p & (0xffu >> (n + 1));
    for (int i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return NULL;
        code = code << 6 | (p[i] & 0x3f);
    }
    return code < least[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? NULL : p + n;
}

static const uint8_t *a_string(const uint8_t *p, const uint8_t *end)
{
    long high, low;

    if (p == end || *p++ != '"') return NULL;
    while (p && p < end && *p != '"') {
        if (*p < 0x20) return NULL;
        if (*p != '\\') {
            p = a_character(p, end);
        } else if (end - p < 2) {
            return NULL;
        } else if (p[1] != 'u') {
            if (!p[1] || !strchr("\"\\/bfnrt", p[1])) return NULL;
            p += 2;
        } else {
            high = four_hex(p + 2, end);
            if (high < 0 || (high >= 0xdc00 && high <= 0xdfff)) return NULL;
            p += 6;
            if (high < 0xd800 || high > 0xdfff) continue;
            if (end - p < 6 || p[0] != '\\' || p[1] != 'u') return NULL;
            low = four_hex(p + 2, end);
            if (low < 0xdc00 || low > 0xdfff) return NULL;
            p += 6;
        }
    }
    return p && p < end ? p + 1 : NULL;
}

static const uint8_t *a_value(const uint8_t *p, const uint8_t *end, int depth);

static const uint8_t *elements(const uint8_t *p, const uint8_t *end, int depth, char close)
{
    p = blanks(p, end);
    if (p < end && *p == (uint8_t)close) return p + 1;
    for (;;) {
        if (close == '}') {
            if (!(p = a_string(blanks(p, end), end))) return NULL;
            p = blanks(p, end);
            if (p == end || *p++ != ':') return NULL;
        }
        if (!(p = a_value(p, end, depth))) return NULL;
        p = blanks(p, end);
        if (p == end) return NULL;
        if (*p == (uint8_t)close) return p + 1;
        if (*p++ != ',') return NULL;
    }
}

static const uint8_t *a_value(const uint8_t *p, const uint8_t *end, int depth)
{
    p = blanks(p, end);
    if (p == end) return NULL;
    if (*p == '[' || *p == '{')
        return depth == DPG_JSON_MAX_DEPTH ? NULL : elements(p + 1, end, depth + 1, *p == '[' ? ']' : '}');
    if (*p == '"') return a_string(p, end);
    if (*p == 'n') return word(p, end, "null");
    if (*p == 't') return word(p, end, "true");
    if (*p == 'f') return word(p, end, "false");
    return a_number(p, end);
}

/* --- what must hold ------------------------------------------------------------------------------------------------ */

static void check_string(const dpg_json *json, uint32_t at)
{
    dpg_buf bytes, written, again;
    dpg_json second;
    char *to = malloc(json->values[at].as.len + 1);

    dpg_buf_init(&bytes, SIZE_MAX / 2);
    dpg_buf_init(&written, SIZE_MAX / 2);
    dpg_buf_init(&again, SIZE_MAX / 2);
    MUST(to && dpg_json_unescape(json, at, &bytes));
    MUST(bytes.len <= json->values[at].as.len);
    MUST(dpg_json_unescape_to(dpg_str_of(json->text.ptr + json->values[at].start, json->values[at].as.len), to) ==
         bytes.len);
    MUST(memcmp(to, bytes.ptr, bytes.len) == 0);
    MUST(dpg_buf_put_json(&written, dpg_buf_str(&bytes)));
    MUST(dpg_json_read(&second, dpg_buf_str(&written)) == DPG_OK);
    MUST(dpg_json_unescape(&second, 0, &again));
    MUST(dpg_str_eq(dpg_buf_str(&again), dpg_buf_str(&bytes)));
    dpg_json_clear(&second);
    dpg_buf_clear(&bytes);
    dpg_buf_clear(&written);
    dpg_buf_clear(&again);
    free(to);
}

static void check_number(const dpg_json *json, uint32_t at)
{
    const dpg_json_value *v = &json->values[at];
    dpg_str text = dpg_json_text(json, at);
    char *copy = dpg_strndup(text), back[32];
    double want;

    MUST(copy);
    want = strtod(copy, NULL);
    if (v->type == DPG_JSON_INTEGER) {
        snprintf(back, sizeof back, "%lld", (long long)v->as.integer);
        MUST(strcmp(back, copy) == 0);
    } else {
        MUST(memcmp(&v->as.number, &want, sizeof want) == 0);
    }
    dpg_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = data + size, *behind = a_value(data, end, 0);
    dpg_json json;
    dpg_status status = dpg_json_read(&json, dpg_str_of((const char *)data, size));

    MUST(status == DPG_OK || status == DPG_E_INVALID);
    MUST((status == DPG_OK) == (behind && blanks(behind, end) == end));
    if (status == DPG_OK) {
        MUST(tape_ok(&json));
        for (uint32_t i = 0; i < json.count; i++) {
            if (json.values[i].type == DPG_JSON_STRING) check_string(&json, i);
            if (json.values[i].type == DPG_JSON_INTEGER || json.values[i].type == DPG_JSON_NUMBER)
                check_number(&json, i);
            (void)dpg_json_member(&json, i, "a");
        }
    } else {
        MUST(json.error && json.error_at <= size && !json.values);
    }
    dpg_json_clear(&json);
    return 0;
}
