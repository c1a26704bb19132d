/*
 * Credentials as their host has them: made, counted, looked at, given back. What they do is flow_credential.c's.
 */
#include "engine_internal.h"
#include "headers.h"

#include <stdio.h>
#include <string.h>

static void snapshot_free(dpg_snapshot *s)
{
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1) return;
    dpg_free(s->accounts);
    dpg_free(s->person);
    dpg_free(s);
}

/* --- references -------------------------------------------------------------------------------------------------------- */

void dpg_credential_destroy(dpg_credential *c)
{
    dpg_list_remove(&c->walking);
    if (c->person) {
        dpg_cred_clear(&c->cred);
        dpg_store_free(c->store);
    }
    dpg_buf_clear(&c->reply.bytes);
    dpg_buf_clear(&c->exchange_url);
    dpg_buf_clear(&c->exchange_body);
    snapshot_free(c->snapshot);
    dpg_free_secret((void *)(uintptr_t)c->bearer.ptr, c->bearer.len);
    dpg_free(c->base_url);
    dpg_free(c);
}

bool dpg_credential_is_idle(const dpg_credential *c)
{
    return !c->pumping && (!c->person || c->cred.state == DPG_CRED_IDLE || c->cred.state == DPG_CRED_PAUSED);
}

void dpg_credential_free_unused(dpg_credential *c)
{
    dpg_engine *e = c->engine;
    bool used;

    if (!dpg_credential_is_idle(c)) return;
    dpg_engine_lock(e);
    used = c->refs > 0;
    if (!used) { /* from here on no host finds it */
        dpg_list_remove(&c->link);
        e->credential_count--;
    }
    dpg_engine_unlock(e);
    if (used) return;
    if (c->person) {
        dpg_timer_set(&e->timers, &c->timer, INT64_MAX);
        dpg_timer_set(&e->timers, &c->exchange_timer, INT64_MAX);
        dpg_timer_set(&e->timers, &c->ask_timer, INT64_MAX);
    }
    dpg_credential_destroy(c);
}

static bool give_back(dpg_credential *c)
{
    dpg_engine *e = c->engine;
    bool last;

    dpg_engine_lock(e);
    last = --c->refs == 0;
    if (last && e->threaded) e->unused = true;
    if (last) dpg_engine_unlock_and_wake(e);
    else dpg_engine_unlock(e);
    return last;
}

void dpg_credential_let_go(dpg_credential *c)
{
    if (c && give_back(c)) dpg_credential_free_unused(c);
}

void dpg_credential_free(dpg_credential *c)
{
    if (!c || !dpg_engine_is_mine(c->engine)) return; /* in a child made by fork: its memory goes with the engine's */
    if (c->engine->threaded) give_back(c);            /* its owner frees it */
    else dpg_credential_let_go(c);
}

/* --- what can be said of one ------------------------------------------------------------------------------------------------ */

static dpg_snapshot *take_snapshot(const dpg_credential *c)
{
    const dpg_cred *cred = &c->cred;
    dpg_snapshot *s = dpg_calloc(1, sizeof *s);

    if (!s) return NULL;
    atomic_init(&s->refs, 1);
    if ((cred->record.accounts && !(s->accounts = dpg_strndup(dpg_cstr(cred->record.accounts)))) ||
        (cred->record.person && !(s->person = dpg_strndup(dpg_cstr(cred->record.person))))) {
        snapshot_free(s);
        return NULL;
    }
    s->state = "ready";
    if (cred->state != DPG_CRED_IDLE) s->state = dpg_cred_state_name(cred->state);
    else if (!dpg_cred_has_session(cred)) s->state = cred->reason[0] ? "sign_in" : "empty";
    snprintf(s->reason, sizeof s->reason, "%s", cred->reason);
    s->generation = cred->record.generation;
    s->rotations = cred->rotations;
    return s;
}

void dpg_credential_show(dpg_credential *c)
{
    dpg_snapshot *before, *s = NULL;

    if (!c->moved) return;
    for (int i = 0; i < 3 && !s; i++) s = take_snapshot(c); /* a moment without memory must not hide what is so */
    if (!s) return;
    c->moved = false;
    dpg_engine_lock(c->engine);
    before = c->snapshot;
    c->snapshot = s;
    dpg_engine_unlock(c->engine);
    snapshot_free(before);
}

dpg_credential_info dpg_credential_get_info(const dpg_credential *c)
{
    dpg_credential_info info = {.state = "ready", .reason = "", .accounts_json = "", .person_json = ""};
    dpg_snapshot *s;

    info.number = c->number;
    info.person = c->person;
    if (!c->person || !dpg_engine_is_mine(c->engine)) return info;
    dpg_engine_lock(c->engine);
    s = c->snapshot;
    atomic_fetch_add(&s->refs, 1);
    dpg_engine_unlock(c->engine);
    info.owner = s;
    info.state = s->state;
    info.reason = s->reason;
    info.generation = s->generation;
    info.rotations = s->rotations;
    if (s->accounts) info.accounts_json = s->accounts;
    if (s->person) info.person_json = s->person;
    return info;
}

void dpg_credential_info_clear(dpg_credential_info *info)
{
    snapshot_free(info->owner);
    memset(info, 0, sizeof *info);
}

/* --- making them ---------------------------------------------------------------------------------------------------------------- */

/* The base URL, checked and copied. */
static dpg_status new_credential(dpg_engine *engine, dpg_str base_url, dpg_credential **out, dpg_error *err)
{
    dpg_credential *c;
    dpg_url url;

    if (!dpg_engine_is_mine(engine)) return dpg_engine_closed(err);
    if (!dpg_url_read(base_url, &url) || (base_url.len && base_url.ptr[base_url.len - 1] == '/'))
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "base_url",
                        "base_url must be an absolute http(s) URL without a slash at its end, such as https://host/v1");
    if (!url.https && !url.loopback)
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "insecure_url",
                        "base_url is plain http to another machine: tokens go over https only (http is for 127.0.0.1)");
    c = dpg_calloc(1, sizeof *c);
    if (!c || !(c->base_url = dpg_strndup(base_url))) {
        dpg_free(c);
        return dpg_fail_nomem(err);
    }
    c->refs = 1;
    c->engine = engine;
    memcpy(c->origin, url.origin, sizeof c->origin);
    c->site_len = base_url.len - url.target.len;
    c->https = url.https;
    c->loopback = url.loopback;
    dpg_buf_init(&c->exchange_url, 8192);
    dpg_buf_init_secret(&c->exchange_body, 256 * 1024);
    *out = c;
    return DPG_OK;
}

/* Into the engine's list, with a number. */
static dpg_status hand_over(dpg_credential *c, dpg_credential **out, dpg_error *err)
{
    dpg_engine *e = c->engine;
    bool closed;

    dpg_engine_lock(e);
    closed = e->closed;
    if (!closed) {
        c->number = ++e->last_credential;
        dpg_list_push(&e->credentials, &c->link);
        e->credential_count++;
    }
    dpg_engine_unlock(e);
    if (closed) {
        dpg_credential_destroy(c);
        return dpg_engine_closed(err);
    }
    *out = c;
    return DPG_OK;
}

static bool make_bearer(dpg_credential *c, dpg_str token)
{
    dpg_str scheme = DPG_LIT("Bearer ");
    char *text = dpg_malloc(scheme.len + token.len);

    if (!text) return false;
    memcpy(text, scheme.ptr, scheme.len);
    memcpy(text + scheme.len, token.ptr, token.len);
    c->bearer = dpg_str_of(text, scheme.len + token.len);
    return true;
}

dpg_status dpg_credential_service(dpg_engine *engine, dpg_str base_url, dpg_str token, dpg_credential **out,
                                  dpg_error *err)
{
    dpg_credential *c;
    dpg_status status;

    if (!dpg_wire_token_ok(token))
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "token",
                        "this is no service token: 1 to 16384 visible ASCII characters expected, without blanks");
    if ((status = new_credential(engine, base_url, &c, err)) != DPG_OK) return status;
    if (!make_bearer(c, token)) {
        dpg_credential_destroy(c);
        return dpg_fail_nomem(err);
    }
    return hand_over(c, out, err);
}

/* A reference to the one that is there already; NULL: there is none. */
static dpg_credential *find_person(dpg_engine *engine, dpg_str base_url, const dpg_store *store)
{
    dpg_credential *found = NULL;

    if (!dpg_engine_is_mine(engine)) return NULL;
    dpg_engine_lock(engine);
    for (dpg_list *node = engine->credentials.next; node != &engine->credentials && !found; node = node->next) {
        dpg_credential *c = DPG_LIST_ITEM(node, dpg_credential, link);

        if (c->person && dpg_str_eq(dpg_cstr(c->base_url), base_url) &&
            strcmp(c->store->identity, store->identity) == 0)
            found = c;
    }
    if (found) found->refs++;
    dpg_engine_unlock(engine);
    return found;
}

dpg_status dpg_credential_person(dpg_engine *engine, dpg_str base_url, dpg_store *store,
                                 const dpg_person_options *options, dpg_credential **out, dpg_error *err)
{
    dpg_credential *c = find_person(engine, base_url, store);
    dpg_status status;

    if (c) {
        *out = c;
        return DPG_OK;
    }
    if ((status = new_credential(engine, base_url, &c, err)) != DPG_OK) return status;
    if (!dpg_wire_exchange_url(base_url, &c->exchange_url) ||
        !dpg_cred_init(&c->cred, dpg_cstr(c->origin), options && options->no_replay) ||
        !(c->snapshot = take_snapshot(c))) {
        dpg_cred_clear(&c->cred);
        dpg_credential_destroy(c);
        return dpg_fail_nomem(err);
    }
    c->person = true;
    c->store = dpg_store_ref(store);
    if (store->lease) c->cred.lease_ms = DPG_LEASE_MS;
    c->timer.at_boot_ms = c->exchange_timer.at_boot_ms = c->ask_timer.at_boot_ms = INT64_MAX;
    c->timer.owner = c->exchange_timer.owner = c->ask_timer.owner = c;
    c->timer.fire = dpg_credential_due;
    c->exchange_timer.fire = dpg_credential_exchange_late;
    c->ask_timer.fire = dpg_credential_store_late;
    return hand_over(c, out, err);
}
