/*
 * What the five files of the credential decider share, and nobody else sees: credential.c (the walk), credential_exchange.c
 * (one exchange), credential_save.c (what is saved), credential_waiters.c (who waits, and what they get),
 * credential_record.c (the record in hand, and the next one). What each does stands there.
 */
#ifndef DPG_CREDENTIAL_INTERNAL_H
#define DPG_CREDENTIAL_INTERNAL_H

#include "credential.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

#define DPG_YOUNG_MS 60000 /* a 401 to a bearer this young is about something else than its age */

#define DPG_EARLY_WAIT_MS 3000 /* so long a call with a good token in hand waits for a better one */
#define DPG_MEMO_MS 1000       /* how long a "no" that is no refusal answers those who come next */
#define DPG_LEASE_NEEDED_MS (DPG_EXCHANGE_MS + DPG_SAVE_MS)

/* --- credential.c */

void dpg_cred_enter(dpg_cred *c, dpg_cred_state to); /* the only writer of c->state */
bool dpg_cred_lease_lasts(const dpg_cred *c, const dpg_moment *now);
void dpg_cred_renew(dpg_cred *c, dpg_cred_state what_for, const dpg_moment *now);
void dpg_cred_load(dpg_cred *c);
void dpg_cred_unlock(dpg_cred *c);
void dpg_cred_fail_walk(dpg_cred *c, const dpg_error *err, const dpg_moment *now);
void dpg_cred_walk_back(dpg_cred *c, const dpg_moment *now);
bool dpg_cred_read_again(dpg_cred *c, const dpg_store_reply *reply, const dpg_moment *now);

/* --- credential_exchange.c */

void dpg_cred_begin_mark(dpg_cred *c, dpg_str account, const dpg_moment *now);
void dpg_cred_marked(dpg_cred *c, dpg_store_reply *reply, const dpg_moment *now);
void dpg_cred_send(dpg_cred *c, const dpg_moment *now);
void dpg_cred_await_again(dpg_cred *c);
void dpg_cred_lose(dpg_cred *c, const char *reason, const dpg_moment *now);
void dpg_cred_lost(dpg_cred *c, const dpg_moment *now);

/* --- credential_save.c */

void dpg_cred_save_next(dpg_cred *c, const dpg_moment *now);
void dpg_cred_saved(dpg_cred *c, dpg_store_reply *reply, const dpg_moment *now);
void dpg_cred_save_failed(dpg_cred *c, const dpg_error *err, const dpg_moment *now);
void dpg_cred_go_on_saving(dpg_cred *c, const dpg_moment *now);
void dpg_cred_is_saved(dpg_cred *c);
bool dpg_cred_keep_ours(dpg_cred *c, const dpg_record *r, bool as_before, const dpg_moment *now);
void dpg_cred_note(dpg_cred *c);
void dpg_cred_noted(dpg_cred *c, const dpg_store_reply *reply, const dpg_moment *now);

/* --- credential_waiters.c */

void dpg_cred_say(dpg_cred *c, dpg_event event, const char *code, const char *message);
int64_t dpg_cred_age_ms(const dpg_access *a, const dpg_moment *now);
bool dpg_cred_lives(const dpg_access *a, const dpg_moment *now);
bool dpg_cred_is_usable(const dpg_access *a, const dpg_waiter *w, const dpg_moment *now);
void dpg_cred_normalise(dpg_record *r, const dpg_moment *now);
void dpg_cred_settle(dpg_cred *c, dpg_waiter *w);
void dpg_cred_give_bearer(dpg_cred *c, dpg_waiter *w, const dpg_access *a);
void dpg_cred_give_error(dpg_cred *c, dpg_waiter *w, const dpg_error *err);
int64_t dpg_cred_pause_left(const dpg_cred *c, const dpg_moment *now);
bool dpg_cred_is_due_early(const dpg_cred *c, const dpg_access *a, const dpg_moment *now);
bool dpg_cred_serve(dpg_cred *c, bool early, const dpg_moment *now);
void dpg_cred_serve_living(dpg_cred *c, const dpg_moment *now);
void dpg_cred_settle_job(dpg_cred *c, dpg_job *job, const dpg_error *err);
void dpg_cred_fail_waiters(dpg_cred *c, const dpg_error *err, const char *account, const dpg_moment *now);
void dpg_cred_fail_jobs(dpg_cred *c, const dpg_error *err, bool adopt_too);
dpg_job *dpg_cred_adopting(const dpg_cred *c);
void dpg_cred_auth_error(const dpg_cred *c, dpg_error *err);
void dpg_cred_let_stand(dpg_cred *c, dpg_waiter *w);

/* --- credential_record.c */

void dpg_cred_replace_record(dpg_cred *c, dpg_record *r);
bool dpg_cred_comes_after(const dpg_record *r, const dpg_record *old);
void dpg_cred_ingest(dpg_cred *c, dpg_record *r, const dpg_moment *now);
void dpg_cred_write_next(dpg_cred *c, const dpg_record *r);
bool dpg_cred_build_next(dpg_cred *c, const dpg_moment *now);
void dpg_cred_drop_next(dpg_cred *c);
bool dpg_cred_must_keep(const dpg_cred *c);
void dpg_cred_remember_stored(dpg_cred *c);
bool dpg_cred_read_stored(dpg_cred *c, dpg_record *r, dpg_error *err);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
