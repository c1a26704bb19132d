/*
 * Writing and reading a person's record. No store is known here, no clock, and no decision is taken.
 */
#include "record.h"

#include "json.h"

#include <stdio.h>
#include <string.h>

static const char magic[] = "dpg-record ";
#define VERSION 1
#define MAX_ACCESS 512
#define LATEST_MS (INT64_C(1) << 60)

/* --- the head line ------------------------------------------------------------------------------------------------- */

static void hex32(const uint8_t digest[32], char out[65])
{
    for (size_t i = 0; i < 32; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

/* The next word of digits in the head line; false when it isn't one. */
static bool digits(const char **p, const char *end, int64_t *out)
{
    int64_t n = 0;
    const char *start = *p;

    while (*p < end && **p >= '0' && **p <= '9' && *p - start < 10) n = n * 10 + (*(*p)++ - '0');
    *out = n;
    return *p > start && *p < end;
}

/* The version and the JSON behind a head line whose length and digest are right; false for anything else. */
static bool open_record(dpg_str bytes, int64_t *version, dpg_str *json)
{
    const char *p = bytes.ptr, *end = p + bytes.len;
    int64_t length;
    uint8_t digest[32];
    char hex[65];

    if (bytes.len < sizeof magic || memcmp(p, magic, sizeof magic - 1) != 0) return false;
    p += sizeof magic - 1;
    if (!digits(&p, end, version) || *p++ != ' ') return false;
    if (!digits(&p, end, &length) || *p++ != ' ') return false;
    if (end - p < 65 || p[64] != '\n' || end - p - 65 != length) return false;
    dpg_sha256(p + 65, (size_t)length, digest);
    hex32(digest, hex);
    if (memcmp(hex, p, 64) != 0) return false;
    *json = dpg_str_of(p + 65, (size_t)length);
    return true;
}

/* --- reading -------------------------------------------------------------------------------------------------------- */

static int64_t get_integer(const dpg_json *j, uint32_t object, const char *key)
{
    uint32_t i = dpg_json_member(j, object, key);

    return i && j->values[i].type == DPG_JSON_INTEGER ? j->values[i].as.integer : 0;
}

/* A moment or a span: what no clock of ours could have said is none, so that no sum of two overflows. */
static int64_t get_ms(const dpg_json *j, uint32_t object, const char *key)
{
    int64_t n = get_integer(j, object, key);

    return n < LATEST_MS && n > -LATEST_MS ? n : 0;
}

static bool get_true(const dpg_json *j, uint32_t object, const char *key)
{
    uint32_t i = dpg_json_member(j, object, key);

    return i && j->values[i].type == DPG_JSON_TRUE;
}

/* A copy of the string member; *out stays NULL when it is absent. False without memory. */
static bool get_string(const dpg_json *j, uint32_t object, const char *key, char **out)
{
    uint32_t i = dpg_json_member(j, object, key);
    dpg_buf text;

    if (!i || j->values[i].type != DPG_JSON_STRING) return true;
    dpg_buf_init_secret(&text, DPG_RECORD_MAX);
    if (dpg_json_unescape(j, i, &text)) *out = dpg_strndup(dpg_buf_str(&text));
    dpg_buf_clear(&text);
    return *out != NULL;
}

static bool get_short(const dpg_json *j, uint32_t object, const char *key, char *out, size_t size)
{
    char *text = NULL;

    if (!get_string(j, object, key, &text)) return false;
    if (text) snprintf(out, size, "%s", text);
    if (text) dpg_free_secret(text, strlen(text));
    return true;
}

static bool get_text(const dpg_json *j, uint32_t object, const char *key, dpg_json_type type, char **out)
{
    uint32_t i = dpg_json_member(j, object, key);

    if (!i || j->values[i].type != type) return true;
    *out = dpg_strndup(dpg_json_text(j, i));
    return *out != NULL;
}

static bool read_access(const dpg_json *j, uint32_t list, dpg_record *r)
{
    uint32_t i = list + 1, n = j->values[list].as.of.count;

    if (n > MAX_ACCESS) n = MAX_ACCESS;
    r->access = dpg_calloc(n, sizeof *r->access);
    if (!r->access) return false;
    for (; n; n--, i = dpg_json_next(j, i)) {
        dpg_access *a = &r->access[r->access_count];

        if (j->values[i].type != DPG_JSON_OBJECT) continue;
        r->access_count++; /* from here on dpg_record_clear() knows it */
        if (!get_string(j, i, "account", &a->account) || !get_string(j, i, "token", &a->token)) return false;
        if (!get_short(j, i, "boot_id", a->boot_id, sizeof a->boot_id)) return false;
        a->got_boot_ms = get_ms(j, i, "got_boot_ms");
        a->got_unix_ms = get_ms(j, i, "got_unix_ms");
        a->life_ms = get_ms(j, i, "life_ms");
        if (!a->account || !a->token) {
            if (a->account) dpg_free(a->account);
            if (a->token) dpg_free_secret(a->token, strlen(a->token));
            memset(a, 0, sizeof *a);
            r->access_count--;
        }
    }
    return true;
}

static bool read_past(const dpg_json *j, uint32_t list, dpg_record *r)
{
    uint32_t i = list + 1;

    for (uint32_t n = j->values[list].as.of.count; n && r->past_count < DPG_RECORD_PAST; n--, i = dpg_json_next(j, i)) {
        dpg_past *past = &r->past[r->past_count];

        if (j->values[i].type != DPG_JSON_OBJECT) continue;
        if (!get_short(j, i, "digest", past->digest, sizeof past->digest)) return false;
        past->generation = get_integer(j, i, "generation");
        past->unix_ms = get_ms(j, i, "unix_ms");
        r->past_count++;
    }
    return true;
}

/* What the JSON says, without judging it. False without memory. */
static bool read_members(const dpg_json *j, dpg_record *r)
{
    uint32_t i;

    r->generation = get_integer(j, 0, "generation");
    r->in_flight = get_true(j, 0, "in_flight");
    r->in_flight_unix_ms = get_ms(j, 0, "in_flight_unix_ms");
    r->in_flight_id = get_integer(j, 0, "in_flight_id");
    r->not_before_unix_ms = get_ms(j, 0, "exchange_not_before_unix_ms");
    r->not_before_boot_ms = get_ms(j, 0, "exchange_not_before_boot_ms");
    r->not_before_wait_ms = get_ms(j, 0, "exchange_not_before_wait_ms");
    r->tombstone = get_true(j, 0, "signed_out");
    if (!get_string(j, 0, "origin", &r->origin) || !get_short(j, 0, "family", r->family, sizeof r->family) ||
        !get_string(j, 0, "refresh_token", &r->refresh_token) ||
        !get_short(j, 0, "refused", r->refused, sizeof r->refused) ||
        !get_short(j, 0, "exchange_not_before_boot_id", r->not_before_boot_id, sizeof r->not_before_boot_id) ||
        !get_text(j, 0, "accounts", DPG_JSON_ARRAY, &r->accounts) ||
        !get_text(j, 0, "person", DPG_JSON_OBJECT, &r->person))
        return false;
    i = dpg_json_member(j, 0, "access");
    if (i && j->values[i].type == DPG_JSON_ARRAY && !read_access(j, i, r)) return false;
    i = dpg_json_member(j, 0, "past");
    return !(i && j->values[i].type == DPG_JSON_ARRAY) || read_past(j, i, r);
}

dpg_status dpg_record_read(dpg_str bytes, dpg_record *out)
{
    dpg_record r;
    dpg_json j;
    dpg_str text;
    int64_t version;
    dpg_status status;

    if (!open_record(bytes, &version, &text) || version != VERSION) return DPG_E_INVALID;
    memset(&r, 0, sizeof r);
    memset(&j, 0, sizeof j);
    if ((status = dpg_json_read(&j, text)) != DPG_OK) goto done;
    if (j.values[0].type != DPG_JSON_OBJECT) {
        status = DPG_E_INVALID;
    } else if (!read_members(&j, &r)) {
        status = DPG_E_NOMEM;
    } else if (r.generation < 0 || r.generation > LATEST_MS || !r.origin ||
               (!r.tombstone && (!r.refresh_token || !r.family[0]))) {
        status = DPG_E_INVALID;
    }
done:
    dpg_json_clear(&j);
    if (status == DPG_OK) *out = r;
    else dpg_record_clear(&r);
    return status;
}

dpg_record_state dpg_record_peek(dpg_str bytes, int64_t *generation, char family[DPG_FAMILY_SIZE])
{
    dpg_record r;
    dpg_str text;
    int64_t version;

    if (!open_record(bytes, &version, &text)) return DPG_RECORD_DAMAGED;
    if (version > VERSION) return DPG_RECORD_NEWER;
    memset(&r, 0, sizeof r);
    if (dpg_record_read(bytes, &r) != DPG_OK) return DPG_RECORD_DAMAGED;
    *generation = r.generation;
    memcpy(family, r.family, DPG_FAMILY_SIZE);
    dpg_record_clear(&r);
    return DPG_RECORD_WHOLE;
}

/* --- writing -------------------------------------------------------------------------------------------------------- */

static void put_member(dpg_buf *b, const char *key, const char *text)
{
    if (!text) return;
    dpg_buf_printf(b, ",\"%s\":", key);
    dpg_buf_put_json(b, dpg_cstr(text));
}

static void put_raw(dpg_buf *b, const char *key, const char *json)
{
    if (!json) return;
    dpg_buf_printf(b, ",\"%s\":", key);
    dpg_buf_puts(b, json);
}

static void put_integer(dpg_buf *b, const char *key, int64_t n)
{
    dpg_buf_printf(b, ",\"%s\":%lld", key, (long long)n);
}

static void put_access(dpg_buf *b, const dpg_record *r)
{
    dpg_buf_puts(b, ",\"access\":[");
    for (size_t i = 0; i < r->access_count; i++) {
        const dpg_access *a = &r->access[i];

        dpg_buf_puts(b, i ? ",{\"account\":" : "{\"account\":");
        dpg_buf_put_json(b, dpg_cstr(a->account));
        put_member(b, "token", a->token);
        put_member(b, "boot_id", a->boot_id);
        put_integer(b, "got_boot_ms", a->got_boot_ms);
        put_integer(b, "got_unix_ms", a->got_unix_ms);
        put_integer(b, "life_ms", a->life_ms);
        dpg_buf_puts(b, "}");
    }
    dpg_buf_puts(b, "]");
}

static void put_past(dpg_buf *b, const dpg_record *r)
{
    dpg_buf_puts(b, ",\"past\":[");
    for (size_t i = 0; i < r->past_count; i++) {
        const dpg_past *past = &r->past[i];

        dpg_buf_puts(b, i ? ",{\"digest\":" : "{\"digest\":");
        dpg_buf_put_json(b, dpg_cstr(past->digest));
        put_integer(b, "generation", past->generation);
        put_integer(b, "unix_ms", past->unix_ms);
        dpg_buf_puts(b, "}");
    }
    dpg_buf_puts(b, "]");
}

bool dpg_record_write(const dpg_record *r, dpg_buf *out)
{
    dpg_buf b;
    uint8_t digest[32];
    char hex[65];
    bool fine;

    dpg_buf_init_secret(&b, DPG_RECORD_MAX - 128);
    dpg_buf_puts(&b, "{\"origin\":");
    dpg_buf_put_json(&b, dpg_cstr(r->origin));
    put_integer(&b, "generation", r->generation);
    put_member(&b, "family", r->family);
    put_member(&b, "refresh_token", r->refresh_token);
    if (r->in_flight) {
        dpg_buf_puts(&b, ",\"in_flight\":true");
        put_integer(&b, "in_flight_unix_ms", r->in_flight_unix_ms);
        put_integer(&b, "in_flight_id", r->in_flight_id);
    }
    if (r->not_before_unix_ms) {
        put_integer(&b, "exchange_not_before_unix_ms", r->not_before_unix_ms);
        put_integer(&b, "exchange_not_before_boot_ms", r->not_before_boot_ms);
        put_integer(&b, "exchange_not_before_wait_ms", r->not_before_wait_ms);
        put_member(&b, "exchange_not_before_boot_id", r->not_before_boot_id);
    }
    if (r->tombstone) dpg_buf_puts(&b, ",\"signed_out\":true");
    if (r->refused[0]) put_member(&b, "refused", r->refused);
    put_raw(&b, "accounts", r->accounts);
    put_raw(&b, "person", r->person);
    if (r->access_count) put_access(&b, r);
    if (r->past_count) put_past(&b, r);
    dpg_buf_puts(&b, "}\n");
    fine = !b.failed;
    if (fine) {
        dpg_sha256(b.ptr, b.len, digest);
        hex32(digest, hex);
        dpg_buf_printf(out, "%s%d %zu %s\n", magic, VERSION, b.len, hex);
        fine = dpg_buf_put_str(out, dpg_buf_str(&b));
    }
    dpg_buf_clear(&b);
    return fine;
}

/* --- the struct ------------------------------------------------------------------------------------------------------ */

static void free_text(char *text)
{
    if (text) dpg_free_secret(text, strlen(text));
}

void dpg_record_clear(dpg_record *r)
{
    for (size_t i = 0; i < r->access_count; i++) {
        free_text(r->access[i].account);
        free_text(r->access[i].token);
    }
    dpg_free(r->access);
    free_text(r->origin);
    free_text(r->refresh_token);
    free_text(r->accounts);
    free_text(r->person);
    memset(r, 0, sizeof *r);
}

static bool copy_text(char **to, const char *from)
{
    if (!from) return true;
    *to = dpg_strndup(dpg_cstr(from));
    return *to != NULL;
}

bool dpg_record_copy(dpg_record *to, const dpg_record *from)
{
    *to = *from;
    to->origin = to->refresh_token = to->accounts = to->person = NULL;
    to->access_count = 0;
    to->access = dpg_calloc(from->access_count + 1, sizeof *to->access);
    if (!to->access || !copy_text(&to->origin, from->origin) || !copy_text(&to->refresh_token, from->refresh_token) ||
        !copy_text(&to->accounts, from->accounts) || !copy_text(&to->person, from->person))
        goto fail;
    for (size_t i = 0; i < from->access_count; i++) {
        dpg_access *a = &to->access[i];

        *a = from->access[i];
        a->account = a->token = NULL;
        to->access_count++;
        if (!copy_text(&a->account, from->access[i].account) || !copy_text(&a->token, from->access[i].token)) goto fail;
    }
    return true;
fail:
    dpg_record_clear(to);
    return false;
}

dpg_access *dpg_record_access(const dpg_record *r, dpg_str account)
{
    for (size_t i = 0; i < r->access_count; i++)
        if (dpg_str_eq(dpg_cstr(r->access[i].account), account)) return &r->access[i];
    return NULL;
}

bool dpg_record_put_access(dpg_record *r, dpg_str account, dpg_str token, const dpg_access *times)
{
    dpg_access fresh = *times, *there = dpg_record_access(r, account), *grown;

    fresh.account = dpg_strndup(account);
    fresh.token = dpg_strndup(token);
    if (!fresh.account || !fresh.token) goto fail;
    if (there) {
        free_text(there->account);
        free_text(there->token);
        *there = fresh;
        return true;
    }
    if (r->access_count >= MAX_ACCESS) { /* the oldest makes room */
        free_text(r->access[0].account);
        free_text(r->access[0].token);
        memmove(r->access, r->access + 1, (r->access_count - 1) * sizeof *r->access);
        r->access[r->access_count - 1] = fresh;
        return true;
    }
    grown = dpg_realloc(r->access, (r->access_count + 1) * sizeof *grown);
    if (!grown) goto fail;
    r->access = grown;
    r->access[r->access_count++] = fresh;
    return true;
fail:
    free_text(fresh.account);
    free_text(fresh.token);
    return false;
}

bool dpg_record_rotate(dpg_record *r, dpg_str successor, int64_t unix_ms)
{
    char *token = dpg_strndup(successor);
    dpg_past past = {.generation = r->generation, .unix_ms = unix_ms};

    if (!token) return false;
    if (r->refresh_token) {
        dpg_digest_hex(dpg_cstr(r->refresh_token), past.digest);
        memmove(r->past + 1, r->past, (DPG_RECORD_PAST - 1) * sizeof *r->past);
        r->past[0] = past;
        if (r->past_count < DPG_RECORD_PAST) r->past_count++;
        free_text(r->refresh_token);
    }
    r->refresh_token = token;
    r->generation++;
    return true;
}
