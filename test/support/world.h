/*
 * A small world for tests of the engine: a clock that moves only when somebody waits, a network and a server that do what
 * they are told, a disk that several engines share. Nothing here is random and nothing takes real time. What an engine did
 * to the world is kept in order (world->trace), so a test can say "lock load mark exchange save unlock".
 *
 * The server is strict: a refresh token that was spent revokes its family, and is counted in `spent_presented`. Its tokens
 * are rt-N (refresh) and at-ACCOUNT-N (access), so that a leak of one is found by its looks.
 */
#ifndef DPG_TEST_WORLD_H
#define DPG_TEST_WORLD_H

#include "engine.h"

#define WORLD_BASE "https://api.test/v1"
#define WORLD_PASSWORD "pw-secret"
#define WORLD_CLIENTS 3

typedef enum world_how {
    WORLD_SERVE,      /* the server does its work and answers */
    WORLD_ANSWER,     /* `status`, `headers`, `body` come instead, and no work is done */
    WORLD_UNSENT,     /* no connection */
    WORLD_CUT_BEFORE, /* it left, and the server never saw it */
    WORLD_CUT_AFTER,  /* the server did its work, and the answer was lost */
    WORLD_SILENCE,    /* the server did its work; no answer ever comes, the transfer stays open */
    WORLD_STUCK       /* it never leaves, the transfer stays open */
} world_how;

typedef struct world_reply {
    world_how how;
    int status;
    const char *headers; /* "retry-after: 5\n", names in lower case */
    const char *body;
    int64_t after_ms; /* how long it takes; 0: 10 ms */
} world_reply;

typedef struct world world;
typedef struct world_client world_client;

typedef struct world_request {
    world_client *client;
    uint64_t id;
    char method[16], url[256], bearer[64], key[64];
    char *body;
    bool once, open, aborted, ended;
    int64_t at_ms, ends_ms; /* when it was started; when its answer is here (INT64_MAX: never) */
    dpg_sent sent;
    int status;
    const char *error; /* code, without an answer */
    char head[256], *answer;
} world_request;

struct world_client {
    world *w;
    dpg_engine *engine;
    dpg_store *store;
    dpg_credential *person;
    bool asked; /* a store operation waits for world_store_answer() */
    uint64_t ask;
    dpg_store_request request;
};

struct world {
    int64_t now_ms, unix_off_ms;
    const char *boot_id;
    uint64_t random; /* what random numbers start from; they differ, and are the same in each run */
    world_client clients[WORLD_CLIENTS];
    char *trace;
    char events[8192];
    int64_t told_wait_ms; /* what the last event said */
    bool leaked;          /* a note held something that looks like a secret */
    int64_t limit_ms;     /* the clock stands still here: a turn that holds on to the engine has to let go of it */
    bool real_time;       /* engines take the clock for a real one */

    /* what will happen to the next requests whose URL holds a word */
    struct {
        const char *word;
        world_reply reply;
    } script[64];
    int script_count;
    world_request *requests;
    int request_count, open_most;

    /* the server */
    int refresh; /* the newest: rt-`refresh`; 0: nobody has signed in */
    int family;  /* of the newest; rt- numbers of a family go on from family * 1000 */
    bool revoked, told, two_factor,
        keeps; /* told: that it is revoked; keeps: 2xx without a refresh_token, the old one stays good */
    int grace; /* > 0: the token before the newest gets the newest again, so many times */
    int life_s;
    int access;                                                 /* serial of the newest access token */
    const char *bad_bearer;                                     /* this one is answered with 401; "*": all are */
    int spent_presented, refused_presented, exchanges, replays; /* refused: after it had been told so */

    /* the disk */
    char *bytes;
    size_t len;
    bool found;
    world_client *holder;
    int fail[4], fail_marks,
        busy; /* operations that will fail, by dpg_store_op; saves with a mark; locks that are taken */
    void (*on_save)(world_client *); /* called in the middle of a save; NULL: nothing is */
    bool change_marks;               /* each marking save finds another record */
    bool async;
    int marks, saves;

    void (*on_asked)(world_client *, dpg_store_asked *); /* a store of the host's is asked; borrowed */
};

world *world_new(void);
void world_free(world *w); /* engines too */

void world_will(world *w, const char *word, world_reply reply);

/* What the server does with a request (url, bearer, body); sets status, head and answer. For a server on a real socket. */
void world_serve(world *w, world_request *r);

/* An engine with the store, and a person's credential, in place `n`. `options` may be NULL. */
world_client *world_client_new(world *w, int n, const dpg_engine_options *options, const dpg_person_options *person);
dpg_transport world_transport(world_client *c);
dpg_status world_client_open(world_client *c, const dpg_engine_options *options, const dpg_person_options *person,
                             dpg_error *err);
void world_client_free(world_client *c, int64_t grace_ms);
dpg_store *world_store_new(world_client *c);

/* Start a GET of WORLD_BASE `path` for the account; ends the program when it can't be started. */
dpg_id world_get(world_client *c, const char *account, const char *path);
dpg_spec world_spec(world_client *c, const char *account, const char *method, const char *url);
dpg_id world_start(world_client *c, const dpg_spec *spec);
dpg_spec world_sign_in_spec(void);

/* Turn until the call has ended, at most `ms` of the world's time. False: it hasn't. */
bool world_ends(world_client *c, dpg_id id, int64_t ms, dpg_completion *out);
bool world_turn(world_client *c, int64_t ms); /* turn for so long, and note what is told */
void world_drain(world_client *c);

/* Do the store operation that an engine waits for (world->async). */
void world_store_answer(world_client *c);

/* A session, as if somebody had signed in long ago: in the store, without access tokens. */
void world_session(world *w);
void world_put_record(world *w, const char *bytes, size_t len);

int world_count(const world *w, const char *word); /* requests whose URL holds it */
const world_request *world_last(const world *w, const char *word);
bool world_is_clean(const world_client *c); /* nothing is left in the engine */

#endif
