/*
 * What wakes a host that waits elsewhere: a descriptor, a socket for many; alone, and raised by an engine's thread.
 */
#include "thread_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static dpg_wake *new_wake(dpg_wake_type type)
{
    dpg_wake *wake = NULL;
    dpg_error err = DPG_ERROR_INIT;

    if (dpg_wake_new(type, &wake, &err) != DPG_OK) CHECK_FAIL("%s: %s", err.code, err.message);
    REQUIRE(wake != NULL);
    return wake;
}

static bool readable(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, ms) == 1 && (p.revents & POLLIN);
}

static int connected(const char *path) /* as a client of an event loop does: without waiting */
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    REQUIRE(fd >= 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    CHECK_FAIL("connect: %s", strerror(errno));
    close(fd);
    return -1;
}

static int received(int fd) /* bytes that are here now; -1: the other side has hung up */
{
    char bytes[100];
    ssize_t n = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);

    if (n > 0) return (int)n;
    return n < 0 && errno == EAGAIN ? 0 : -1;
}

/* --- a descriptor ------------------------------------------------------------------------------------------------------------- */

TEST("is readable from raise to lower, however often it is raised")
{
    dpg_wake *wake = new_wake(DPG_WAKE_FD);
    int fd = dpg_wake_fd(wake);

    CHECK(fd >= 0);
    CHECK_STR(dpg_wake_path(wake), "");
    CHECK(!readable(fd, 0));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++) dpg_wake_raise(wake);
        CHECK(readable(fd, 0));
        CHECK(readable(fd, 0)); /* a level, not an edge */
        dpg_wake_lower(wake);
        CHECK(!readable(fd, 0));
        dpg_wake_lower(wake);
    }
    dpg_wake_raise(NULL);
    dpg_wake_free(NULL);
    dpg_wake_free(wake);
}

TEST("is inherited by no program, and does not stop a host from sleeping")
{
    dpg_wake *fd = new_wake(DPG_WAKE_FD), *many = new_wake(DPG_WAKE_SOCKET);
    char link[64], to[256];

    CHECK(fcntl(dpg_wake_fd(fd), F_GETFD) & FD_CLOEXEC);
    CHECK(fcntl(dpg_wake_fd(fd), F_GETFL) & O_NONBLOCK);
    for (int i = 3; i < 256; i++) { /* and none of what a socket is made of */
        ssize_t n;

        snprintf(link, sizeof link, "/proc/self/fd/%d", i);
        if ((n = readlink(link, to, sizeof to - 1)) < 0) continue;
        to[n] = '\0';
        if (strstr(to, "socket:") || strstr(to, "dpg-wake") || strstr(to, "eventfd"))
            CHECK(fcntl(i, F_GETFD) & FD_CLOEXEC);
    }
    dpg_wake_free(fd);
    dpg_wake_free(many);
}

/* --- a socket ------------------------------------------------------------------------------------------------------------------- */

TEST("gives each connection one byte for each time that it is raised")
{
    dpg_wake *wake = new_wake(DPG_WAKE_SOCKET);
    int fds[40];

    CHECK_INT(dpg_wake_fd(wake), -1);
    for (int i = 0; i < 40; i++) fds[i] = connected(dpg_wake_path(wake));
    dpg_wake_lower(wake);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 40; i++) CHECK_INT(received(fds[i]), 0);
        dpg_wake_raise(wake);
        dpg_wake_raise(wake);
        for (int i = 0; i < 40; i++) CHECK_INT(received(fds[i]), 1);
        dpg_wake_lower(wake);
    }
    for (int i = 0; i < 40; i++) close(fds[i]);
    dpg_wake_free(wake);
}

TEST("wakes who has just connected, and who has connected while it was raised and then lowered it")
{
    dpg_wake *wake = new_wake(DPG_WAKE_SOCKET);
    int early = connected(dpg_wake_path(wake)), late;

    dpg_wake_raise(wake); /* nobody has let it in before */
    CHECK_INT(received(early), 1);
    late = connected(dpg_wake_path(wake));
    dpg_wake_lower(wake);
    dpg_wake_raise(wake);
    CHECK_INT(received(late), 1);
    CHECK_INT(received(early), 1);
    close(early);
    close(late);
    dpg_wake_free(wake);
}

TEST("says so when somebody can't be let in, and hears of him once he can")
{
    dpg_wake *wake = new_wake(DPG_WAKE_SOCKET);
    struct rlimit few, before;
    int fd = connected(dpg_wake_path(wake)), spare = dup(fd), holes[64], count = 0;
    const char *preload = getenv("LD_PRELOAD");

    if (preload && strstr(preload, "vgpreload")) {
        printf("# valgrind lets one in, and hangs up when the number of the descriptor is too high\n");
        close(spare);
        close(fd);
        dpg_wake_free(wake);
        return;
    }
    getrlimit(RLIMIT_NOFILE, &before);
    few = before;
    few.rlim_cur = (rlim_t)spare + 1;
    setrlimit(RLIMIT_NOFILE, &few);
    while (count < 64 && (holes[count] = dup(fd)) >= 0) count++; /* below it */
    dpg_wake_raise(wake);
    CHECK(!dpg_wake_lower(wake));
    CHECK_INT(received(fd), 0);
    close(spare);
    CHECK(dpg_wake_lower(wake));
    dpg_wake_raise(wake);
    CHECK_INT(received(fd), 1);
    while (count) close(holes[--count]);
    setrlimit(RLIMIT_NOFILE, &before);
    close(fd);
    dpg_wake_free(wake);
}

TEST("forgets those who have gone, and is never full of them")
{
    dpg_wake *wake = new_wake(DPG_WAKE_SOCKET);
    int before, here = connected(dpg_wake_path(wake));

    dpg_wake_lower(wake);
    before = entries("/proc/self/fd");
    for (int i = 0; i < 1000; i++) { /* a listener has room for 128 that nobody has let in */
        int fd = connected(dpg_wake_path(wake));

        if (fd < 0) break;
        dpg_wake_lower(wake);
        if (i % 3 == 0) dpg_wake_raise(wake);
        close(fd);
    }
    dpg_wake_lower(wake);
    CHECK_INT(entries("/proc/self/fd"), before);
    dpg_wake_raise(wake);
    CHECK(received(here) > 0);
    close(here);
    dpg_wake_free(wake);
}

TEST("never waits for a client that reads nothing")
{
    dpg_wake *wake = new_wake(DPG_WAKE_SOCKET);
    int deaf = connected(dpg_wake_path(wake)), other = connected(dpg_wake_path(wake)), fd;
    int64_t begun = now_ms();

    for (int i = 0; i < 20000; i++) {
        dpg_wake_raise(wake);
        dpg_wake_lower(wake);
    }
    CHECK(now_ms() - begun < 30000);
    while ((fd = received(other)) > 0) continue;
    CHECK_INT(fd, 0);
    dpg_wake_raise(wake);
    CHECK_INT(received(other), 1);
    CHECK(received(deaf) > 0);
    close(deaf);
    close(other);
    dpg_wake_free(wake);
}

static int wakes_in(const char *folder)
{
    DIR *d = opendir(folder);
    struct dirent *e;
    int n = 0;

    while (d && (e = readdir(d)) != NULL) n += strncmp(e->d_name, "dpg-wake-", 9) == 0;
    if (d) closedir(d);
    return n;
}

TEST("leaves nothing on the disk, also when the process is killed")
{
    char folder[] = "/tmp/dpg-test-XXXXXX";
    static dpg_wake *volatile wake; /* where a leak checker finds it in the child, too */
    pid_t child;
    int status;

    REQUIRE(mkdtemp(folder) != NULL);
    setenv("TMPDIR", folder, 1);
    wake = new_wake(DPG_WAKE_SOCKET);
#ifdef __linux__
    CHECK_INT(wakes_in(folder), 0); /* it has no name from the beginning */
    CHECK(strncmp(dpg_wake_path(wake), "/proc/self/fd/", 14) == 0);
    child = fork();
    if (child == 0) {
        static dpg_wake *volatile kept;

        kept = new_wake(DPG_WAKE_SOCKET);
        dpg_wake_raise(kept);
        kill(getpid(), SIGKILL);
    }
    REQUIRE(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
#endif
    dpg_wake_free(wake);
    CHECK_INT(wakes_in(folder), 0);
    unsetenv("TMPDIR");
    CHECK_INT(rmdir(folder), 0);
}

TEST("does nothing in a child made by fork, and loses nothing there of its parent's")
{
    dpg_wake *fd = new_wake(DPG_WAKE_FD), *many = new_wake(DPG_WAKE_SOCKET);
    int client = connected(dpg_wake_path(many)), status;
    pid_t child;

    dpg_wake_lower(many);
    dpg_wake_raise(fd);
    child = fork();
    if (child == 0) {
        dpg_wake_lower(fd);
        dpg_wake_raise(many);
        dpg_wake_free(fd);
        dpg_wake_free(many);
        _exit(0);
    }
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
    CHECK(readable(dpg_wake_fd(fd), 0));
    CHECK_INT(received(client), 0);
    dpg_wake_raise(many);
    CHECK_INT(received(client), 1);
    close(client);
    client = connected(dpg_wake_path(many)); /* the child has taken nothing away */
    dpg_wake_lower(many);
    dpg_wake_raise(many);
    CHECK_INT(received(client), 1);
    close(client);
    dpg_wake_free(fd);
    dpg_wake_free(many);
}

/* --- raised by engines -------------------------------------------------------------------------------------------------------------- */

/* Waits by the wake alone, as a host does that has a loop of its own. */
static void wait_by(dpg_wake *wake, int fd)
{
    if (!readable(fd, 30000)) CHECK_FAIL("nobody woke us");
    received(fd);
    dpg_wake_lower(wake);
}

static void serve_by(dpg_wake *wake, int fd)
{
    int n = times("THREAD_CALLS", 3000), ended = 0, started = 0;

    REQUIRE(dpg_engine_thread(engine, wake, NULL) == DPG_OK);
    dpg_wake_lower(wake);
    while (ended < n && !check_faults) {
        dpg_note note;

        for (; started < n && started - ended < 10; started++) get("/me");
        wait_by(wake, fd);
        for (dpg_engine_next(engine, &note); note.type; dpg_engine_next(engine, &note)) {
            if (note.type != DPG_NOTE_DONE) continue;
            dpg_engine_abandon(engine, note.id);
            ended++;
        }
    }
}

TEST("tells a host of each thing in the outbox, by a descriptor")
{
    dpg_wake *wake = new_wake(DPG_WAKE_FD);

    begin();
    serve_by(wake, dpg_wake_fd(wake));
    dpg_wake_free(wake); /* the engine has its own reference */
    end();
}

TEST("tells a host of each thing in the outbox, by a socket")
{
    dpg_wake *wake = new_wake(DPG_WAKE_SOCKET);
    int fd = connected(dpg_wake_path(wake));

    begin();
    serve_by(wake, fd);
    close(fd);
    dpg_wake_free(wake);
    end();
}

TEST("is raised at once for what lies in the outbox when an engine gets it")
{
    dpg_wake *first = new_wake(DPG_WAKE_FD), *second = new_wake(DPG_WAKE_FD);
    dpg_id id;

    begin();
    id = get("/me");
    /* that an attempt begins is the first, and wakes nobody */
    while (dpg_engine_counts(engine).notes < 2) dpg_engine_wait(engine, 1000, NULL);
    CHECK(dpg_engine_thread(engine, first, NULL) == DPG_OK);
    CHECK(readable(dpg_wake_fd(first), 0));
    while (dpg_engine_counts(engine).calls) a_moment();
    CHECK_INT(status_of(id), 200);
    dpg_wake_lower(first);
    CHECK(dpg_engine_thread(engine, second, NULL) == DPG_OK); /* instead of the first */
    dpg_wake_lower(second);
    id = get("/me");
    CHECK(readable(dpg_wake_fd(second), 30000));
    CHECK(!readable(dpg_wake_fd(first), 0));
    CHECK_INT(status_of(id), 200);
    dpg_wake_free(first);
    dpg_wake_free(second);
    end();
}

TEST("serves several engines")
{
    dpg_wake *wake = new_wake(DPG_WAKE_FD);
    dpg_engine *engines[3];
    int ended = 0, n = times("THREAD_CALLS", 3000) / 3;

    begin();
    for (int i = 0; i < 3; i++) {
        engines[i] = i ? new_engine(wake) : engine;
        CHECK(dpg_engine_thread(engines[i], wake, NULL) == DPG_OK);
    }
    for (int i = 0; i < n; i++) {
        engine = engines[i % 3];
        get("/me");
        if (i % 30 != 29) continue;
        while (ended <= i && !check_faults) {
            wait_by(wake, dpg_wake_fd(wake));
            for (int k = 0; k < 3; k++) {
                dpg_note note;

                for (dpg_engine_next(engines[k], &note); note.type; dpg_engine_next(engines[k], &note)) {
                    if (note.type != DPG_NOTE_DONE) continue;
                    dpg_engine_abandon(engines[k], note.id);
                    ended++;
                }
            }
        }
    }
    for (int k = 1; k < 3; k++) dpg_engine_free(engines[k], 0);
    engine = engines[0];
    dpg_wake_free(wake);
    end();
}

CHECK_MAIN()
