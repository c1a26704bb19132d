/*
 * A person's record in memory, for one process: four workers that each present the one token that they were born with
 * are one spent token, so in a child made by fork every ask is refused. Here too: the counting of references that all
 * stores share.
 */
#include "drivers.h"
#include "os.h"

#include <stdio.h>
#include <string.h>

#define AGAIN_MS 20
#define ROOM_MIN 16384

/* --- all stores --------------------------------------------------------------------------------------------------- */

dpg_store *dpg_store_ref(dpg_store *store)
{
    atomic_fetch_add(&store->refs, 1);
    return store;
}

void dpg_store_free(dpg_store *store)
{
    dpg_os_monitor *monitor;

    if (!store || atomic_fetch_sub(&store->refs, 1) != 1) return;
    monitor = store->monitor;
    store->free(store);
    dpg_os_monitor_free(monitor);
}

bool dpg_store_ask(dpg_store *store, const dpg_store_request *request, dpg_store_reply *reply)
{
    bool now;

    if (!store->monitor || store->process != dpg_os_process()) return store->ask(store, request, reply);
    dpg_os_monitor_lock(store->monitor);
    now = store->ask(store, request, reply);
    dpg_os_monitor_unlock(store->monitor);
    return now;
}

/* --- this one ----------------------------------------------------------------------------------------------------- */

typedef struct room { /* a piece of memory of our own, wiped when freed */
    char *ptr;
    size_t len, cap;
} room;

typedef struct memory_store {
    dpg_store base;
    bool locked, found;
    room record;
    room spare; /* made by a SAVE with `reserve`, so that the next one can't fail for memory */
} memory_store;

static void room_clear(room *r)
{
    dpg_free_secret(r->ptr, r->cap);
    memset(r, 0, sizeof *r);
}

static bool room_make(room *r, size_t cap)
{
    memset(r, 0, sizeof *r);
    r->ptr = dpg_malloc(cap);
    if (!r->ptr) return false;
    r->cap = cap ? cap : 1;
    return true;
}

static void room_fill(room *r, dpg_str bytes)
{
    if (bytes.len) memcpy(r->ptr, bytes.ptr, bytes.len);
    r->len = bytes.len;
}

static void refuse(dpg_store_reply *reply, dpg_kind kind, const char *code, const char *message)
{
    dpg_fail(&reply->error, kind == DPG_KIND_USAGE ? DPG_E_INVALID : DPG_E_SYSTEM, kind, code, "%s", message);
    reply->outcome = DPG_STORE_FAILED;
}

static void no_memory(dpg_store_reply *reply)
{
    dpg_fail_nomem(&reply->error);
    reply->error.kind = DPG_KIND_STORAGE;
    reply->outcome = DPG_STORE_FAILED;
}

static void load(memory_store *m, dpg_store_reply *reply)
{
    dpg_buf_init_secret(&reply->bytes, m->record.len);
    if (m->found && !dpg_buf_put(&reply->bytes, m->record.ptr, m->record.len)) {
        dpg_buf_clear(&reply->bytes);
        no_memory(reply);
        return;
    }
    reply->found = m->found;
}

static void save(memory_store *m, const dpg_store_request *request, dpg_store_reply *reply)
{
    dpg_str stored = dpg_str_of(m->record.ptr, m->record.len);
    room fresh = {0}, spare = {0};

    if (!m->locked) {
        refuse(reply, DPG_KIND_STORAGE, "store_not_locked", "a record is saved only under the store's lock");
        return;
    }
    if (m->found != request->had || (m->found && !dpg_str_eq_secret(stored, request->expected))) {
        reply->outcome = DPG_STORE_CHANGED;
        return;
    }
    if (request->reserve) {
        size_t need = request->bytes.len > ROOM_MIN / 2 ? request->bytes.len * 2 : ROOM_MIN;

        if (!room_make(&spare, need)) goto fail;
    }
    if (!request->reserve && m->spare.ptr && m->spare.cap >= request->bytes.len) {
        fresh = m->spare;
        memset(&m->spare, 0, sizeof m->spare);
    } else if (!room_make(&fresh, request->bytes.len)) {
        goto fail;
    }
    room_fill(&fresh, request->bytes);
    room_clear(&m->record);
    room_clear(&m->spare);
    m->record = fresh;
    m->spare = spare;
    m->found = true;
    return;

fail:
    room_clear(&spare);
    no_memory(reply);
}

static bool memory_ask(dpg_store *store, const dpg_store_request *request, dpg_store_reply *reply)
{
    memory_store *m = (memory_store *)store;

    reply->outcome = DPG_STORE_DONE;
    if (store->process != dpg_os_process()) {
        refuse(reply, DPG_KIND_USAGE, "store_other_process",
               "this store in memory belongs to the process that made it: processes that share a session need a "
               "store that they share, such as a file store");
        return true;
    }
    switch (request->op) {
    case DPG_STORE_LOCK:
        if (m->locked) {
            reply->outcome = DPG_STORE_BUSY;
            reply->again_ms = AGAIN_MS;
            snprintf(reply->holder, sizeof reply->holder, "another user of this store in this process");
        }
        m->locked = true;
        break;
    case DPG_STORE_LOAD: load(m, reply); break;
    case DPG_STORE_SAVE: save(m, request, reply); break;
    case DPG_STORE_UNLOCK: m->locked = false; break;
    }
    return true;
}

static void memory_free(dpg_store *store)
{
    memory_store *m = (memory_store *)store;

    room_clear(&m->record);
    room_clear(&m->spare);
    dpg_free(m->base.identity);
    dpg_free(m);
}

dpg_status dpg_store_memory_new(dpg_store **out, dpg_error *err)
{
    char identity[40];
    memory_store *m = dpg_calloc(1, sizeof *m);

    if (!m) return dpg_fail_nomem(err);
    atomic_init(&m->base.refs, 1);
    m->base.ask = memory_ask;
    m->base.free = memory_free;
    m->base.process = dpg_os_process();
    snprintf(identity, sizeof identity, "memory:%p", (void *)m);
    m->base.identity = dpg_strndup(dpg_cstr(identity));
    m->base.monitor = dpg_os_monitor_new();
    if (!m->base.identity || !m->base.monitor) {
        dpg_store_free(&m->base);
        return dpg_fail_nomem(err);
    }
    *out = &m->base;
    return DPG_OK;
}
