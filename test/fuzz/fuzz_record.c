/*
 * Any bytes as a record; and any bytes as the JSON inside one whose head is right, for a fuzzer finds no SHA-256. What is
 * read is written again and must read the same; and it must live through what the deciders do with it.
 */
#include "must.h"
#include "record.h"

#include <string.h>

static void rotate(dpg_record *r)
{
    dpg_access times = {.life_ms = 1};
    size_t had = r->past_count;

    MUST(dpg_record_put_access(r, DPG_LIT("account"), DPG_LIT("token"), &times));
    MUST(dpg_record_access(r, DPG_LIT("account")));
    MUST(dpg_record_rotate(r, DPG_LIT("next"), 5));
    MUST(r->past_count >= had && r->past_count <= DPG_RECORD_PAST);
    for (size_t i = 0; i < r->access_count; i++) MUST(r->access[i].got_boot_ms + r->access[i].life_ms != INT64_MAX);
}

static void check(dpg_str bytes, bool mine)
{
    dpg_record r, again, copy;
    dpg_record_state state;
    dpg_status status;
    dpg_buf first, second;
    char family[DPG_FAMILY_SIZE];
    int64_t generation = -1;

    memset(&r, 0, sizeof r);
    memset(&again, 0, sizeof again);
    memset(&copy, 0, sizeof copy);
    state = dpg_record_peek(bytes, &generation, family);
    status = dpg_record_read(bytes, &r);
    MUST((state == DPG_RECORD_WHOLE) == (status == DPG_OK));
    MUST(!mine || state != DPG_RECORD_NEWER);
    if (status != DPG_OK) return;
    MUST(generation == r.generation && strcmp(family, r.family) == 0);
    MUST(r.origin && r.generation >= 0 && (r.tombstone || (r.refresh_token && r.family[0])));
    dpg_buf_init_secret(&first, DPG_RECORD_MAX);
    dpg_buf_init_secret(&second, DPG_RECORD_MAX);
    if (dpg_record_write(&r, &first)) {
        MUST(dpg_record_read(dpg_buf_str(&first), &again) == DPG_OK);
        MUST(dpg_record_write(&again, &second));
        MUST(dpg_str_eq(dpg_buf_str(&first), dpg_buf_str(&second)));
    }
    MUST(dpg_record_copy(&copy, &r));
    rotate(&copy);
    dpg_buf_clear(&first);
    dpg_buf_clear(&second);
    dpg_record_clear(&r);
    dpg_record_clear(&again);
    dpg_record_clear(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t digest[32];
    dpg_buf whole;

    check(dpg_str_of((const char *)data, size), false);
    dpg_sha256(data, size, digest);
    dpg_buf_init(&whole, (size_t)2 << 20);
    dpg_buf_printf(&whole, "dpg-record 1 %zu ", size);
    for (int i = 0; i < 32; i++) dpg_buf_printf(&whole, "%02x", digest[i]);
    dpg_buf_puts(&whole, "\n");
    MUST(dpg_buf_put(&whole, data, size));
    check(dpg_buf_str(&whole), true);
    dpg_buf_clear(&whole);
    return 0;
}
