/*
 * record.c: what is written is read again whole, and nothing else is taken for a record.
 */
#include "check.h"
#include "guard.h"
#include "record.h"

#include <stdio.h>

/* A record of given JSON, with the head that belongs to it. */
static void wrap(const char *json, int version, dpg_buf *out)
{
    uint8_t digest[32];
    char hex[65];

    dpg_sha256(json, strlen(json), digest);
    for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    dpg_buf_init_secret(out, DPG_RECORD_MAX);
    CHECK(dpg_buf_printf(out, "dpg-record %d %zu %s\n%s", version, strlen(json), hex, json));
}

static dpg_status read_json(const char *json, dpg_record *r)
{
    dpg_buf bytes;
    dpg_status status;

    memset(r, 0, sizeof *r);
    wrap(json, 1, &bytes);
    status = dpg_record_read(dpg_buf_str(&bytes), r);
    dpg_buf_clear(&bytes);
    return status;
}

static dpg_record full(void)
{
    dpg_record r;
    dpg_access times = {.got_boot_ms = 1234, .got_unix_ms = INT64_C(1795000000123), .life_ms = 900000};

    memset(&r, 0, sizeof r);
    r.origin = dpg_strndup(DPG_LIT("https://api.test:443"));
    r.refresh_token = dpg_strndup(DPG_LIT("rt-\"\\/\x7f~1"));
    r.accounts = dpg_strndup(DPG_LIT("[{\"uuid\":\"a\",\"n\":1.50,\"u\":\"\\u00e9\"}]"));
    r.person = dpg_strndup(DPG_LIT("{\"name\":\"caf\xc3\xa9\"}"));
    snprintf(r.family, sizeof r.family, "0123456789abcdef0123456789abcdef");
    r.generation = 41;
    snprintf(times.boot_id, sizeof times.boot_id, "boot-1");
    CHECK(dpg_record_put_access(&r, DPG_LIT("a"), DPG_LIT("at-a"), &times));
    CHECK(dpg_record_put_access(&r, DPG_LIT("b"), DPG_LIT("at-b"), &times));
    CHECK(dpg_record_rotate(&r, DPG_LIT("rt-2"), 777));
    CHECK(dpg_record_rotate(&r, DPG_LIT("rt-3"), 888));
    r.in_flight = true;
    r.in_flight_unix_ms = 99;
    r.in_flight_id = (INT64_C(1) << 62) - 1;
    r.not_before_unix_ms = 5;
    r.not_before_boot_ms = 6;
    r.not_before_wait_ms = 7;
    snprintf(r.not_before_boot_id, sizeof r.not_before_boot_id, "boot-2");
    snprintf(r.refused, sizeof r.refused, "answer_lost");
    return r;
}

static void same(const dpg_record *a, const dpg_record *b)
{
    CHECK_STR(a->origin, b->origin);
    CHECK_STR(a->family, b->family);
    CHECK_INT(a->generation, b->generation);
    CHECK_STR(a->refresh_token, b->refresh_token);
    CHECK_STR(a->accounts, b->accounts);
    CHECK_STR(a->person, b->person);
    CHECK_INT(a->access_count, b->access_count);
    for (size_t i = 0; i < a->access_count && i < b->access_count; i++) {
        CHECK_STR(a->access[i].account, b->access[i].account);
        CHECK_STR(a->access[i].token, b->access[i].token);
        CHECK_STR(a->access[i].boot_id, b->access[i].boot_id);
        CHECK_INT(a->access[i].got_boot_ms, b->access[i].got_boot_ms);
        CHECK_INT(a->access[i].got_unix_ms, b->access[i].got_unix_ms);
        CHECK_INT(a->access[i].life_ms, b->access[i].life_ms);
    }
    CHECK_INT(a->in_flight, b->in_flight);
    CHECK_INT(a->in_flight_unix_ms, b->in_flight_unix_ms);
    CHECK_INT(a->in_flight_id, b->in_flight_id);
    CHECK_INT(a->not_before_unix_ms, b->not_before_unix_ms);
    CHECK_INT(a->not_before_boot_ms, b->not_before_boot_ms);
    CHECK_INT(a->not_before_wait_ms, b->not_before_wait_ms);
    CHECK_STR(a->not_before_boot_id, b->not_before_boot_id);
    CHECK_INT(a->tombstone, b->tombstone);
    CHECK_STR(a->refused, b->refused);
    CHECK_INT(a->past_count, b->past_count);
    for (size_t i = 0; i < a->past_count && i < b->past_count; i++) {
        CHECK_STR(a->past[i].digest, b->past[i].digest);
        CHECK_INT(a->past[i].generation, b->past[i].generation);
        CHECK_INT(a->past[i].unix_ms, b->past[i].unix_ms);
    }
}

static void write_to(const dpg_record *r, dpg_buf *bytes)
{
    dpg_buf_init_secret(bytes, DPG_RECORD_MAX);
    CHECK(dpg_record_write(r, bytes));
}

TEST("reads again all that it wrote")
{
    dpg_record r = full(), again;
    dpg_buf bytes, twice;
    char family[DPG_FAMILY_SIZE];
    int64_t generation = 0;

    memset(&again, 0, sizeof again);
    write_to(&r, &bytes);
    CHECK(dpg_record_read(dpg_buf_str(&bytes), &again) == DPG_OK);
    same(&again, &r);
    write_to(&again, &twice);
    CHECK_MEM(twice.ptr, twice.len, bytes.ptr, bytes.len);
    CHECK_INT(dpg_record_peek(dpg_buf_str(&bytes), &generation, family), DPG_RECORD_WHOLE);
    CHECK_INT(generation, 43);
    CHECK_STR(family, "0123456789abcdef0123456789abcdef");
    dpg_buf_clear(&bytes);
    dpg_buf_clear(&twice);
    dpg_record_clear(&r);
    dpg_record_clear(&again);
}

TEST("reads a tombstone, which has no token and no family")
{
    static char origin[] = "https://api.test:443";
    dpg_record r = {.origin = origin, .generation = 7, .tombstone = true}, again;
    char family[DPG_FAMILY_SIZE] = "x";
    int64_t generation = 0;
    dpg_buf bytes;

    memset(&again, 0, sizeof again);
    write_to(&r, &bytes);
    CHECK(dpg_record_read(dpg_buf_str(&bytes), &again) == DPG_OK);
    CHECK(again.tombstone && !again.refresh_token);
    CHECK_INT(dpg_record_peek(dpg_buf_str(&bytes), &generation, family), DPG_RECORD_WHOLE);
    CHECK_STR(family, "");
    CHECK_INT(generation, 7);
    dpg_record_clear(&again);
    dpg_buf_clear(&bytes);
}

TEST("calls a record damaged when it is cut anywhere, longer, or changed in any byte")
{
    dpg_record r = full(), out;
    dpg_buf bytes;
    char family[DPG_FAMILY_SIZE];
    int64_t generation;

    write_to(&r, &bytes);
    for (size_t len = 0; len < bytes.len; len++) {
        dpg_str cut = guarded(bytes.ptr, len);

        CHECK_INT(dpg_record_peek(cut, &generation, family), DPG_RECORD_DAMAGED);
        CHECK_INT(dpg_record_read(cut, &out), DPG_E_INVALID);
    }
    for (size_t i = 0; i < bytes.len; i++) {
        for (int bit = 0; bit < 8; bit += 3) {
            bytes.ptr[i] = (char)(bytes.ptr[i] ^ 1 << bit);
            /* the version and the length have digits that make another good one: not of this text */
            if (dpg_record_read(dpg_buf_str(&bytes), &out) != DPG_E_INVALID) CHECK_FAIL("byte %zu, bit %d", i, bit);
            bytes.ptr[i] = (char)(bytes.ptr[i] ^ 1 << bit);
        }
    }
    CHECK(dpg_buf_put(&bytes, "\0", 1));
    CHECK_INT(dpg_record_peek(dpg_buf_str(&bytes), &generation, family), DPG_RECORD_DAMAGED);
    dpg_buf_clear(&bytes);
    dpg_record_clear(&r);
}

TEST("calls a whole record of a later version newer, and one of an earlier damaged")
{
    static const struct {
        int version;
        dpg_record_state state;
    } cases[] = {{2, DPG_RECORD_NEWER}, {99, DPG_RECORD_NEWER}, {0, DPG_RECORD_DAMAGED}};
    char family[DPG_FAMILY_SIZE];
    int64_t generation;
    dpg_record r;
    dpg_buf bytes;

    for (size_t i = 0; i < 3; i++) {
        wrap("{\"what\":\"ever\"}", cases[i].version, &bytes);
        CHECK_INT(dpg_record_peek(dpg_buf_str(&bytes), &generation, family), cases[i].state);
        CHECK_INT(dpg_record_read(dpg_buf_str(&bytes), &r), DPG_E_INVALID);
        bytes.ptr[bytes.len - 1] = 'x';
        CHECK_INT(dpg_record_peek(dpg_buf_str(&bytes), &generation, family), DPG_RECORD_DAMAGED);
        dpg_buf_clear(&bytes);
    }
}

TEST("takes nothing for a record that lacks what it stands on")
{
    static const char *const bad[] = {
        "",
        "null",
        "[]",
        "{}",
        "{\"origin\":\"o\"}",
        "{\"origin\":\"o\",\"family\":\"f\"}",
        "{\"origin\":\"o\",\"refresh_token\":\"t\"}",
        "{\"family\":\"f\",\"refresh_token\":\"t\"}",
        "{\"origin\":1,\"family\":\"f\",\"refresh_token\":\"t\"}",
        "{\"origin\":\"o\",\"family\":\"f\",\"refresh_token\":null}",
        "{\"origin\":\"o\",\"family\":\"\",\"refresh_token\":\"t\"}",
        "{\"origin\":\"o\",\"family\":\"f\",\"refresh_token\":\"t\",\"generation\":-1}",
        "{\"origin\":\"o\",\"family\":\"f\",\"refresh_token\":\"t\",\"generation\":9223372036854775807}",
        "{\"signed_out\":true}",
        "{\"origin\":\"o\",\"family\":\"f\",\"refresh_token\":\"t\"}x",
    };
    dpg_record r;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (read_json(bad[i], &r) != DPG_E_INVALID) CHECK_FAIL("took %s", bad[i]);
    }
}

TEST("reads past what it does not know, and what has another type than it should")
{
    dpg_record r;

    CHECK(
        read_json("{\"origin\":\"o\",\"family\":\"f\",\"refresh_token\":\"t\",\"generation\":3,\"later\":{\"x\":[1]},"
                  "\"accounts\":{},\"person\":[],\"in_flight\":1,\"signed_out\":\"true\",\"refused\":7,"
                  "\"past\":[1,{\"digest\":\"d\",\"generation\":\"2\"}],"
                  "\"access\":[null,{},{\"account\":\"a\"},{\"token\":\"t\"},{\"account\":\"b\",\"token\":\"tb\"},5]}",
                  &r) == DPG_OK);
    CHECK_INT(r.generation, 3);
    CHECK(!r.accounts && !r.person && !r.in_flight && !r.tombstone && !r.refused[0]);
    CHECK_INT(r.past_count, 1);
    CHECK_STR(r.past[0].digest, "d");
    CHECK_INT(r.access_count, 1);
    CHECK_STR(r.access[0].account, "b");
    dpg_record_clear(&r);
}

TEST("reads no time that a sum could overflow with")
{
    dpg_record r;

    CHECK(
        read_json("{\"origin\":\"o\",\"family\":\"f\",\"refresh_token\":\"t\","
                  "\"exchange_not_before_unix_ms\":9223372036854775807,\"access\":[{\"account\":\"a\",\"token\":\"t\","
                  "\"got_boot_ms\":-9223372036854775808,\"got_unix_ms\":9223372036854775807,\"life_ms\":1e300}]}",
                  &r) == DPG_OK);
    CHECK_INT(r.access[0].got_boot_ms, 0);
    CHECK_INT(r.access[0].got_unix_ms, 0);
    CHECK_INT(r.access[0].life_ms, 0);
    CHECK_INT(r.not_before_unix_ms, 0);
    dpg_record_clear(&r);
}

TEST("cuts long names of boots, families and reasons, and no more than six of the past")
{
    dpg_record r;
    char json[4000];
    size_t used;

    snprintf(json, sizeof json,
             "{\"origin\":\"o\",\"family\":\"%0100d\",\"refresh_token\":\"t\",\"refused\":\"%0100d\",\"past\":[", 1, 2);
    for (int i = 0; i < 9; i++) {
        used = strlen(json);
        snprintf(json + used, sizeof json - used, "%s{\"digest\":\"%030d\",\"generation\":%d}", i ? "," : "", i, i);
    }
    strcat(json, "]}");
    CHECK(read_json(json, &r) == DPG_OK);
    CHECK_INT(strlen(r.family), DPG_FAMILY_SIZE - 1);
    CHECK_INT(strlen(r.refused), sizeof r.refused - 1);
    CHECK_INT(r.past_count, DPG_RECORD_PAST);
    CHECK_INT(r.past[5].generation, 5);
    dpg_record_clear(&r);
}

TEST("keeps one token for each account, and lets the oldest go when there are too many")
{
    dpg_record r = full();
    dpg_access times = {.life_ms = 5};
    char account[32];

    CHECK(dpg_record_put_access(&r, DPG_LIT("a"), DPG_LIT("at-new"), &times));
    CHECK_INT(r.access_count, 2);
    CHECK_STR(dpg_record_access(&r, DPG_LIT("a"))->token, "at-new");
    CHECK_INT(dpg_record_access(&r, DPG_LIT("a"))->life_ms, 5);
    CHECK_NULL(dpg_record_access(&r, DPG_LIT("c")));
    CHECK_NULL(dpg_record_access(&r, DPG_LIT("")));
    for (int i = 0; i < 600; i++) {
        snprintf(account, sizeof account, "n%d", i);
        CHECK(dpg_record_put_access(&r, dpg_cstr(account), DPG_LIT("t"), &times));
    }
    CHECK_INT(r.access_count, 512);
    CHECK_NULL(dpg_record_access(&r, DPG_LIT("a")));
    CHECK_NULL(dpg_record_access(&r, DPG_LIT("n87")));
    CHECK(dpg_record_access(&r, DPG_LIT("n88")) && dpg_record_access(&r, DPG_LIT("n599")));
    dpg_record_clear(&r);
}

TEST("remembers the last six refresh tokens by their digest, newest first, and none of them whole")
{
    dpg_record r = full();
    char token[32], digest[17];
    dpg_buf bytes;

    for (int i = 0; i < 9; i++) {
        snprintf(token, sizeof token, "next-%d", i);
        CHECK(dpg_record_rotate(&r, dpg_cstr(token), i));
    }
    CHECK_INT(r.past_count, 6);
    CHECK_INT(r.generation, 52);
    dpg_digest_hex(DPG_LIT("next-7"), digest);
    CHECK_STR(r.past[0].digest, digest);
    CHECK_INT(r.past[0].generation, 51);
    CHECK_INT(r.past[0].unix_ms, 8);
    write_to(&r, &bytes);
    CHECK(strstr(bytes.ptr, "next-8") && !strstr(bytes.ptr, "next-7"));
    dpg_buf_clear(&bytes);
    dpg_record_clear(&r);
}

TEST("copies everything, and shares nothing")
{
    dpg_record r = full(), copy;

    r.access[0].serial = 9;
    memset(&copy, 0, sizeof copy);
    CHECK(dpg_record_copy(&copy, &r));
    same(&copy, &r);
    CHECK_INT((int64_t)copy.access[0].serial, 9);
    CHECK(copy.origin != r.origin && copy.access != r.access && copy.access[0].token != r.access[0].token);
    dpg_record_clear(&r);
    CHECK_STR(copy.access[1].token, "at-b");
    dpg_record_clear(&copy);
    dpg_record_clear(&copy);
}

TEST("says when a record is too long to be written")
{
    dpg_record r = full();
    dpg_buf bytes;
    char *big = malloc(DPG_RECORD_MAX);

    memset(big, ' ', DPG_RECORD_MAX);
    big[0] = '[';
    big[DPG_RECORD_MAX - 200] = ']';
    big[DPG_RECORD_MAX - 199] = '\0';
    dpg_free(r.accounts);
    r.accounts = dpg_strndup(dpg_cstr(big));
    free(big);
    dpg_buf_init_secret(&bytes, DPG_RECORD_MAX);
    CHECK(!dpg_record_write(&r, &bytes));
    dpg_buf_clear(&bytes);
    dpg_record_clear(&r);
}

CHECK_MAIN()
