/*
 * The JSON reader when memory fails: each allocation in turn, small and large documents, and nothing leaks.
 */
#include "json.h"
#include "check.h"

/* Reads and unescapes `text` with allocation 1, 2, 3 … failing, until none does any more; returns how many there are. */
static int read_failing(dpg_str text)
{
    int n = 0;

    for (;;) {
        dpg_json json;
        dpg_buf out;
        dpg_status status;
        bool fine = true;

        dpg_alloc_fail((uint64_t)++n);
        dpg_buf_init(&out, 1000000);
        status = dpg_json_read(&json, text);
        if (status == DPG_OK) {
            for (uint32_t i = 0; i < json.count; i++)
                if (json.values[i].type == DPG_JSON_STRING) fine = dpg_json_unescape(&json, i, &out) && fine;
        } else {
            CHECK_INT(status, DPG_E_NOMEM);
            CHECK_STR(json.error, "out of memory");
            CHECK_NULL(json.values);
        }
        CHECK(fine == (out.failed == DPG_BUF_FINE));
        if (dpg_alloc_failed()) CHECK(status == DPG_E_NOMEM || out.failed == DPG_BUF_NO_MEMORY);
        else CHECK(status == DPG_OK && fine);
        dpg_json_clear(&json);
        dpg_buf_clear(&out);
        if (!dpg_alloc_failed()) break;
        if (n > 1000) {
            CHECK_FAIL("it does not end");
            break;
        }
    }
    dpg_alloc_fail(0);
    return n - 1;
}

TEST("a small document fails cleanly at each allocation")
{
    CHECK(read_failing(DPG_LIT("{\"refresh_token\":\"a\\u0041\",\"expires_in\":900}")) >= 2);
}

TEST("a document that grows its tape fails cleanly at each allocation")
{
    static char text[20001];

    for (size_t i = 0; i < 10000; i++) text[2 * i] = i ? ',' : '[', text[2 * i + 1] = '1';
    text[20000] = ']';
    CHECK(read_failing(dpg_str_of(text, sizeof text)) >= 3);
}

CHECK_MAIN()
