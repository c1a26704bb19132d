/*
 * A store that the host keeps: what it is asked goes out as a note that owns copies of its bytes, and the answer comes back
 * as a command, both through the engine's queues. Here is also what a holder of a lock is called. Who performs the asks,
 * and when one is given up, stands in flow_credential.c.
 */
#include "engine_internal.h"
#include "os.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define IDENTITY_MAX 4096
#define HOST_SHOWN 40
#define AGAIN_MIN_MS 5
#define AGAIN_MAX_MS 5000 /* a lock is mostly given back long before its lease is over */

typedef struct host_store {
    dpg_store base;
    char who[96]; /* for people, and then random: no other process's or engine's holder has this name */
} host_store;

#define PREFIX "host:" /* of an identity: no host's store is a file */

/* --- asking ------------------------------------------------------------------------------------------------------------- */

typedef struct owned_ask { /* one block: the strings stand behind it */
    dpg_store_asked asked;
    size_t size;
    char bytes[];
} owned_ask;

void dpg_store_asked_free(dpg_store_asked *asked)
{
    owned_ask *block = (owned_ask *)asked;

    if (block) dpg_free_secret(block, block->size);
}

static dpg_str keep(char **at, dpg_str s)
{
    dpg_str kept = dpg_str_of(*at, s.len);

    if (s.len) memcpy(*at, s.ptr, s.len);
    *at += s.len;
    return kept;
}

/*
 * Two credentials can have this store (base URLs that differ), and each is a holder of its own. Of a lease the last number
 * is one higher after an unlock: one that comes late frees no later lock.
 */
static void name_owner(const host_store *h, const dpg_credential *from, char *out, size_t size)
{
    snprintf(out, size, "%s-%" PRIu64 "-%" PRIu64, h->who, from->number, from->lock_period);
}

static dpg_store_asked *copy_request(const host_store *h, const dpg_store_request *r)
{
    char owner[sizeof h->who + 48], *at;
    dpg_str identity = dpg_cstr(h->base.identity + strlen(PREFIX));
    size_t size;
    owned_ask *block;

    name_owner(h, r->from, owner, sizeof owner);
    size = sizeof *block + identity.len + strlen(owner) + r->bytes.len + r->expected.len;
    block = dpg_calloc(1, size);
    if (!block) return NULL;
    block->size = size;
    block->asked.ask = r->ask;
    block->asked.op = r->op;
    block->asked.ttl_ms = r->ttl_ms;
    block->asked.had = r->had;
    block->asked.reserve = r->reserve;
    at = block->bytes;
    block->asked.identity = keep(&at, identity);
    block->asked.owner = keep(&at, dpg_cstr(owner));
    block->asked.bytes = keep(&at, r->bytes);
    block->asked.expected = keep(&at, r->expected);
    return &block->asked;
}

static bool host_ask(dpg_store *store, const dpg_store_request *request, dpg_store_reply *reply)
{
    dpg_credential *from = request->from;
    dpg_outgoing *out = dpg_calloc(1, sizeof *out);
    dpg_store_asked *asked;

    if (from->lock_given_back && request->op == DPG_STORE_LOCK && store->lease) from->lock_period++;
    asked = out ? copy_request((const host_store *)store, request) : NULL;
    if (!asked) {
        dpg_free(out);
        dpg_fail_nomem(&reply->error);
        reply->error.kind = DPG_KIND_STORAGE;
        reply->outcome = DPG_STORE_FAILED;
        return true;
    }
    from->lock_given_back = request->op == DPG_STORE_UNLOCK;
    out->note.type = DPG_NOTE_STORE;
    out->note.asked = asked;
    out->from = from;
    dpg_engine_put_ask(from->engine, out);
    return false;
}

/* --- answering ---------------------------------------------------------------------------------------------------------- */

/* What a store says, as it fits into a message: one line. */
static void put_line(char *out, size_t size, dpg_str text)
{
    size_t n = text.len < size - 1 ? text.len : size - 1;

    while (n < text.len && n && ((unsigned char)text.ptr[n] & 0xc0) == 0x80) n--; /* a whole character */
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text.ptr[i];

        out[i] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    out[n] = '\0';
}

/* "process 4711 on box, 0123…-7" is for people up to the comma. */
static void put_holder(char *out, size_t size, dpg_str text)
{
    char *tail;

    put_line(out, size, text);
    tail = strrchr(out, ',');
    if (tail && strncmp(out, "process ", 8) == 0) *tail = '\0';
}

static void read_answer(const dpg_store_answer *answer, dpg_store_reply *reply)
{
    char code[sizeof reply->error.code], message[sizeof reply->error.message];

    memset(reply, 0, sizeof *reply);
    reply->error.retry_after_ms = -1;
    reply->outcome = answer->outcome;
    dpg_buf_init_secret(&reply->bytes, DPG_RECORD_MAX);
    switch (answer->outcome) {
    case DPG_STORE_DONE:
        reply->found = answer->found;
        if (!answer->found || dpg_buf_put_str(&reply->bytes, answer->bytes)) return;
        reply->outcome = DPG_STORE_FAILED;
        if (reply->bytes.failed == DPG_BUF_NO_MEMORY) dpg_fail_nomem(&reply->error);
        else
            dpg_fail(
                &reply->error, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_damaged",
                "what is stored is no record of dpg's: it is longer than one can be (%zu bytes); use another place",
                answer->bytes.len);
        dpg_buf_clear(&reply->bytes);
        return;
    case DPG_STORE_BUSY:
        reply->again_ms = answer->again_ms < AGAIN_MIN_MS   ? AGAIN_MIN_MS
                          : answer->again_ms > AGAIN_MAX_MS ? AGAIN_MAX_MS
                                                            : answer->again_ms;
        put_holder(reply->holder, sizeof reply->holder, answer->holder);
        return;
    case DPG_STORE_CHANGED: return;
    default: break;
    }
    reply->outcome = DPG_STORE_FAILED;
    reply->unsure = true; /* it may have been done, and the answer have been lost behind the host */
    put_line(code, sizeof code, answer->code.len ? answer->code : DPG_LIT("store_failed"));
    put_line(message, sizeof message, answer->message.len ? answer->message : DPG_LIT("the store failed"));
    dpg_fail(&reply->error, DPG_E_SYSTEM, DPG_KIND_STORAGE, code, "%s", message);
}

dpg_status dpg_engine_answer(dpg_engine *engine, uint64_t ask, const dpg_store_answer *answer, dpg_error *err)
{
    dpg_store_reply reply;

    if (!dpg_engine_is_mine(engine)) return dpg_engine_closed(err);
    read_answer(answer, &reply);
    if (reply.error.status == DPG_E_NOMEM) return dpg_fail_nomem(err);
    dpg_engine_store_answer(engine, ask, &reply);
    return DPG_OK;
}

/* --- the store ---------------------------------------------------------------------------------------------------------- */

static void host_free(dpg_store *store)
{
    dpg_free(store->identity);
    dpg_free(store);
}

dpg_status dpg_store_host_new(dpg_str identity, bool lease, dpg_store **out, dpg_error *err)
{
    char text[IDENTITY_MAX + sizeof PREFIX], host[HOST_SHOWN];
    host_store *h;
    uint64_t random[2];
    dpg_status status;

    if (!identity.len || identity.len > IDENTITY_MAX || memchr(identity.ptr, '\0', identity.len))
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "store_identity",
                        "a store's identity is empty, holds NUL or is longer than %d bytes", IDENTITY_MAX);
    if ((status = dpg_os_random(random, sizeof random, err)) != DPG_OK) return status;
    snprintf(text, sizeof text, PREFIX "%.*s", (int)identity.len, identity.ptr);
    dpg_os_host(host, sizeof host);
    h = dpg_calloc(1, sizeof *h);
    if (!h || !(h->base.identity = dpg_strndup(dpg_cstr(text)))) {
        dpg_free(h);
        return dpg_fail_nomem(err);
    }
    snprintf(h->who, sizeof h->who, "process %" PRId64 "%s%s, %016" PRIx64 "%016" PRIx64, dpg_os_pid(),
             host[0] ? " on " : "", host, random[0], random[1]);
    atomic_init(&h->base.refs, 1);
    h->base.lease = lease;
    h->base.hosted = true;
    h->base.ask = host_ask;
    h->base.free = host_free;
    *out = &h->base;
    return DPG_OK;
}
