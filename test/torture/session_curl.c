/*
 * The life of a signed-in session once more, with allocation 1, 2, 3 … failing in turn, over what it is made of in earnest:
 * libcurl, a real socket, the system's clock, a store in a file. The server behind the socket is the strict one of the
 * tests' small world. libcurl's own memory never fails here.
 */
#include "check.h"
#include "os.h"
#include "world.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

/* --- a server: one request on each connection, one after the other ------------------------------------------------------- */

static world *server_world;
static pthread_mutex_t server_lock = PTHREAD_MUTEX_INITIALIZER;
static int server_socket;
static char base[64];

static void copy_field(const char *head, const char *name, char *out, size_t size)
{
    const char *at = strstr(head, name);

    out[0] = '\0';
    if (at) snprintf(out, size, "%.*s", (int)strcspn(at + strlen(name), "\r"), at + strlen(name));
}

/* The whole request, or NULL: the peer has gone. */
static char *read_request(int fd, char *buf, size_t size, size_t *head)
{
    size_t used = 0, body = 0;
    char length[16];

    for (;;) {
        char *end = strstr(buf, "\r\n\r\n");
        ssize_t got;

        if (end) {
            *head = (size_t)(end - buf) + 4;
            copy_field(buf, "Content-Length: ", length, sizeof length);
            body = (size_t)atoi(length);
            if (used >= *head + body) return buf;
        }
        got = used < size - 1 ? read(fd, buf + used, size - 1 - used) : 0;
        if (got <= 0) return NULL;
        used += (size_t)got;
        buf[used] = '\0';
    }
}

static void serve_one(int fd)
{
    char buf[16384] = "", answer[2048];
    world_request r = {0};
    size_t head = 0;

    if (!read_request(fd, buf, sizeof buf, &head)) return;
    sscanf(buf, "%15s %255s", r.method, r.url);
    copy_field(buf, "Authorization: Bearer ", r.bearer, sizeof r.bearer);
    r.body = buf + head;
    pthread_mutex_lock(&server_lock);
    world_serve(server_world, &r);
    pthread_mutex_unlock(&server_lock);
    snprintf(answer, sizeof answer,
             "HTTP/1.1 %d So\r\nContent-Type: application/json\r\nX-One: 1\r\nX-Two: 2\r\nConnection: close\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             r.status, strlen(r.answer), r.answer);
    free(r.answer);
    if (write(fd, answer, strlen(answer)) < 0) return;
    shutdown(fd, SHUT_WR);
    while (read(fd, buf, sizeof buf) > 0) continue;
}

static void *serve(void *unused)
{
    int fd;

    while ((fd = accept(server_socket, NULL, NULL)) >= 0) {
        serve_one(fd);
        close(fd);
    }
    return unused;
}

static pthread_t listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    pthread_t thread;

    server_socket = socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(bind(server_socket, (struct sockaddr *)&address, len) == 0 && listen(server_socket, 20) == 0);
    REQUIRE(getsockname(server_socket, (struct sockaddr *)&address, &len) == 0);
    snprintf(base, sizeof base, "http://127.0.0.1:%d/v1", ntohs(address.sin_port));
    REQUIRE(pthread_create(&thread, NULL, serve, NULL) == 0);
    return thread;
}

/* --- a life ------------------------------------------------------------------------------------------------------------------ */

typedef struct client {
    dpg_engine *engine;
    dpg_store *store;
    dpg_credential *person;
} client;

static char folder[256];

static bool ends(client *c, dpg_id id, int status)
{
    dpg_completion done;
    bool fine;

    for (int i = 0; dpg_engine_take(c->engine, id, &done, NULL) != DPG_OK; i++) {
        dpg_note note;

        dpg_engine_wait(c->engine, 1000, NULL);
        do {
            dpg_engine_next(c->engine, &note);
        } while (note.type != DPG_NOTE_NONE);
        if (i < 1000) continue;
        CHECK_FAIL("a call never ended");
        return false;
    }
    fine = done.error.kind == DPG_KIND_NONE && done.status == status;
    dpg_completion_clear(&done);
    return fine;
}

static dpg_spec spec_of(const char *method, const char *path, char url[200])
{
    dpg_spec spec = DPG_SPEC_INIT;

    snprintf(url, 200, "%s%s", base, path);
    spec.method = dpg_cstr(method);
    spec.url = dpg_cstr(url);
    spec.base_ms = spec.cap_ms = 1;
    return spec;
}

static bool get(client *c, const char *account)
{
    char url[200];
    dpg_spec spec = spec_of("GET", "/me", url);
    dpg_id id;

    spec.credential = c->person;
    spec.account = dpg_cstr(account);
    return dpg_engine_start(c->engine, &spec, &id, NULL) == DPG_OK && ends(c, id, 200);
}

static bool sign_in(client *c)
{
    char url[200];
    dpg_spec spec = spec_of("POST", "/auth/sign_in", url);
    dpg_id id;

    spec.body = DPG_LIT("{\"password\":\"" WORLD_PASSWORD "\"}");
    spec.has_body = true;
    return dpg_credential_sign_in(c->person, &spec, &id, NULL) == DPG_OK && ends(c, id, 200);
}

static dpg_status open_client(client *c, dpg_error *err)
{
    dpg_engine_options options = {.user_agent = DPG_LIT("torture"), .proxy_set = true, .events = true};
    dpg_status status;
    char path[300];

    memset(c, 0, sizeof *c);
    snprintf(path, sizeof path, "%s/session", folder);
    if ((status = dpg_store_file_new(dpg_cstr(path), &c->store, err)) != DPG_OK) return status;
    if ((status = dpg_engine_new(&options, &c->engine, err)) != DPG_OK) return status;
    return dpg_credential_person(c->engine, dpg_cstr(base), c->store, NULL, &c->person, err);
}

static void close_client(client *c)
{
    dpg_credential_free(c->person);
    dpg_engine_free(c->engine, 5000);
    dpg_store_free(c->store);
}

static void empty_folder(void)
{
    static const char *const tails[] = {"", ".lock", ".mark", ".spare"};
    char path[300];

    for (size_t i = 0; i < sizeof tails / sizeof *tails; i++) {
        snprintf(path, sizeof path, "%s/session%s", folder, tails[i]);
        unlink(path);
    }
}

/* One run with allocation `n` failing; false: it had none left to fail. */
static bool run(uint64_t n)
{
    world *w = world_new();
    dpg_error err = DPG_ERROR_INIT;
    int answered = 0;
    bool failed;
    client c;

    pthread_mutex_lock(&server_lock);
    server_world = w;
    pthread_mutex_unlock(&server_lock);
    dpg_alloc_fail(n);
    if (open_client(&c, &err) == DPG_OK) {
        answered += sign_in(&c);
        answered += get(&c, "a");
        answered += get(&c, "b");
    } else {
        CHECK_INT(err.status, DPG_E_NOMEM);
    }
    failed = dpg_alloc_failed();
    dpg_alloc_fail(0);
    if (!failed) CHECK_INT(answered, 3);
    close_client(&c);
    REQUIRE(open_client(&c, &err) == DPG_OK);
    if (get(&c, "c") != (w->family > 0))
        CHECK_FAIL("allocation %d: what was a session goes on, and nothing else", (int)n);
    close_client(&c);
    if (w->spent_presented) CHECK_FAIL("allocation %d: a spent token was presented", (int)n);
    if (w->family > 1) CHECK_FAIL("allocation %d: signed in twice", (int)n);
    pthread_mutex_lock(&server_lock);
    world_free(w);
    server_world = NULL;
    pthread_mutex_unlock(&server_lock);
    empty_folder();
    return failed;
}

TEST("loses no token over libcurl and a file, whichever allocation fails")
{
    pthread_t thread = listen_somewhere();
    uint64_t n = 1;

    snprintf(folder, sizeof folder, "%s/dpg-torture-curl-%d", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp",
             (int)getpid());
    while (run(n) && check_faults < 20) n++;
    printf("# %d allocations\n", (int)n - 1);
    CHECK(n > 100);
    shutdown(server_socket, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(server_socket);
    rmdir(folder);
}

CHECK_MAIN()
