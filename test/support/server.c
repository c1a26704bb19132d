/*
 * The scripted server of server.h: one thread accepts, one more for each connection; one lock over all that they count.
 */
#include "server.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "sockets.h"

enum {
    MOST = 256 /* connections, and requests */
};

typedef struct connection {
    server *owner;
    const server_step *step;
    pthread_t thread;
    int fd; /* -1: ended; written under the lock */
} connection;

struct server {
    int listener, port;
    pthread_t acceptor;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const server_step *const *scripts;
    connection connections[MOST];
    char *requests[MOST];
    int accepted, seen, sent, closed, opened, waited;
    bool ending;
    char url[512];
};

static void must(bool fine, const char *what)
{
    if (fine) return;
    perror(what);
    abort();
}

static void count(server *s, int *what)
{
    pthread_mutex_lock(&s->lock);
    ++*what;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* How many bytes the whole request has, judging by its head; 0: the head isn't whole. */
static size_t request_size(const char *bytes)
{
    const char *end = strstr(bytes, "\r\n\r\n");
    size_t body = 0;

    if (!end) return 0;
    for (const char *line = bytes; line < end; line = strstr(line, "\r\n") + 2)
        if (strncasecmp(line, "content-length:", 15) == 0) body = strtoul(line + 15, NULL, 10);
    return (size_t)(end + 4 - bytes) + body;
}

static bool read_request(connection *c, bool head_only)
{
    server *s = c->owner;
    size_t len = 0, cap = 1 << 16, size;
    char *bytes = malloc(cap);
    ssize_t got;

    must(bytes != NULL, "malloc");
    bytes[0] = '\0';
    while ((size = request_size(bytes)) == 0 || (!head_only && len < size)) {
        if (len + 1 >= cap) must((bytes = realloc(bytes, cap *= 2)) != NULL, "realloc");
        /* not a byte beyond this request: the next one belongs to the next step */
        got = recv(c->fd, bytes + len, size ? (size - len < cap - len - 1 ? size - len : cap - len - 1) : 1, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) {
            free(bytes);
            return false;
        }
        len += (size_t)got;
        bytes[len] = '\0';
    }
    pthread_mutex_lock(&s->lock);
    must(s->seen < MOST, "too many requests");
    s->requests[s->seen++] = bytes;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return true;
}

static bool read_bytes(connection *c, size_t count)
{
    char waste[4096];

    while (count) {
        ssize_t got = recv(c->fd, waste, count < sizeof waste ? count : sizeof waste, 0);

        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        count -= (size_t)got;
    }
    return true;
}

static bool send_all(connection *c, const server_step *step)
{
    for (size_t n = 0; n < (step->times ? step->times : 1); n++)
        for (size_t done = 0; done < step->len;) {
            ssize_t put = send(c->fd, step->bytes + done, step->len - done, MSG_NOSIGNAL);

            if (put < 0 && errno == EINTR) continue;
            if (put <= 0) return false;
            done += (size_t)put;
        }
    count(c->owner, &c->owner->sent);
    return true;
}

static bool wait_open(server *s)
{
    int turn;
    bool fine;

    pthread_mutex_lock(&s->lock);
    turn = ++s->waited;
    pthread_cond_broadcast(&s->changed);
    while (s->opened < turn && !s->ending) pthread_cond_wait(&s->changed, &s->lock);
    fine = !s->ending;
    pthread_mutex_unlock(&s->lock);
    return fine;
}

static bool play(connection *c, const server_step *step)
{
    char waste[4096];

    switch (step->act) {
    case SERVER_READ: return read_request(c, false);
    case SERVER_READ_HEAD: return read_request(c, true);
    case SERVER_READ_BYTES: return read_bytes(c, step->times);
    case SERVER_SEND: return send_all(c, step);
    case SERVER_WAIT: return wait_open(c->owner);
    case SERVER_HOLD:
        while (recv(c->fd, waste, sizeof waste, 0) > 0) continue;
        return false;
    case SERVER_RESET: {
        struct linger rst = {.l_onoff = 1, .l_linger = 0};

        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, (const char *)&rst, sizeof rst);
        return false;
    }
    case SERVER_END: break;
    }
    return false;
}

static void *serve(void *self)
{
    connection *c = self;
    server *s = c->owner;
    int fd = c->fd;

    while (play(c, c->step)) c->step++;
    /* a close with unread bytes would send a RST; what END means is "I have said all" */
    if (c->step->act == SERVER_END) {
        char waste[4096];

        shutdown(fd, SHUT_WR);
        sockets_never_wait(fd);
        while (recv(fd, waste, sizeof waste, 0) > 0) continue;
    }
    pthread_mutex_lock(&s->lock);
    c->fd = -1;
    sockets_close(fd);
    s->closed++;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void *accept_all(void *self)
{
    server *s = self;
    size_t script = 0;

    for (;;) {
        int fd = sockets_own(accept(s->listener, NULL, NULL));
        connection *c;

        if (fd < 0 && errno == EINTR) continue;
        if (fd < 0) return NULL;
        pthread_mutex_lock(&s->lock);
        must(s->accepted < MOST, "too many connections");
        if (s->ending) {
            pthread_mutex_unlock(&s->lock);
            sockets_close(fd);
            return NULL;
        }
        c = &s->connections[s->accepted];
        *c = (connection){.owner = s, .step = s->scripts[script], .fd = fd};
        must(pthread_create(&c->thread, NULL, serve, c) == 0, "pthread_create");
        s->accepted++;
        pthread_cond_broadcast(&s->changed);
        pthread_mutex_unlock(&s->lock);
        if (s->scripts[script + 1]) script++;
    }
}

server *server_new(const server_step *const *scripts)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    server *s = calloc(1, sizeof *s);

    must(s != NULL, "calloc");
    sockets_begin();
    s->scripts = scripts;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->listener = sockets_own(socket(AF_INET, SOCK_STREAM, 0));
    must(s->listener >= 0, "socket");
    must(bind(s->listener, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    must(listen(s->listener, MOST) == 0, "listen");
    must(getsockname(s->listener, (struct sockaddr *)&address, &len) == 0, "getsockname");
    s->port = ntohs(address.sin_port);
    must(pthread_create(&s->acceptor, NULL, accept_all, s) == 0, "pthread_create");
    return s;
}

void server_free(server *s)
{
    if (!s) return;
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    for (int i = 0; i < s->accepted; i++)
        if (s->connections[i].fd >= 0) shutdown(s->connections[i].fd, SHUT_RDWR);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    sockets_stop(s->listener);
    pthread_join(s->acceptor, NULL);
    for (int i = 0; i < s->accepted; i++) pthread_join(s->connections[i].thread, NULL);
    sockets_close(s->listener);
    for (int i = 0; i < s->seen; i++) free(s->requests[i]);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int server_port(const server *s)
{
    return s->port;
}

const char *server_url(server *s, const char *path)
{
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d%s", s->port, path);
    return s->url;
}

static int look(server *s, const int *what)
{
    int n;

    pthread_mutex_lock(&s->lock);
    n = *what;
    pthread_mutex_unlock(&s->lock);
    return n;
}

int server_connections(server *s)
{
    return look(s, &s->accepted);
}

int server_requests(server *s)
{
    return look(s, &s->seen);
}

const char *server_request(server *s, int n)
{
    return n >= 0 && n < look(s, &s->seen) ? s->requests[n] : NULL;
}

void server_open(server *s)
{
    count(s, &s->opened);
}

static int wait_for(server *s, const int *what, int n)
{
    struct timespec until;
    int enough;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 30;
    pthread_mutex_lock(&s->lock);
    while (*what < n && pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0) continue;
    enough = *what >= n;
    pthread_mutex_unlock(&s->lock);
    return enough;
}

int server_saw_requests(server *s, int n)
{
    return wait_for(s, &s->seen, n);
}

int server_saw_sends(server *s, int n)
{
    return wait_for(s, &s->sent, n);
}

int server_saw_waits(server *s, int n)
{
    return wait_for(s, &s->waited, n);
}

int server_saw_closes(server *s, int n)
{
    return wait_for(s, &s->closed, n);
}
