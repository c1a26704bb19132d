/*
 * Threads, monitors, and what wakes an event loop, for POSIX systems: the part of os.h that os_posix.c leaves to this file.
 */
#ifndef _WIN32

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dladdr, accept4, O_PATH under -std=c11 */
#endif
#ifndef _DARWIN_C_SOURCE
#define _DARWIN_C_SOURCE
#endif

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/eventfd.h>
#endif

#include "os_posix_internal.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: SO_NOSIGPIPE, see peer_ready() */
#endif

/* --- monitors --------------------------------------------------------------------------------------------------------- */

struct dpg_os_monitor {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
};

/* Its condition waits on the clock that nobody sets; macOS has no such choice, and a wait that is relative instead. */
static bool monitor_init(dpg_os_monitor *m)
{
    pthread_condattr_t attributes;
    bool fine;

    if (pthread_condattr_init(&attributes) != 0) return false;
#ifndef __APPLE__
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
#endif
    fine = pthread_cond_init(&m->condition, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    if (fine && pthread_mutex_init(&m->mutex, NULL) == 0) return true;
    if (fine) pthread_cond_destroy(&m->condition);
    return false;
}

dpg_os_monitor *dpg_os_monitor_new(void)
{
    dpg_os_monitor *m = dpg_calloc(1, sizeof *m);

    if (m && !monitor_init(m)) {
        dpg_free(m);
        return NULL;
    }
    return m;
}

void dpg_os_monitor_free(dpg_os_monitor *m)
{
    if (!m) return;
    pthread_cond_destroy(&m->condition);
    pthread_mutex_destroy(&m->mutex);
    dpg_free(m);
}

void dpg_os_monitor_lock(dpg_os_monitor *m)
{
    pthread_mutex_lock(&m->mutex);
}

void dpg_os_monitor_unlock(dpg_os_monitor *m)
{
    pthread_mutex_unlock(&m->mutex);
}

void dpg_os_monitor_wait(dpg_os_monitor *m, int64_t ms)
{
    struct timespec t;

    if (ms <= 0) return;
#ifdef __APPLE__
    t.tv_sec = (time_t)(ms / 1000);
    t.tv_nsec = (long)(ms % 1000) * 1000000;
    pthread_cond_timedwait_relative_np(&m->condition, &m->mutex, &t);
#else
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_nsec -= 1000000000;
        t.tv_sec++;
    }
    pthread_cond_timedwait(&m->condition, &m->mutex, &t);
#endif
}

void dpg_os_monitor_notify(dpg_os_monitor *m)
{
    pthread_cond_broadcast(&m->condition);
}

/* --- the one of the whole process ---------------------------------------------------------------------------------------- */

static dpg_os_monitor global;
static pthread_once_t global_once = PTHREAD_ONCE_INIT;

static void before_fork(void)
{
    pthread_mutex_lock(&global.mutex);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&global.mutex);
}

/* The thread that forked holds it, and is the one that goes on; who waited for the condition is not here any more. */
static void after_fork_in_child(void)
{
    if (!monitor_init(&global)) abort();
}

static void make_global(void)
{
    /*
     * Its handlers are registered first, so that a fork takes this lock before that of the files' locks: whoever holds this
     * one may wait for a thread that wants the other.
     */
    dpg_os_process();
    if (!monitor_init(&global) || pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) != 0) {
        fputs("dpg: out of memory while the first lock was made\n", stderr);
        abort();
    }
}

dpg_os_monitor *dpg_os_global(void)
{
    pthread_once(&global_once, make_global);
    return &global;
}

/* --- threads ---------------------------------------------------------------------------------------------------------- */

struct dpg_os_thread {
    pthread_t thread;
    void (*run)(void *self);
    void *self;
};

/*
 * On Linux a thread that wakes up may take the processor from the one that woke it. Ours serves a host that has a frame to
 * draw, or other people to serve: it begins when a processor is free, or the host's slice is over (sched(7), SCHED_BATCH).
 */
static void let_others_go_first(void)
{
#ifdef SCHED_BATCH
    struct sched_param none;

    memset(&none, 0, sizeof none);
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &none); /* where that is not allowed, all is well without it */
#endif
}

static void *run_thread(void *arg)
{
    dpg_os_thread *t = arg;

    let_others_go_first();
    t->run(t->self);
    return NULL;
}

dpg_status dpg_os_thread_start(void (*run)(void *self), void *self, dpg_os_thread **out, dpg_error *err)
{
    dpg_os_thread *t = dpg_calloc(1, sizeof *t);
    sigset_t all, before;
    int problem;

    if (!t) return dpg_fail_nomem(err);
    t->run = run;
    t->self = self;
    /* a thread is born with its maker's mask: so there is no moment in which one of the host's signals could come to it */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    problem = pthread_create(&t->thread, NULL, run_thread, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (problem) {
        dpg_free(t);
        return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_USAGE, "no_thread", "the system gives no thread: %s",
                        strerror(problem));
    }
    *out = t;
    return DPG_OK;
}

void dpg_os_thread_join(dpg_os_thread *thread)
{
    if (!thread) return;
    pthread_join(thread->thread, NULL);
    dpg_free(thread);
}

/*
 * The host unloads a module when its Lua state closes; a thread would find its code gone, and the handler below, too. Where
 * the library is a part of the program itself, there is nothing to keep, and nothing is found.
 */
static void stay_loaded(void)
{
    Dl_info info;
    void *handle;

    if (!dladdr((void *)(uintptr_t)&stay_loaded, &info) || !info.dli_fname) return;
    handle = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
    if (handle) dlclose(handle); /* the mark stays */
}

bool dpg_os_at_exit(void (*run)(void))
{
    stay_loaded(); /* first: the handler is the library's, and would be called when that is unloaded */
    return atexit(run) == 0;
}

/* --- descriptors ------------------------------------------------------------------------------------------------------ */

static dpg_status no_wake(dpg_error *err, const char *what)
{
    return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_USAGE, "no_wake", "the system gives no %s to wake an event loop: %s",
                    what, strerror(errno));
}

static bool make_ready(int fd) /* not inherited, never waits */
{
    int flags = fcntl(fd, F_GETFL);

    return fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

static void close_fd(intptr_t *fd)
{
    if (*fd >= 0) close((int)*fd);
    *fd = -1;
}

/* --- one descriptor that is readable while it is set -------------------------------------------------------------------- */

dpg_status dpg_os_event_open(dpg_os_event *out, dpg_error *err)
{
#ifdef __linux__
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0) return no_wake(err, "eventfd");
    out->read = out->write = fd;
#else
    int fds[2];

    if (pipe(fds) < 0) return no_wake(err, "pipe");
    if (!make_ready(fds[0]) || !make_ready(fds[1])) {
        no_wake(err, "pipe");
        close(fds[0]);
        close(fds[1]);
        return err ? err->status : DPG_E_SYSTEM;
    }
    out->read = fds[0];
    out->write = fds[1];
#endif
    return DPG_OK;
}

void dpg_os_event_set(const dpg_os_event *event)
{
    static const uint64_t one = 1;
    ssize_t n;

    do n = write((int)event->write, &one, sizeof one); /* a pipe that is full is readable, too */
    while (n < 0 && errno == EINTR);
}

void dpg_os_event_clear(const dpg_os_event *event)
{
    char bytes[64];
    ssize_t n;

    do n = read((int)event->read, bytes, sizeof bytes);
    while (n == (ssize_t)sizeof bytes || (n < 0 && errno == EINTR));
}

void dpg_os_event_close(dpg_os_event *event)
{
    if (event->write == event->read) event->write = -1;
    close_fd(&event->read);
    close_fd(&event->write);
}

/* --- a socket that many can connect to ------------------------------------------------------------------------------------ */

static bool connects(const char *path) /* at once */
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    bool fine = false;

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (fd >= 0) {
        fine = make_ready(fd) && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
        close(fd);
    }
    return fine;
}

static void remove_names(dpg_os_listener *l)
{
    char path[sizeof l->folder + 8];

    if (!l->folder[0]) return;
    snprintf(path, sizeof path, "%s/wake", l->folder);
    unlink(path);
    rmdir(l->folder);
    l->folder[0] = '\0';
}

/*
 * On Linux a socket can be reached by way of a descriptor of its file, also when that has no name any more: then nothing
 * of it is on the disk, whatever becomes of this process. Where there is no /proc the name stays until it is closed.
 */
static void lose_name(dpg_os_listener *l)
{
#if defined(__linux__) && defined(O_PATH)
    char path[sizeof l->path];
    intptr_t one;

    l->named = open(l->path, O_PATH | O_CLOEXEC | O_NOFOLLOW);
    if (l->named < 0) return;
    snprintf(path, sizeof path, "/proc/self/fd/%d", (int)l->named);
    if (!connects(path)) {
        close_fd(&l->named);
        return;
    }
    if ((one = dpg_os_listener_accept(l)) >= 0) dpg_os_peer_close(one);
    snprintf(l->path, sizeof l->path, "%s", path);
    remove_names(l);
#else
    (void)connects;
#endif
}

/* A folder that only we can enter, with a short name: what an address holds is 104 bytes on some systems. */
static bool make_folder(dpg_os_listener *l)
{
    const char *base = getenv("TMPDIR");

    if (!base || base[0] != '/' || strlen(base) > 70) base = "/tmp";
    snprintf(l->folder, sizeof l->folder, "%s/dpg-wake-XXXXXX", base);
    if (mkdtemp(l->folder)) return true; /* mode 0700 */
    l->folder[0] = '\0';
    return false;
}

dpg_status dpg_os_listener_open(dpg_os_listener *out, dpg_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    dpg_os_listener l = DPG_OS_LISTENER_NONE;

    l.process = dpg_os_process();
    if (!make_folder(&l)) return no_wake(err, "folder");
    snprintf(l.path, sizeof l.path, "%.90s/wake", l.folder);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", l.path);
    l.handle = socket(AF_UNIX, SOCK_STREAM, 0);
    if (l.handle < 0 || !make_ready((int)l.handle) ||
        bind((int)l.handle, (struct sockaddr *)&address, sizeof address) < 0 || chmod(l.path, 0600) < 0 ||
        listen((int)l.handle, 128) < 0) {
        dpg_status status = no_wake(err, "socket");

        dpg_os_listener_close(&l);
        return status;
    }
    lose_name(&l);
    *out = l;
    return DPG_OK;
}

/* Without a descriptor left, accept() fails also where nobody waits. */
static bool does_anybody_wait(int listener)
{
    struct pollfd one = {.fd = listener, .events = POLLIN};

    return poll(&one, 1, 0) != 0;
}

intptr_t dpg_os_listener_accept(const dpg_os_listener *listener)
{
    int fd;

    do {
#ifdef __linux__
        fd = accept4((int)listener->handle, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
#else
        fd = accept((int)listener->handle, NULL, NULL);
#endif
    } while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
    if (fd < 0) return errno == EAGAIN || errno == EWOULDBLOCK || !does_anybody_wait((int)listener->handle) ? -1 : -2;
#ifndef __linux__
    if (!make_ready(fd)) {
        close(fd);
        return -2;
    }
#ifdef SO_NOSIGPIPE
    setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &(int){1}, sizeof(int));
#endif
#endif
    return fd;
}

void dpg_os_listener_close(dpg_os_listener *listener)
{
    close_fd(&listener->handle);
    close_fd(&listener->named);
    if (listener->process == dpg_os_process()) remove_names(listener);
    listener->folder[0] = listener->path[0] = '\0';
}

bool dpg_os_peer_tell(intptr_t peer)
{
    ssize_t n;

    do n = send((int)peer, "!", 1, MSG_NOSIGNAL); /* which never waits, as dpg_os_listener_accept() made it */
    while (n < 0 && errno == EINTR);
    return n == 1 || errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS;
}

bool dpg_os_peer_is_here(intptr_t peer)
{
    char bytes[64];
    ssize_t n;

    do n = recv((int)peer, bytes, sizeof bytes, 0);
    while (n > 0 || (n < 0 && errno == EINTR));
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

void dpg_os_peer_close(intptr_t peer)
{
    close_fd(&peer);
}

#else
#include "os.h" /* a file without a declaration is no C */
#endif
