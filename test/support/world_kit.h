/*
 * What tests of the engine in its small world begin and end with, and how they take a call's end.
 */
#ifndef DPG_WORLD_KIT_H
#define DPG_WORLD_KIT_H

#include "check.h"
#include "record.h"
#include "world.h"

/* A world with one client and a session in its store. */
static inline world *begin(void)
{
    world *w = world_new();

    world_session(w);
    world_client_new(w, 0, NULL, NULL);
    return w;
}

/* Ends a test: nothing is left, no note held a secret, no spent token was presented. */
static inline void finish(world *w)
{
    for (int i = 0; i < WORLD_CLIENTS; i++) {
        if (!w->clients[i].engine) continue;
        world_drain(&w->clients[i]);
        CHECK(world_is_clean(&w->clients[i]));
    }
    CHECK(!w->leaked);
    CHECK_INT(w->spent_presented, 0);
    world_free(w);
}

static inline dpg_completion take(world_client *c, dpg_id id, int64_t ms)
{
    dpg_completion done;

    memset(&done, 0, sizeof done);
    if (!world_ends(c, id, ms, &done)) {
        CHECK_FAIL("call %d has not ended within %d ms", (int)id, (int)ms);
        snprintf(done.error.code, sizeof done.error.code, "has_not_ended");
    }
    return done;
}

static inline int status_of(world_client *c, dpg_id id, int64_t ms)
{
    dpg_completion done = take(c, id, ms);
    int status = done.status;

    dpg_completion_clear(&done);
    return status;
}

static inline void expect_error(world_client *c, dpg_id id, int64_t ms, dpg_kind kind, const char *code)
{
    dpg_completion done = take(c, id, ms);

    CHECK_STR(dpg_kind_name(done.error.kind), dpg_kind_name(kind));
    CHECK_STR(done.error.code, code);
    dpg_completion_clear(&done);
}

static inline void signed_in(world_client *c) /* an access token for account a is in hand */
{
    CHECK_INT(status_of(c, world_get(c, "a", "/warm"), 5000), 200);
    c->w->trace[0] = '\0';
}

static inline dpg_record stored(world *w)
{
    dpg_record r;

    memset(&r, 0, sizeof r);
    CHECK(dpg_record_read(dpg_str_of(w->bytes, w->len), &r) == DPG_OK);
    return r;
}

static inline dpg_id sign_in(world_client *c)
{
    dpg_spec spec = world_sign_in_spec();
    dpg_id id = 0;

    CHECK(dpg_credential_sign_in(c->person, &spec, &id, NULL) == DPG_OK);
    return id;
}

#endif
