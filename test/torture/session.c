/*
 * The whole life of a signed-in session, with allocation 1, 2, 3 … failing in turn until a run has none that fails: the
 * engine in the tests' small world, over the store in memory and the one in a file. No run may crash or leak, no spent
 * token may be presented, and after each a fresh engine on the same store must be able to go on where the session was.
 */
#include "check.h"
#include "world.h"

#define RUNS_MOST 20000

/* Ends a call in whatever way; true when it was answered `status` (0: ended well, without an answer). */
static bool ends(world_client *c, dpg_id id, int status)
{
    dpg_completion done;
    bool fine;

    if (!id) return false;
    if (!world_ends(c, id, 200000, &done)) {
        CHECK_FAIL("call %d never ended", (int)id);
        return false;
    }
    fine = done.error.kind == DPG_KIND_NONE && done.status == status;
    dpg_completion_clear(&done);
    return fine;
}

static bool get(world_client *c, const char *account, const char *url)
{
    dpg_spec spec = world_spec(c, account, "GET", url);
    dpg_header header = {DPG_LIT("Accept"), DPG_LIT("application/json")};
    dpg_id id = 0;

    spec.headers = &header;
    spec.header_count = 1;
    spec.gate = DPG_LIT("gate");
    return dpg_engine_start(c->engine, &spec, &id, NULL) == DPG_OK && ends(c, id, 200);
}

/* What became of the session, as far as its program was told. */
typedef struct life {
    bool signed_out;
    int answered;
} life;

static void grow_old(world *w, int64_t ms)
{
    w->now_ms += ms;
}

static void live(world_client *c, life *l)
{
    world *w = c->w;
    dpg_spec in = world_sign_in_spec();
    dpg_id id = 0, other = 0;

    if (dpg_credential_sign_in(c->person, &in, &id, NULL) == DPG_OK) ends(c, id, 200);
    l->answered += get(c, "a", WORLD_BASE "/first"); /* an exchange */
    l->answered += get(c, "b", WORLD_BASE "/other"); /* and one for another account */
    grow_old(w, 870000);
    l->answered += get(c, "a", WORLD_BASE "/early"); /* ahead of the end */
    grow_old(w, 61000);
    w->bad_bearer = "at-a-3";
    l->answered += get(c, "a", WORLD_BASE "/401");
    w->bad_bearer = NULL;
    grow_old(w, 1000000);
    world_will(w, "/auth/token", (world_reply){.how = WORLD_CUT_BEFORE}); /* in doubt, and asked again */
    world_will(w, "/auth/token", (world_reply){.how = WORLD_ANSWER, .status = 503, .body = "<html>"});
    l->answered += get(c, "a", WORLD_BASE "/doubt");
    grow_old(w, 1000000);
    world_will(w, "/auth/token", (world_reply){.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 2\n"});
    world_will(w, "/limited", (world_reply){.how = WORLD_ANSWER, .status = 429, .headers = "retry-after: 1\n"});
    world_will(w, "/limited", (world_reply){.how = WORLD_UNSENT});
    l->answered += get(c, "a", WORLD_BASE "/limited");
    grow_old(w, 1000000);
    id = 0;
    if (dpg_credential_load(c->person, 0, &id, NULL) == DPG_OK) ends(c, id, 0);
    in = world_spec(c, "a", "GET", WORLD_BASE "/cancelled");
    id = 0;
    if (dpg_engine_start(c->engine, &in, &id, NULL) == DPG_OK) {
        world_turn(c, 5); /* its exchange is out */
        dpg_engine_cancel(c->engine, id);
    }
    if (dpg_engine_start(c->engine, &in, &other, NULL) == DPG_OK) dpg_engine_abandon(c->engine, other);
    ends(c, id, 0);
    world_turn(c, 30000);
    w->script_count = 0;
}

/* The session is revoked: that is heard, once, and the token is presented no more. */
static void be_refused(world_client *c, life *l)
{
    grow_old(c->w, 1000000);
    c->w->revoked = true;
    for (int i = 0; i < 3; i++) {
        get(c, "a", WORLD_BASE "/revoked");
        world_turn(c, 3000);
    }
    l->signed_out = true; /* as far as a fresh engine is concerned */
    if (c->w->refused_presented) CHECK_FAIL("a refused token was presented again");
}

static void leave(world_client *c, life *l)
{
    dpg_id id = 0;

    if (dpg_credential_forget(c->person, 0, &id, NULL) == DPG_OK) l->signed_out = ends(c, id, 0);
}

/* A new engine on the same store, with all the memory that it wants. */
static void goes_on(world *w, dpg_store *store, const life *l, uint64_t n)
{
    world_client *c = &w->clients[1];
    dpg_error err = DPG_ERROR_INIT;
    bool fine;

    if (store) c->store = dpg_store_ref(store);
    REQUIRE(world_client_open(c, NULL, NULL, &err) == DPG_OK);
    w->now_ms += 1000000;
    fine = get(c, "a", WORLD_BASE "/after");
    if (fine != (w->family > 0 && !l->signed_out))
        CHECK_FAIL("allocation %d: %s, with session %d%s", (int)n, fine ? "goes on" : "can't go on", w->family,
                   l->signed_out ? ", signed out" : "");
    world_client_free(c, 5000);
}

/* A store that the host keeps, under leases. */
static struct {
    char *bytes;
    size_t len;
    char owner[160];
} hosted;

static bool is_stored(dpg_str bytes)
{
    return hosted.bytes && dpg_str_eq(dpg_str_of(hosted.bytes, hosted.len), bytes);
}

static void serve(world_client *c, dpg_store_asked *a)
{
    dpg_store_answer answer = {.outcome = DPG_STORE_DONE};
    char owner[160];

    snprintf(owner, sizeof owner, "%.*s", (int)a->owner.len, a->owner.ptr);
    if (a->op == DPG_STORE_LOCK) {
        memcpy(hosted.owner, owner, sizeof owner);
    } else if (a->op == DPG_STORE_UNLOCK) {
        if (strcmp(owner, hosted.owner) == 0) hosted.owner[0] = '\0';
    } else if (a->op == DPG_STORE_LOAD) {
        answer.found = hosted.bytes != NULL;
        answer.bytes = dpg_str_of(hosted.bytes, hosted.len);
    } else if (a->had ? is_stored(a->expected) : !hosted.bytes) {
        char *copy = malloc(a->bytes.len + 1);

        memcpy(copy, a->bytes.ptr, a->bytes.len);
        free(hosted.bytes);
        hosted.bytes = copy;
        hosted.len = a->bytes.len;
    } else {
        answer.outcome = DPG_STORE_CHANGED;
    }
    if (dpg_engine_answer(c->engine, a->ask, &answer, NULL) != DPG_OK)
        CHECK(dpg_engine_answer(c->engine, a->ask, &answer, NULL) == DPG_OK);
}

static dpg_store *make_hosted(void)
{
    dpg_store *store = NULL;
    dpg_error err = DPG_ERROR_INIT;

    if (dpg_store_host_new(DPG_LIT("hosted"), true, &store, &err) != DPG_OK) CHECK_INT(err.status, DPG_E_NOMEM);
    return store;
}

static void unmake_hosted(void)
{
    free(hosted.bytes);
    memset(&hosted, 0, sizeof hosted);
}

/* One run with allocation `n` failing; false: it had none left to fail. */
static bool run(uint64_t n, dpg_store *(*make)(void), void (*unmake)(void), void (*end)(world_client *, life *))
{
    world *w = world_new();
    world_client *c = &w->clients[0];
    dpg_store *store = NULL;
    dpg_error err = DPG_ERROR_INIT;
    life l = {0};
    bool failed;

    w->on_asked = serve;
    dpg_alloc_fail(n);
    if (make && !(store = make())) {
        dpg_alloc_fail(0);
        world_free(w);
        unmake();
        return true;
    }
    if (store) c->store = dpg_store_ref(store);
    if (world_client_open(c, NULL, NULL, &err) == DPG_OK) {
        live(c, &l);
        if (end) end(c, &l);
    } else {
        CHECK_INT(err.status, DPG_E_NOMEM);
    }
    failed = dpg_alloc_failed();
    dpg_alloc_fail(0);
    if (!failed) CHECK_INT(l.answered, 6);
    if (c->engine) {
        world_turn(c, 20000);
        if (!world_is_clean(c)) CHECK_FAIL("allocation %d: something is left", (int)n);
    }
    world_client_free(c, 5000);
    if (w->spent_presented) CHECK_FAIL("allocation %d: a spent token was presented", (int)n);
    if (w->leaked) CHECK_FAIL("allocation %d: a secret was told", (int)n);
    goes_on(w, store, &l, n);
    if (w->spent_presented) CHECK_FAIL("allocation %d: a spent token was presented afterwards", (int)n);
    dpg_store_free(store);
    world_free(w);
    if (unmake) unmake();
    return failed;
}

static void all_runs(dpg_store *(*make)(void), void (*unmake)(void), void (*end)(world_client *, life *))
{
    uint64_t n = 1;

    while (n < RUNS_MOST && run(n, make, unmake, end) && check_faults < 20) n++;
    printf("# %d allocations\n", (int)n - 1);
    CHECK(n > 100 && n < RUNS_MOST);
}

static dpg_store *make_memory(void)
{
    dpg_store *store = NULL;
    dpg_error err = DPG_ERROR_INIT;

    if (dpg_store_memory_new(&store, &err) != DPG_OK) CHECK_INT(err.status, DPG_E_NOMEM);
    return store;
}

static void unmake_nothing(void)
{
}

static char folder[256];

static dpg_store *make_file(void)
{
    dpg_store *store = NULL;
    dpg_error err = DPG_ERROR_INIT;
    char path[300];

    snprintf(path, sizeof path, "%s/session", folder);
    if (dpg_store_file_new(dpg_cstr(path), &store, &err) != DPG_OK) CHECK_INT(err.status, DPG_E_NOMEM);
    return store;
}

static void unmake_file(void)
{
    static const char *const tails[] = {"", ".lock", ".mark", ".spare"};
    char path[300];

    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        snprintf(path, sizeof path, "%s/session%s", folder, tails[i]);
        unlink(path);
    }
}

TEST("lives through the loss of any one allocation, in a store that never fails")
{
    all_runs(NULL, NULL, NULL);
}

TEST("lives through the loss of any one allocation, over a store in memory")
{
    all_runs(make_memory, unmake_nothing, NULL);
}

TEST("signs out through the loss of any one allocation, or says that it did not")
{
    all_runs(make_memory, unmake_nothing, leave);
}

TEST("hears a refusal through the loss of any one allocation, and presents that token no more")
{
    all_runs(make_memory, unmake_nothing, be_refused);
}

TEST("lives through the loss of any one allocation, over a store that the host keeps")
{
    all_runs(make_hosted, unmake_hosted, NULL);
}

TEST("lives through the loss of any one allocation, over a store in a file")
{
    snprintf(folder, sizeof folder, "%s/dpg-torture-%d", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp",
             (int)getpid());
    all_runs(make_file, unmake_file, NULL);
    unmake_file();
    rmdir(folder);
}

CHECK_MAIN()
