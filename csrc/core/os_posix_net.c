/*
 * What libcurl leaves to its user, for POSIX systems: the signal of a broken pipe, and sockets that no child
 * inherits.
 */
#ifndef _WIN32

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* SOCK_CLOEXEC under -std=c11 */
#endif
#ifndef _DARWIN_C_SOURCE
#define _DARWIN_C_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>

#include "os.h"

/* --- SIGPIPE ------------------------------------------------------------------------------------------------------ */

enum {
    IDLE,   /* one was pending before, which is the caller's: nothing to undo */
    CAUGHT, /* it was blocked already; one that comes from libcurl is still to be taken out */
    BLOCKED /* by us */
};

static bool is_pending(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigpending(&set);
    return sigismember(&set, SIGPIPE) == 1;
}

int dpg_os_pipe_hold(void)
{
    sigset_t set, old;

    if (is_pending()) return IDLE;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, &old);
    return sigismember(&old, SIGPIPE) == 1 ? CAUGHT : BLOCKED;
}

void dpg_os_pipe_release(int held)
{
    sigset_t set;

    if (held == IDLE) return;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    if (is_pending()) {
#ifdef __APPLE__
        int sig; /* macOS has no sigtimedwait; it is pending, so this doesn't wait */

        sigwait(&set, &sig);
#else
        static const struct timespec now = {0, 0};

        while (sigtimedwait(&set, NULL, &now) < 0 && errno == EINTR) continue;
#endif
    }
    if (held == BLOCKED) pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* --- sockets ------------------------------------------------------------------------------------------------------ */

intptr_t dpg_os_socket(int family, int type, int protocol)
{
#ifdef SOCK_CLOEXEC
    return socket(family, type | SOCK_CLOEXEC, protocol);
#else
    int fd = socket(family, type, protocol); /* macOS: a child that starts in between has it */

    if (fd >= 0) fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
#endif
}

#else
#include "os.h" /* a file without a declaration is no C */
#endif
