/*
 * Records and asks for tests of stores: what the engine would ask, in a line each.
 */
#ifndef STORE_KIT_H
#define STORE_KIT_H

#include <stdio.h>
#include <string.h>

#include "drivers.h"
#include "record.h"

#define KIT_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" /* two families */
#define KIT_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* A whole record; its refresh token is "token-<generation>". Without a family: a tombstone. Ends in dpg_buf_clear(). */
static inline dpg_buf kit_record(const char *family, int64_t generation, bool in_flight)
{
    char token[32];
    dpg_record r = {0};
    dpg_buf out;

    dpg_buf_init_secret(&out, DPG_RECORD_MAX);
    snprintf(token, sizeof token, "token-%lld", (long long)generation);
    r.origin = dpg_strndup(DPG_LIT("https://api.example.com"));
    r.generation = generation;
    r.tombstone = !family[0];
    snprintf(r.family, sizeof r.family, "%s", family);
    if (family[0]) r.refresh_token = dpg_strndup(dpg_cstr(token));
    r.in_flight = in_flight;
    r.in_flight_unix_ms = in_flight ? 1700000000000 : 0;
    if (!dpg_record_write(&r, &out)) dpg_buf_clear(&out);
    dpg_record_clear(&r);
    return out;
}

/* A whole record of a version that is not known yet. */
static inline dpg_buf kit_newer(void)
{
    static const char json[] = "{\"shape\":\"new\"}";
    uint8_t digest[32];
    dpg_buf out;

    dpg_buf_init_secret(&out, DPG_RECORD_MAX);
    dpg_sha256(json, sizeof json - 1, digest);
    dpg_buf_printf(&out, "dpg-record 2 %zu ", sizeof json - 1);
    for (size_t i = 0; i < 32; i++) dpg_buf_printf(&out, "%02x", digest[i]);
    dpg_buf_printf(&out, "\n%s", json);
    return out;
}

static inline dpg_store_reply kit_ask(dpg_store *s, dpg_store_op op)
{
    dpg_store_request request = {.op = op};
    dpg_store_reply reply = {0};

    s->ask(s, &request, &reply);
    return reply;
}

static inline dpg_store_outcome kit_lock(dpg_store *s)
{
    return kit_ask(s, DPG_STORE_LOCK).outcome;
}

static inline void kit_unlock(dpg_store *s)
{
    kit_ask(s, DPG_STORE_UNLOCK);
}

/* `expected` NULL: nothing is stored. */
static inline dpg_store_reply kit_save(dpg_store *s, const dpg_buf *bytes, const dpg_buf *expected, bool reserve)
{
    dpg_store_request request = {.op = DPG_STORE_SAVE, .bytes = dpg_buf_str(bytes), .reserve = reserve};
    dpg_store_reply reply = {0};

    request.had = expected != NULL;
    if (expected) request.expected = dpg_buf_str(expected);
    s->ask(s, &request, &reply);
    return reply;
}

static inline dpg_store *kit_file(const char *path)
{
    dpg_store *s = NULL;
    dpg_error err = DPG_ERROR_INIT;

    if (dpg_store_file_new(dpg_cstr(path), &s, &err) != DPG_OK) printf("# %s: %s\n", path, err.message);
    return s;
}

static inline bool kit_same(const dpg_buf *a, const dpg_buf *b)
{
    return dpg_str_eq(dpg_buf_str(a), dpg_buf_str(b));
}

#endif
