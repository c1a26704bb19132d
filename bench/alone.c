/*
 * A server and a clock in the client's own process, so that what the client does depends on nothing else: two runs then
 * execute the same instructions. Preloaded, it takes the other end of every TCP connection, answers when the client
 * waits and never earlier, and lets each look at the clock take a microsecond. $ALONE is a folder with a file for each
 * path below /v1, '/' written as '_': the bytes of its answer. For Lua it is a module, too: mark(name) has callgrind
 * write down what it has counted since the last mark. Used by bench/instructions.lua.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>
#include <valgrind/callgrind.h>

#define SHOWN __attribute__((visibility("default")))
#define MOST_PEERS 64
#define MOST_REQUEST 8192
#define LOOK_NS 1000
#define BEGAN_S 1700000000 /* Unix time */
#define UP_S 1000          /* of the other clocks */

typedef struct {
    int fd;
    size_t len;
    char bytes[MOST_REQUEST + 1];
} peer;

static peer peers[MOST_PEERS];
static size_t peer_count;
static int64_t now_ns;

static void die(const char *what)
{
    static const char nl[] = "\n";

    if (write(2, what, strlen(what)) < 0 || write(2, nl, 1) < 0) _exit(4);
    _exit(3);
}

/* --- the clock ----------------------------------------------------------------------------------------------------- */

SHOWN int clock_gettime(clockid_t id, struct timespec *out)
{
    if (id == CLOCK_PROCESS_CPUTIME_ID || id == CLOCK_THREAD_CPUTIME_ID)
        return (int)syscall(SYS_clock_gettime, id, out);
    now_ns += LOOK_NS;
    out->tv_sec = now_ns / 1000000000 + (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE ? BEGAN_S : UP_S);
    out->tv_nsec = now_ns % 1000000000;
    return 0;
}

SHOWN int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec t;

    (void)zone;
    clock_gettime(CLOCK_REALTIME, &t);
    out->tv_sec = t.tv_sec;
    out->tv_usec = t.tv_nsec / 1000;
    return 0;
}

SHOWN time_t time(time_t *out)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    if (out) *out = t.tv_sec;
    return t.tv_sec;
}

/* --- the server ---------------------------------------------------------------------------------------------------- */

SHOWN int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t len)
{
    int pair[2];

    if (address.__sockaddr__->sa_family != AF_INET) return (int)syscall(SYS_connect, fd, address.__sockaddr__, len);
    if (peer_count == MOST_PEERS) die("alone: too many connections");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0 ||
        dup3(pair[0], fd, O_CLOEXEC) < 0)
        die("alone: socketpair");
    close(pair[0]);
    peers[peer_count].fd = pair[1];
    peers[peer_count++].len = 0;
    return 0;
}

/* libcurl uses a connection again only when it knows both ends. */
static int name_of(long call, int fd, struct sockaddr *out, socklen_t *len)
{
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(1), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t room = *len;

    if (syscall(call, fd, out, len) != 0) return -1;
    if (out->sa_family == AF_UNIX && room >= sizeof name) memcpy(out, &name, *len = sizeof name);
    return 0;
}

SHOWN int getpeername(int fd, __SOCKADDR_ARG out, socklen_t *restrict len)
{
    return name_of(SYS_getpeername, fd, out.__sockaddr__, len);
}

SHOWN int getsockname(int fd, __SOCKADDR_ARG out, socklen_t *restrict len)
{
    return name_of(SYS_getsockname, fd, out.__sockaddr__, len);
}

SHOWN ssize_t getrandom(void *out, size_t len, unsigned flags)
{
    (void)flags;
    memset(out, 0x5a, len);
    return (ssize_t)len;
}

/* How long the first request is; 0: not all of it is here. */
static size_t request_length(const peer *p)
{
    const char *end = strstr(p->bytes, "\r\n\r\n"), *length = strcasestr(p->bytes, "\r\ncontent-length:");
    size_t all;

    if (!end) return 0;
    all = (size_t)(end - p->bytes) + 4;
    if (length && length < end) all += (size_t)strtol(length + 17, NULL, 10);
    return all <= p->len ? all : 0;
}

static void answer(peer *p)
{
    char path[PATH_MAX], target[256], *c;
    static char bytes[1 << 20];
    ssize_t len, sent, from = 0;
    int file;

    if (sscanf(p->bytes, "%*s /v1/%255s", target) != 1) die("alone: a request that is none");
    for (c = target; *c; c++)
        if (*c == '/') *c = '_';
    snprintf(path, sizeof path, "%s/%s", getenv("ALONE"), target);
    if ((file = open(path, O_RDONLY | O_CLOEXEC)) < 0) die(path);
    if ((len = read(file, bytes, sizeof bytes)) <= 0) die("alone: read");
    close(file);
    while (from < len) { /* it is read by whoever waits here, so all of it must fit */
        if ((sent = write(p->fd, bytes + from, (size_t)(len - from))) <= 0) die("alone: write");
        from += sent;
    }
}

static void serve(void)
{
    for (size_t i = 0; i < peer_count; i++) {
        peer *p = &peers[i];
        ssize_t len;
        size_t used;

        while (p->fd >= 0 && (len = read(p->fd, p->bytes + p->len, MOST_REQUEST - p->len)) != -1) {
            if (len == 0) {
                close(p->fd);
                p->fd = -1;
                break;
            }
            p->len += (size_t)len;
            p->bytes[p->len] = 0;
            while ((used = request_length(p)) > 0) {
                answer(p);
                memmove(p->bytes, p->bytes + used, p->len - used + 1);
                p->len -= used;
            }
        }
    }
}

static int wait_for(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    int ready;

    if (timeout_ms == 0) return (int)syscall(SYS_poll, fds, count, 0);
    serve();
    ready = (int)syscall(SYS_poll, fds, count, 0);
    if (ready == 0 && timeout_ms < 0) die("alone: it waits for ever");
    if (ready == 0) now_ns += (int64_t)timeout_ms * 1000000;
    return ready;
}

SHOWN int poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    return wait_for(fds, count, timeout_ms);
}

SHOWN int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size)
{
    (void)size;
    return wait_for(fds, count, timeout_ms);
}

/* --- for Lua --------------------------------------------------------------------------------------------------------- */

static int l_mark(lua_State *L)
{
    CALLGRIND_DUMP_STATS_AT(luaL_checkstring(L, 1));
    return 0;
}

SHOWN int luaopen_alone(lua_State *L)
{
    static const luaL_Reg functions[] = {{"mark", l_mark}, {NULL, NULL}};

    luaL_newlib(L, functions);
    return 1;
}
