/*
 * The record in hand, and the next one: what of a loaded record is news, and what is to be saved for which purpose. A part
 * of the credential decider: pure, and no state of the walk is changed here.
 */
#include "credential_internal.h"

#include <stdio.h>
#include <string.h>

/* Take the place of what we know; the same token keeps its serial, so that a 401 to it is remembered. */
void dpg_cred_replace_record(dpg_cred *c, dpg_record *r)
{
    for (size_t i = 0; i < r->access_count; i++) {
        dpg_access *a = &r->access[i], *old = dpg_record_access(&c->record, dpg_cstr(a->account));

        if (old && dpg_str_eq_secret(dpg_cstr(old->token), dpg_cstr(a->token))) a->serial = old->serial;
        else a->serial = ++c->last_serial;
    }
    dpg_record_clear(&c->record);
    c->record = *r;
    memset(r, 0, sizeof *r);
    if (c->record.tombstone)
        snprintf(c->reason, sizeof c->reason, "%s", c->record.generation ? "signed_out" : "no_session");
    else snprintf(c->reason, sizeof c->reason, "%s", c->record.refused);
}

/* The same generation again: what we learned, and could not write down, still holds. */
static void keep_what_we_know(const dpg_cred *c, dpg_record *r)
{
    const dpg_record *ours = &c->record;

    if (ours->refused[0]) memcpy(r->refused, ours->refused, sizeof r->refused);
    if (r->in_flight && !ours->in_flight && r->in_flight_id == ours->in_flight_id)
        r->in_flight = false; /* our own mark */
    if (ours->not_before_unix_ms && (!r->not_before_unix_ms || ours->not_before_unix_ms == r->not_before_unix_ms ||
                                     ours->not_before_boot_ms > r->not_before_boot_ms)) {
        r->not_before_unix_ms = ours->not_before_unix_ms;
        r->not_before_boot_ms = ours->not_before_boot_ms;
        r->not_before_wait_ms = ours->not_before_wait_ms;
        memcpy(r->not_before_boot_id, ours->not_before_boot_id, sizeof r->not_before_boot_id);
    }
}

/* Does the refresh token of `old` stand among those that `r` has spent? Then `r` is newer, whatever they count. */
bool dpg_cred_comes_after(const dpg_record *r, const dpg_record *old)
{
    char digest[17];

    if (!r->past_count || !old->refresh_token) return false;
    dpg_digest_hex(dpg_cstr(old->refresh_token), digest);
    for (size_t i = 0; i < r->past_count; i++)
        if (strcmp(r->past[i].digest, digest) == 0) return true;
    return false;
}

/* A sibling's record, or our own again: what of it is news? Takes it. */
void dpg_cred_ingest(dpg_cred *c, dpg_record *r, const dpg_moment *now)
{
    bool had = c->record.refresh_token != NULL, same = strcmp(r->family, c->record.family) == 0;
    int64_t before = c->record.generation;

    /* an older backup: ours is newer, and goes over it */
    if (!r->tombstone && had && same && r->generation < before && !dpg_cred_comes_after(r, &c->record)) {
        dpg_record_clear(r);
        return;
    }
    dpg_cred_normalise(r, now);
    if (!r->tombstone && had && same && r->generation == before) keep_what_we_know(c, r);
    dpg_cred_replace_record(c, r);
    if (had && c->record.tombstone) dpg_cred_say(c, DPG_EVENT_SIGNED_OUT, c->reason, "");
    else if (had && (!same || c->record.generation > before)) dpg_cred_say(c, DPG_EVENT_ADOPTED, "", "");
}

void dpg_cred_write_next(dpg_cred *c, const dpg_record *r)
{
    dpg_buf_clear(&c->next_bytes);
    c->written = dpg_record_write(r, &c->next_bytes);
}

static bool build_successor(dpg_cred *c, const dpg_moment *now)
{
    const dpg_exchange *x = &c->answer;
    dpg_access times = {.got_boot_ms = x->begun_boot_ms, .got_unix_ms = x->begun_unix_ms, .life_ms = x->life_ms};
    dpg_str successor = dpg_buf_str(&x->refresh_token);

    if (!dpg_record_copy(&c->next, &c->record)) return false;
    if (successor.len == 0 || dpg_str_eq_secret(successor, dpg_cstr(c->record.refresh_token)))
        c->next.generation++; /* not rotated, but siblings must see that there is news */
    else if (!dpg_record_rotate(&c->next, successor, x->begun_unix_ms)) return false;
    snprintf(times.boot_id, sizeof times.boot_id, "%s", now->boot_id);
    c->next.in_flight = false;
    c->next.in_flight_unix_ms = c->next.not_before_unix_ms = 0;
    return dpg_record_put_access(&c->next, dpg_cstr(c->exchange_account), dpg_buf_str(&x->access_token), &times);
}

static bool build_adopted(dpg_cred *c, const dpg_moment *now)
{
    const dpg_signed_in *s = c->job->signed_in;
    dpg_record *r = &c->next;
    uint8_t digest[32];

    /* a family of our own naming: derived from the token, which is unique, so no randomness has to be kept */
    dpg_sha256(s->refresh_token.ptr, s->refresh_token.len, digest);
    for (size_t i = 0; i < 16; i++) snprintf(r->family + 2 * i, 3, "%02x", digest[i] ^ (uint8_t)(now->random >> 4 * i));
    r->origin = dpg_strndup(dpg_cstr(c->origin));
    r->refresh_token = dpg_strndup(dpg_buf_str(&s->refresh_token));
    if (s->accounts.len) r->accounts = dpg_strndup(dpg_buf_str(&s->accounts));
    if (s->person.len) r->person = dpg_strndup(dpg_buf_str(&s->person));
    return r->origin && r->refresh_token && (r->accounts || !s->accounts.len) && (r->person || !s->person.len);
}

/* Make `next` for the purpose. False: no memory; nothing is lost, and it can be tried again. */
bool dpg_cred_build_next(dpg_cred *c, const dpg_moment *now)
{
    dpg_record_clear(&c->next);
    switch (c->purpose) {
    case DPG_NEXT_SUCCESSOR: return build_successor(c, now);
    case DPG_NEXT_ADOPT: c->next.generation = c->record.generation + 1; return build_adopted(c, now);
    case DPG_NEXT_TRIAL: /* what is there again; what we have, if somebody took it away; else an empty record */
        if (c->record.refresh_token) return dpg_record_copy(&c->next, &c->record);
        break;
    default: c->next.generation = c->record.generation + 1;
    }
    c->next.tombstone = true;
    c->next.origin = dpg_strndup(dpg_cstr(c->origin));
    return c->next.origin != NULL;
}

void dpg_cred_drop_next(dpg_cred *c)
{
    dpg_record_clear(&c->next);
    dpg_buf_clear(&c->next_bytes);
    dpg_exchange_clear(&c->answer);
    c->built = c->written = c->unheard = false;
    c->purpose = DPG_NEXT_NONE;
    c->save_tries = 0;
}

bool dpg_cred_must_keep(const dpg_cred *c)
{
    return c->purpose == DPG_NEXT_SUCCESSOR || c->purpose == DPG_NEXT_ADOPT;
}

/* What we wrote is what is stored now. */
void dpg_cred_remember_stored(dpg_cred *c)
{
    dpg_buf old = c->stored;

    c->stored = c->next_bytes;
    c->next_bytes = old;
    dpg_buf_clear(&c->next_bytes);
    c->next_bytes.max = DPG_RECORD_MAX; /* a loaded buffer has the bounds of the store that made it */
    c->next_bytes.secret = true;
    c->stored_found = true;
    c->written = false;
}

/* Read the stored bytes into *r. False: *err says what is wrong with them. */
bool dpg_cred_read_stored(dpg_cred *c, dpg_record *r, dpg_error *err)
{
    int64_t generation;
    char family[DPG_FAMILY_SIZE];
    dpg_status status = dpg_record_read(dpg_buf_str(&c->stored), r);

    if (status == DPG_E_NOMEM) {
        dpg_fail_nomem(err);
    } else if (status != DPG_OK) {
        if (dpg_record_peek(dpg_buf_str(&c->stored), &generation, family) == DPG_RECORD_NEWER)
            dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_newer",
                     "the stored record was written by a newer version of dpg; use that version, or another store");
        else
            dpg_fail(
                err, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_damaged",
                "the stored record is damaged, and is left as it is: put it right, or remove it and sign in again");
    } else if (!r->tombstone && strcmp(r->origin, c->origin) != 0) {
        dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_USAGE, "store_other_origin",
                 "the store holds a session of %.100s, and a token never goes to another origin: this is %.100s",
                 r->origin, c->origin);
        dpg_record_clear(r);
    } else {
        return true;
    }
    return false;
}
