/*
 * The 1st, 2nd, 3rd … allocation of a store's work fails: it is told as that, nothing is lost or taken for damage, and
 * the next try goes well. Built with DPG_TORTURE.
 */
#include "check.h"
#include "drivers.h"
#include "files.h"
#include "store_kit.h"

static char *scratch;

/* A rotation on a new store. The first refusal, or DONE. Two refusals may be nobody's fault but the allocation's. */
static dpg_store_reply rotate(dpg_store *store, const dpg_buf *one, const dpg_buf *marked, const dpg_buf *two)
{
    dpg_store_reply reply = kit_ask(store, DPG_STORE_LOCK);

    if (reply.outcome == DPG_STORE_DONE) reply = kit_ask(store, DPG_STORE_LOAD);
    if (reply.outcome != DPG_STORE_DONE) return reply;
    CHECK(reply.found && kit_same(&reply.bytes, one));
    dpg_buf_clear(&reply.bytes);
    reply = kit_save(store, marked, one, true);
    if (reply.outcome != DPG_STORE_DONE) return reply;
    CHECK_INT(reply.outcome, DPG_STORE_DONE);
    reply = kit_save(store, two, marked, false);
    return reply;
}

static void torture(bool in_file)
{
    dpg_buf one = kit_record(KIT_A, 1, false), marked = kit_record(KIT_A, 1, true), two = kit_record(KIT_A, 2, false);
    bool failed = true;
    int failures = 0;

    for (uint64_t n = 1; failed && check_faults < 5; n++) {
        dpg_store *store = NULL;
        dpg_store_reply reply = {0};
        dpg_error err = DPG_ERROR_INIT;
        dpg_status status;
        const char *path;

        scratch = files_scratch_in_memory();
        path = files_at(scratch, "session");
        if (in_file) {
            CHECK(files_put(path, one.ptr, one.len, 0600));
        } else {
            REQUIRE(dpg_store_memory_new(&store, NULL) == DPG_OK);
            kit_lock(store);
            kit_save(store, &one, NULL, false);
            kit_unlock(store);
        }
        dpg_alloc_fail(n);
        if (in_file) {
            status = dpg_store_file_new(dpg_cstr(path), &store, &err);
            if (status != DPG_OK) {
                CHECK_INT(status, DPG_E_NOMEM);
                CHECK_NULL(store);
            }
        } else {
            dpg_store *another = NULL;

            status = dpg_store_memory_new(&another, &err);
            if (status != DPG_OK) CHECK_INT(status, DPG_E_NOMEM);
            dpg_store_free(another);
            status = DPG_OK;
        }
        if (status == DPG_OK) reply = rotate(store, &one, &marked, &two);
        failed = dpg_alloc_failed();
        dpg_alloc_fail(0);
        failures += failed;
        if (status == DPG_OK && reply.outcome != DPG_STORE_DONE) {
            CHECK_INT(reply.outcome, DPG_STORE_FAILED);
            CHECK_INT(reply.error.kind, DPG_KIND_STORAGE);
            CHECK_STR(reply.error.code, "out_of_memory");
        }
        if (status == DPG_OK) {
            dpg_store_reply now = kit_ask(store, DPG_STORE_LOAD);

            CHECK(now.found &&
                  (kit_same(&now.bytes, &one) || kit_same(&now.bytes, &marked) || kit_same(&now.bytes, &two)));
            if (reply.outcome == DPG_STORE_DONE) CHECK(kit_same(&now.bytes, &two));
            dpg_buf_clear(&now.bytes);
        }
        CHECK_INT(files_count(scratch, ".damaged-"), 0);
        dpg_store_free(store);
        files_remove(scratch);
    }
    CHECK(failures > 3);
    dpg_buf_clear(&one);
    dpg_buf_clear(&marked);
    dpg_buf_clear(&two);
}

TEST("memory: a failed allocation is told, and nothing is lost")
{
    torture(false);
}

TEST("file: a failed allocation is told, and a record is never taken for damaged by it")
{
    torture(true);
}

CHECK_MAIN()
