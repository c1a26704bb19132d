/*
 * How an engine with a thread ends: freed in the middle of things, by a process that exits in the middle of things, left
 * alone in a child made by fork; and that nothing of it is left behind.
 */
#include "thread_kit.h"

#include "files.h"
#include "record.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char *folder, path[300];

static dpg_store *new_store(void)
{
    dpg_store *store = NULL;
    dpg_error err = DPG_ERROR_INIT;

    if (dpg_store_file_new(dpg_cstr(path), &store, &err) != DPG_OK) CHECK_FAIL("%s: %s", err.code, err.message);
    return store;
}

static void begin_on_disk(void)
{
    folder = files_scratch();
    snprintf(path, sizeof path, "%s", files_at(folder, "session"));
    begin();
}

static void end_on_disk(void)
{
    files_remove(folder);
    end();
}

/* What the file says: the newest token's number, 0 without one; `marked`: an exchange is said to be under way. */
static int stored_token(bool *marked)
{
    dpg_record r;
    dpg_buf bytes;
    int token = 0;

    memset(&r, 0, sizeof r);
    dpg_buf_init(&bytes, DPG_RECORD_MAX);
    if (files_get(path, &bytes) && dpg_record_read(dpg_buf_str(&bytes), &r) == DPG_OK && r.refresh_token)
        sscanf(r.refresh_token, "rt-%d", &token);
    *marked = r.in_flight;
    dpg_record_clear(&r);
    dpg_buf_clear(&bytes);
    return token;
}

static void *release_soon(void *unused)
{
    nanosleep(&(struct timespec){0, 100000000}, NULL);
    web_release(server);
    return unused;
}

/* --- freed ------------------------------------------------------------------------------------------------------------------ */

TEST("ends all calls when it is freed, whatever they are in the middle of, and waits for none")
{
    int64_t begun;
    dpg_spec spec = DPG_SPEC_INIT;

    begin();
    for (int i = 0; i < 30; i++) get("/hold"); /* more than go out at once */
    for (int i = 0; i < 30; i++) get("/me");
    spec.timer_ms = 3600000;
    start(&spec);
    CHECK(web_saw(server, "/hold", 10));
    begun = now_ms();
    dpg_engine_free(engine, 60000);
    CHECK(now_ms() - begun < 20000);
    engine = NULL;
    end();
}

TEST("finishes an exchange that has left, and saves its successor, when it is freed")
{
    dpg_store *store;
    dpg_credential *person;
    pthread_t helper;
    bool marked;

    begin_on_disk();
    store = new_store();
    person = new_person(engine, store);
    CHECK_INT(sign_in(person), 200);
    web_hold_exchanges(server);
    get_as(person, "/me");
    CHECK(web_saw(server, "/auth/token", 1));
    stored_token(&marked);
    CHECK(marked);
    REQUIRE(pthread_create(&helper, NULL, release_soon, NULL) == 0);
    dpg_credential_free(person);
    dpg_engine_free(engine, 30000);
    engine = NULL;
    pthread_join(helper, NULL);
    CHECK_INT(stored_token(&marked), web_number(server, &w->refresh));
    CHECK(!marked);
    CHECK_INT(web_number(server, &w->exchanges), 1);
    dpg_store_free(store);
    end_on_disk();
}

TEST("waits for an exchange as long as its grace, and leaves the mark that tells the truth")
{
    dpg_store *store;
    dpg_credential *person;
    int64_t begun;
    bool marked;

    begin_on_disk();
    store = new_store();
    person = new_person(engine, store);
    CHECK_INT(sign_in(person), 200);
    web_hold_exchanges(server);
    get_as(person, "/me");
    CHECK(web_saw(server, "/auth/token", 1));
    begun = now_ms();
    dpg_engine_free(engine, 200);
    CHECK(now_ms() - begun >= 190 && now_ms() - begun < 20000);
    engine = NULL;
    stored_token(&marked);
    CHECK(marked);
    dpg_store_free(store);
    end_on_disk();
}

static void *wait_for_ever(void *unused)
{
    dpg_error err = DPG_ERROR_INIT;

    while (dpg_engine_wait(engine, 3600000, &err) == DPG_OK) continue;
    CHECK_STR(err.code, "engine_closed");
    return unused;
}

/* --- left behind -------------------------------------------------------------------------------------------------------------- */

/* The least of some looks: a thread that was joined is to be seen for a moment more. Looks on while there are more than `most`. */
static int settled(const char *where, int most)
{
    int least = entries(where);

    for (int i = 0; i < 10 || (least > most && i < 10000); i++) {
        int n;

        a_moment();
        if ((n = entries(where)) < least) least = n;
    }
    return least;
}

TEST("leaves no descriptor and no thread behind, however often one is made, used and freed")
{
    int n = times("THREAD_LIVES", 200), files = 0, tasks = 0;

    for (int i = 0; i < n && !check_faults; i++) {
        dpg_wake *wake = NULL;
        dpg_spec spec = DPG_SPEC_INIT;

        if (i % 100 == 0) begin(); /* the server's threads are joined with it */
        dpg_engine_free(engine, 0);
        REQUIRE(dpg_wake_new(i % 2 ? DPG_WAKE_FD : DPG_WAKE_SOCKET, &wake, NULL) == DPG_OK);
        engine = new_engine(wake);
        spec.timer_ms = 1;
        if (i % 10 == 0) CHECK_INT(status_of(get("/me")), 200);
        else if (i % 3) expect_error(start(&spec), "");
        else start(&spec);
        dpg_wake_free(wake);
        if (i % 100 != 99 && i != n - 1) continue;
        end();
        if (!files) {
            files = entries("/proc/self/fd");
            tasks = settled("/proc/self/task", INT_MAX);
        }
        CHECK_INT(entries("/proc/self/fd"), files);
        CHECK_INT(settled("/proc/self/task", tasks), tasks);
    }
}

/* --- forked ------------------------------------------------------------------------------------------------------------------ */

/* In a child: everything that can be asked of an engine whose thread is not here. Nothing waits, nothing is done. */
static int ask_everything(dpg_credential *person, dpg_wake *wake, dpg_id id)
{
    char url[200];
    dpg_spec spec = spec_of("GET", "/me", url);
    dpg_error err = DPG_ERROR_INIT;
    dpg_completion done;
    dpg_credential *other = NULL;
    dpg_credential_info info;
    dpg_progress progress;
    dpg_chunk chunk;
    dpg_note note;
    dpg_id new_id = 0;
    size_t taken = 0;
    int wrong = 0;

    wrong += dpg_engine_is_mine(engine);
    wrong += dpg_engine_start(engine, &spec, &new_id, &err) != DPG_E_CLOSED;
    wrong += dpg_engine_wait(engine, 60000, &err) != DPG_E_CLOSED;
    wrong += dpg_engine_thread(engine, wake, &err) != DPG_E_CLOSED;
    dpg_engine_next(engine, &note);
    wrong += note.type != DPG_NOTE_NONE;
    wrong += dpg_engine_take(engine, id, &done, &err) != DPG_E_UNKNOWN;
    wrong += dpg_engine_feed(engine, id, DPG_LIT("x"), &taken, &err) != DPG_E_UNKNOWN;
    wrong += dpg_engine_read(engine, id, 0, &chunk, &err) != DPG_E_UNKNOWN;
    wrong += dpg_engine_progress(engine, id, &progress) != DPG_E_UNKNOWN;
    wrong += dpg_engine_counts(engine).calls != 0;
    wrong += dpg_engine_is_holding(engine);
    dpg_engine_cancel(engine, id);
    dpg_engine_abandon(engine, id);
    wrong += dpg_credential_load(person, 0, &new_id, &err) != DPG_E_CLOSED;
    wrong += dpg_credential_service(engine, dpg_cstr(web_base(server)), DPG_LIT("t"), &other, &err) != DPG_E_CLOSED;
    info = dpg_credential_get_info(person);
    dpg_credential_info_clear(&info);
    dpg_credential_free(person);
    dpg_wake_free(wake);
    dpg_engine_free(engine, 60000);
    return wrong;
}

/*
 * What a thread had in hand at the moment of the fork is lost in the child, where only its stack could tell of it: the leak
 * checker asks here whether it should look.
 */
static bool child_of_threads;
__attribute__((visibility("default"))) int __lsan_is_turned_off(void);

int __lsan_is_turned_off(void)
{
    return child_of_threads;
}

/* valgrind, which asks nobody, looks at no program that a child becomes. */
static void end_unseen(int status)
{
    const char *preload = getenv("LD_PRELOAD");

    if (preload && strstr(preload, "vgpreload"))
        execl("/bin/sh", "sh", "-c", status ? "exit 1" : "exit 0", (char *)NULL);
}

/* A new engine in the child works, stepped as it is. */
static int live_on(void)
{
    dpg_engine_options options = {.proxy_set = true};
    char url[200];
    dpg_spec spec = spec_of("GET", "/me", url);
    dpg_completion done;
    dpg_engine *own = NULL;
    dpg_id id = 0;
    int status;

    if (dpg_engine_new(&options, &own, NULL) != DPG_OK || dpg_engine_start(own, &spec, &id, NULL) != DPG_OK) return 1;
    while (dpg_engine_take(own, id, &done, NULL) != DPG_OK)
        if (dpg_engine_wait(own, 1000, NULL) != DPG_OK) return 1;
    status = done.status;
    dpg_completion_clear(&done);
    dpg_engine_free(own, 0);
    return status == 200 ? 0 : 1;
}

/* None under ASan: a thread that allocates at a fork leaves a lock of gcc's sanitizer itself held in the child. */
#ifdef __SANITIZE_ADDRESS__
enum {
    FORKS = 0
};
#else
enum {
    FORKS = 40
};
#endif

TEST("is left alone in a child made by fork, whatever its thread was in the middle of, and goes on in the parent")
{
    int n = times("THREAD_FORKS", FORKS), started = 0, ended = 0;
    dpg_store *store = NULL;
    dpg_credential *person;
    dpg_wake *wake = NULL;

    begin();
    web_set(server, &w->life_s, 1);
    REQUIRE(dpg_store_memory_new(&store, NULL) == DPG_OK);
    REQUIRE(dpg_wake_new(DPG_WAKE_SOCKET, &wake, NULL) == DPG_OK);
    REQUIRE(dpg_engine_thread(engine, wake, NULL) == DPG_OK);
    person = new_person(engine, store);
    CHECK_INT(sign_in(person), 200);
    for (int i = 0; i < n && !check_faults; i++) {
        dpg_id id = 0;
        dpg_note note;
        pid_t child;
        int status;

        for (; started - ended < 50; started++) id = get_as(person, "/me");
        child = fork();
        if (child == 0) {
            child_of_threads = true;
            alarm(30);
            status = ask_everything(person, wake, id);
            if (i % 4 == 0) status += live_on();
            dpg_store_free(store);
            end_unseen(status);
            exit(status); /* handlers and all */
        }
        REQUIRE(waitpid(child, &status, 0) == child);
        if (status) CHECK_FAIL("child %d ends with %d", i, status);
        for (dpg_engine_next(engine, &note); note.type; dpg_engine_next(engine, &note)) {
            if (note.type != DPG_NOTE_DONE) continue;
            CHECK_INT(status_of(note.id), 200);
            ended++;
        }
    }
    while (ended < started && !check_faults) {
        dpg_note note = next_note();

        REQUIRE(note.type == DPG_NOTE_DONE);
        CHECK_INT(status_of(note.id), 200);
        ended++;
    }
    dpg_credential_free(person);
    dpg_wake_free(wake);
    dpg_store_free(store);
    end();
}

/* --- a process that exits ------------------------------------------------------------------------------------------------------ */

static void *free_it(void *unused)
{
    dpg_engine_free(engine, 30000);
    return unused;
}

static void *exit_now(void *unused)
{
    exit(7);
    return unused;
}

/*
 * This very program once more, with how it ends in THREAD_CHILD and the server's address in THREAD_BASE: it signs nobody in,
 * makes calls that hang and one that needs an exchange, says so when it is told that the exchange is out, and ends.
 */
static int live_as_a_child(const char *how)
{
    const char *base = getenv("THREAD_BASE");
    static dpg_store *volatile store; /* where a leak checker finds it */
    dpg_credential *person = NULL;
    dpg_error err = DPG_ERROR_INIT;
    dpg_id id = 0;
    char url[200], byte;
    pthread_t thread;
    dpg_spec spec = {.method = DPG_LIT("GET")};

    snprintf(path, sizeof path, "%s", getenv("THREAD_STORE"));
    engine = new_engine(NULL);
    store = new_store();
    if (dpg_credential_person(engine, dpg_cstr(base), store, NULL, &person, &err) != DPG_OK) return 90;
    for (int i = 0; i < 20; i++) {
        snprintf(url, sizeof url, "%s/hold", base);
        spec.url = dpg_cstr(url);
        if (dpg_engine_start(engine, &spec, &id, &err) != DPG_OK) return 91;
    }
    snprintf(url, sizeof url, "%s/me", base);
    spec.url = dpg_cstr(url);
    spec.credential = person;
    spec.account = DPG_LIT("a");
    if (dpg_engine_start(engine, &spec, &id, &err) != DPG_OK) return 92;
    if (read(0, &byte, 1) != 1) return 93; /* it is out */
    if (strcmp(how, "elsewhere") == 0 && pthread_create(&thread, NULL, wait_for_ever, NULL) == 0)
        pthread_detach(thread);
    if (strcmp(how, "freed") == 0 && pthread_create(&thread, NULL, free_it, NULL) == 0) pthread_detach(thread);
    if (write(1, "!", 1) != 1) return 94;
    if (strcmp(how, "thread") == 0) {
        pthread_create(&thread, NULL, exit_now, NULL);
        pthread_join(thread, NULL);
    }
    if (strcmp(how, "exit") == 0) exit(7);
    return 7; /* from main */
}

static void exits(const char *how)
{
    char self[256], var[3][320], *argv[] = {self, NULL}, *env[64];
    int in[2], out[2], n = 0, status;
    dpg_store *store;
    dpg_credential *person;
    pid_t child;
    bool marked;
    char byte;
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

    REQUIRE(len > 0);
    self[len] = '\0';
    begin_on_disk();
    store = new_store();
    person = new_person(engine, store);
    CHECK_INT(sign_in(person), 200);
    web_hold_exchanges(server);
    snprintf(var[0], sizeof var[0], "THREAD_CHILD=%s", how);
    snprintf(var[1], sizeof var[1], "THREAD_BASE=%s", web_base(server));
    snprintf(var[2], sizeof var[2], "THREAD_STORE=%s", path);
    for (int i = 0; i < 3; i++) env[n++] = var[i];
    for (char **e = environ; *e && n < 63; e++) env[n++] = *e;
    env[n] = NULL;
    REQUIRE(pipe(in) == 0 && pipe(out) == 0);
    child = fork();
    if (child == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        execve(self, argv, env);
        _exit(99);
    }
    close(in[0]), close(out[1]);
    CHECK(web_saw(server, "/auth/token", 1));
    CHECK(write(in[1], "!", 1) == 1);
    CHECK(read(out[0], &byte, 1) == 1);
    release_soon(NULL); /* a while after it has begun to end */
    REQUIRE(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 7) CHECK_FAIL("%s: ends with %d", how, status);
    CHECK_INT(stored_token(&marked), web_number(server, &w->refresh));
    CHECK(!marked);
    CHECK_INT(web_number(server, &w->exchanges), 1);
    close(in[1]), close(out[0]);
    dpg_credential_free(person);
    dpg_store_free(store);
    end_on_disk();
}

TEST("finishes and saves what has left when its process exits in the middle of it")
{
    exits("exit");
}

TEST("… or returns from main")
{
    exits("main");
}

TEST("… or exits on another thread")
{
    exits("thread");
}

TEST("… or exits while a thread of the host waits for it")
{
    exits("elsewhere");
}

TEST("… or exits while a thread of the host is freeing it")
{
    exits("freed");
}

int main(int argc, char **argv)
{
    const char *how = getenv("THREAD_CHILD");

    return how ? live_as_a_child(how) : check_main(argc, argv);
}
