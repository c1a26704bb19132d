/*
 * What is saved, decided: the next record, tried until it is there; what was marked and met another record; and notes, of
 * which nothing depends. A part of the credential decider: pure. The walk around it is credential.c's.
 */
#include "credential_internal.h"

#include "retry.h"

#include <string.h>

#define SAVE_BASE_MS 100
#define SAVE_CAP_MS 5000

/* Save `record` with what was just changed in it, for others to see; nothing is lost when that fails. */
void dpg_cred_note(dpg_cred *c)
{
    dpg_cred_write_next(c, &c->record);
    if (!c->written) {
        dpg_cred_unlock(c);
        return;
    }
    dpg_cred_enter(c, DPG_CRED_NOTING);
    c->op = DPG_OP_SAVE;
}

static void save_again(dpg_cred *c, const dpg_moment *now)
{
    dpg_cred_enter(c, DPG_CRED_SAVE_AGAIN);
    c->timer_boot_ms =
        now->boot_ms + 1 + SAVE_BASE_MS / 2 + dpg_backoff_ms(SAVE_BASE_MS, SAVE_CAP_MS, ++c->save_tries, now->random);
}

/* A save could not be made: of what must be kept, the lock is kept too, and it is tried for as long as we live. */
void dpg_cred_save_failed(dpg_cred *c, const dpg_error *err, const dpg_moment *now)
{
    dpg_error copy = *err;
    bool whole = c->built; /* else the job's buffers are still needed to build it */

    if (dpg_cred_must_keep(c)) {
        if (c->save_tries == 0) dpg_cred_say(c, DPG_EVENT_STORAGE, copy.code, copy.message);
        c->trouble = copy;
        /* a moment without memory is nobody's failure yet */
        if (whole && (copy.status != DPG_E_NOMEM || c->save_tries > 3)) {
            dpg_cred_fail_waiters(c, &copy, NULL, now);
            dpg_cred_fail_jobs(c, &copy, true);
        }
        save_again(c, now);
        return;
    }
    dpg_cred_drop_next(c);
    if (c->job) dpg_cred_settle_job(c, c->job, &copy);
    dpg_cred_unlock(c);
}

void dpg_cred_save_next(dpg_cred *c, const dpg_moment *now)
{
    dpg_error err;

    if (!c->built) {
        c->written = false; /* what stands there may be a mark that could not be saved */
        c->built = dpg_cred_build_next(c, now);
    }
    if (c->built && !c->written) dpg_cred_write_next(c, &c->next);
    if (!c->written) { /* too long it can't be: wire.c takes no more of a sign-in than fits */
        dpg_fail_nomem(&err);
        dpg_cred_save_failed(c, &err, now);
        return;
    }
    dpg_cred_enter(c, DPG_CRED_SAVING);
    c->op = DPG_OP_SAVE;
}

/* What was to be saved is stored. */
void dpg_cred_is_saved(dpg_cred *c)
{
    int purpose = c->purpose;

    dpg_cred_remember_stored(c);
    if (purpose != DPG_NEXT_TRIAL) dpg_cred_replace_record(c, &c->next);
    if (purpose == DPG_NEXT_SUCCESSOR) {
        dpg_access *a = dpg_record_access(&c->record, dpg_cstr(c->exchange_account));

        c->fresh_serial = a ? a->serial : 0;
        c->in_doubt = false;
        c->rotations++;
        dpg_cred_say(c, DPG_EVENT_ROTATED, "", "");
    } else if (purpose == DPG_NEXT_FORGET) {
        dpg_cred_say(c, DPG_EVENT_SIGNED_OUT, "signed_out", "");
    }
    dpg_cred_drop_next(c);
    if (c->job) c->job_done = true;
    dpg_cred_unlock(c);
}

/*
 * Is what somebody stored while our lease was over newer than our successor? Not if it still has the token that we have
 * just spent: the server gave them an access token alone, before it gave us both.
 */
static bool is_newer(const dpg_cred *c, const dpg_record *r)
{
    if (r->tombstone || strcmp(r->family, c->next.family) != 0) return true;
    if (dpg_str_eq_secret(dpg_cstr(r->refresh_token), dpg_cstr(c->record.refresh_token)) &&
        !dpg_str_eq_secret(dpg_cstr(r->refresh_token), dpg_cstr(c->next.refresh_token)))
        return false;
    return r->generation >= c->next.generation;
}

/*
 * What is to be saved has met `r`, or nothing. False: `r` is what goes on, and ours is dropped. The last sign-in wins; but
 * one whose save may have been made, unheard, is not written over what came after it: its token may be spent.
 */
bool dpg_cred_keep_ours(dpg_cred *c, const dpg_record *r, bool as_before, const dpg_moment *now)
{
    bool ours_once = c->built && !r->tombstone && strcmp(r->family, c->next.family) == 0;
    dpg_error err;

    if (c->stored_found && c->purpose == DPG_NEXT_SUCCESSOR && is_newer(c, r)) {
        dpg_cred_drop_next(c);
        return false;
    }
    if (c->stored_found && c->purpose == DPG_NEXT_ADOPT && (ours_once || (c->unheard && !as_before))) {
        dpg_fail(
            &err, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_changed",
            "another session was stored while it was not known whether this one was: go on with that one (dpg.resume), "
            "or sign in again");
        dpg_cred_drop_next(c);
        if (c->job) dpg_cred_settle_job(c, c->job, ours_once ? NULL : &err);
        return false;
    }
    if (c->stored_found && c->built && r->generation >= c->next.generation) {
        c->next.generation = r->generation + 1;
        dpg_cred_write_next(c, &c->next);
    }
    dpg_cred_save_next(c, now);
    return true;
}

void dpg_cred_saved(dpg_cred *c, dpg_store_reply *reply, const dpg_moment *now)
{
    dpg_error err;

    if (reply->outcome == DPG_STORE_DONE) {
        dpg_cred_is_saved(c);
        return;
    }
    if (dpg_cred_must_keep(c) && reply->outcome == DPG_STORE_CHANGED) {
        dpg_cred_load(c);
        return;
    }
    if (!dpg_cred_must_keep(c) && dpg_cred_read_again(c, reply, now)) {
        dpg_cred_drop_next(c);
        return;
    }
    if (reply->outcome == DPG_STORE_FAILED) err = reply->error;
    else
        dpg_fail(&err, DPG_E_SYSTEM, DPG_KIND_STORAGE, "store_changed",
                 "the stored record keeps changing under our lock: something else writes to it; keep it elsewhere, or "
                 "end that");
    c->reload = reply->unsure;
    c->unheard = c->unheard || reply->unsure;
    dpg_cred_save_failed(c, &err, now);
}

/* Now, whatever has become of the lease: what is stored is compared, and each moment is one in which it could be lost. */
void dpg_cred_go_on_saving(dpg_cred *c, const dpg_moment *now)
{
    if (c->reload) dpg_cred_load(c);
    else dpg_cred_save_next(c, now);
}

/* The record was asked to say that the session is over. */
void dpg_cred_noted(dpg_cred *c, const dpg_store_reply *reply, const dpg_moment *now)
{
    c->written = false;
    if (reply->outcome == DPG_STORE_DONE) dpg_cred_remember_stored(c);
    if (c->losing && reply->outcome == DPG_STORE_CHANGED && dpg_cred_read_again(c, reply, now)) {
        c->losing = false;
        return;
    }
    if (c->losing) dpg_cred_lost(c, now);
    dpg_cred_unlock(c);
}
