/*
 * The server of web.h: one thread accepts, one more for each connection; one lock over all that they share.
 */
#include "web.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sockets.h"

enum {
    MOST = 512,     /* connections, over all of a test */
    SEEN = 1 << 15, /* requests */
    ROOM = 16384
};

typedef struct peer {
    web *owner;
    pthread_t thread;
    int fd; /* -1: ended; written under the lock */
} peer;

struct web {
    world *w;
    int listener;
    pthread_t acceptor;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    peer peers[MOST];
    int count;
    char (*paths)[48];
    int seen;
    bool ending, released, hold_exchanges;
    char base[64];
};

typedef struct request {
    char bytes[ROOM];
    size_t len, head, body; /* of the bytes that are here: the head, and the body that its length announces */
} request;

static void must(bool fine, const char *what)
{
    if (fine) return;
    perror(what);
    abort();
}

static void field(const char *head, const char *name, char *out, size_t size)
{
    const char *at = strstr(head, name);

    out[0] = '\0';
    if (at) snprintf(out, size, "%.*s", (int)strcspn(at + strlen(name), "\r"), at + strlen(name));
}

static bool send_all(int fd, const char *bytes, size_t len)
{
    while (len) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

/* The head of the next request, in r->bytes with a NUL behind it. False: the peer has gone. */
static bool read_head(int fd, request *r)
{
    char length[32], *end;

    for (;;) {
        ssize_t n;

        r->bytes[r->len] = '\0';
        if ((end = strstr(r->bytes, "\r\n\r\n")) != NULL) break;
        n = recv(fd, r->bytes + r->len, ROOM - 1 - r->len, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        r->len += (size_t)n;
    }
    r->head = (size_t)(end - r->bytes) + 4;
    field(r->bytes, "Content-Length: ", length, sizeof length);
    r->body = (size_t)strtoul(length, NULL, 10);
    return true;
}

/* The body: in r->bytes where it fits, else read and forgotten. */
static bool read_body(int fd, request *r)
{
    size_t here = r->len - r->head;

    if (r->head + r->body < ROOM) {
        while (here < r->body) {
            ssize_t n = recv(fd, r->bytes + r->len, r->body - here, 0);

            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) return false;
            here += (size_t)n;
            r->len += (size_t)n;
            r->bytes[r->len] = '\0';
        }
        return true;
    }
    while (here < r->body) {
        char bytes[65536];
        ssize_t n = recv(fd, bytes, r->body - here < sizeof bytes ? r->body - here : sizeof bytes, 0);

        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        here += (size_t)n;
    }
    return true;
}

static void next_request(request *r) /* what came with this one already */
{
    size_t size = r->head + r->body < ROOM ? r->head + r->body : r->len;

    if (size > r->len) size = r->len;
    memmove(r->bytes, r->bytes + size, r->len - size);
    r->len -= size;
}

static bool send_big(int fd, size_t len)
{
    char head[128], bytes[26 * 1024];
    int n = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: x/y\r\nContent-Length: %zu\r\n\r\n", len);

    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (char)('a' + i % 26);
    if (!send_all(fd, head, (size_t)n)) return false;
    while (len) {
        size_t part = len < sizeof bytes ? len : sizeof bytes;

        if (!send_all(fd, bytes, part)) return false;
        len -= part;
    }
    return true;
}

static bool answer(web *s, int fd, request *r, const char *path)
{
    char text[4096], body[64];
    world_request q = {0};
    int n;

    sscanf(r->bytes, "%15s %255s", q.method, q.url);
    field(r->bytes, "Authorization: Bearer ", q.bearer, sizeof q.bearer);
    if (strncmp(path, "/big/", 5) == 0) return send_big(fd, (size_t)strtoul(path + 5, NULL, 10));
    if (strncmp(path, "/sink", 5) == 0) {
        n = snprintf(body, sizeof body, "%zu", r->body);
        n = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", n, body);
        return send_all(fd, text, (size_t)n);
    }
    q.body = r->bytes + r->head;
    pthread_mutex_lock(&s->lock);
    world_serve(s->w, &q);
    pthread_mutex_unlock(&s->lock);
    n = snprintf(text, sizeof text, "HTTP/1.1 %d So\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                 q.status, strlen(q.answer), q.answer);
    free(q.answer);
    return send_all(fd, text, (size_t)n);
}

/* Noted, and held if it is one that is held. */
static void note(web *s, const char *path)
{
    pthread_mutex_lock(&s->lock);
    must(s->seen < SEEN, "too many requests");
    snprintf(s->paths[s->seen++], sizeof *s->paths, "%.47s", path);
    pthread_cond_broadcast(&s->changed);
    while (!s->released && !s->ending &&
           (strncmp(path, "/hold", 5) == 0 || (s->hold_exchanges && strstr(path, "/auth/token"))))
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

static void *serve(void *arg)
{
    peer *p = arg;
    web *s = p->owner;
    request *r = calloc(1, sizeof *r);

    must(r != NULL, "calloc");
    while (read_head(p->fd, r)) {
        char path[256] = "";
        const char *rest = path;

        sscanf(r->bytes, "%*s %255s", path);
        if (strncmp(path, "/v1/", 4) == 0) rest = path + 3;
        note(s, rest);
        if (!read_body(p->fd, r) || !answer(s, p->fd, r, rest)) break;
        next_request(r);
    }
    free(r);
    pthread_mutex_lock(&s->lock);
    sockets_close(p->fd);
    p->fd = -1;
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void *accept_all(void *arg)
{
    web *s = arg;
    int fd;

    while ((fd = accept(s->listener, NULL, NULL)) >= 0) {
        peer *p = &s->peers[s->count];
        int on = 1;

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, (const char *)&on, sizeof on);
        must(s->count < MOST, "too many connections");
        p->owner = s;
        p->fd = fd;
        must(pthread_create(&p->thread, NULL, serve, p) == 0, "pthread_create");
        pthread_mutex_lock(&s->lock);
        s->count++;
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

web *web_new(world *w)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    web *s = calloc(1, sizeof *s);

    must(s && (s->paths = calloc(SEEN, sizeof *s->paths)), "calloc");
    s->w = w;
    sockets_begin();
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->listener = sockets_own(socket(AF_INET, SOCK_STREAM, 0));
    must(bind(s->listener, (struct sockaddr *)&address, len) == 0 && listen(s->listener, 128) == 0, "listen");
    must(getsockname(s->listener, (struct sockaddr *)&address, &len) == 0, "getsockname");
    snprintf(s->base, sizeof s->base, "http://127.0.0.1:%d/v1", ntohs(address.sin_port));
    must(pthread_create(&s->acceptor, NULL, accept_all, s) == 0, "pthread_create");
    return s;
}

void web_free(web *s)
{
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    sockets_stop(s->listener);
    pthread_join(s->acceptor, NULL);
    sockets_close(s->listener);
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < s->count; i++)
        if (s->peers[i].fd >= 0) shutdown(s->peers[i].fd, SHUT_RDWR);
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < s->count; i++) pthread_join(s->peers[i].thread, NULL);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->paths);
    free(s);
}

const char *web_base(const web *s)
{
    return s->base;
}

int web_number(web *s, const int *number)
{
    int n;

    pthread_mutex_lock(&s->lock);
    n = *number;
    pthread_mutex_unlock(&s->lock);
    return n;
}

void web_set(web *s, int *number, int to)
{
    pthread_mutex_lock(&s->lock);
    *number = to;
    pthread_mutex_unlock(&s->lock);
}

void web_release(web *s)
{
    pthread_mutex_lock(&s->lock);
    s->released = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void web_hold_exchanges(web *s)
{
    pthread_mutex_lock(&s->lock);
    s->hold_exchanges = true;
    s->released = false;
    pthread_mutex_unlock(&s->lock);
}

static int count_locked(const web *s, const char *word)
{
    int count = 0;

    for (int i = 0; i < s->seen; i++) count += strstr(s->paths[i], word) != NULL;
    return count;
}

bool web_has_seen(web *s, const char *word, int n)
{
    int count;

    pthread_mutex_lock(&s->lock);
    count = count_locked(s, word);
    pthread_mutex_unlock(&s->lock);
    return count >= n;
}

bool web_saw(web *s, const char *word, int n)
{
    struct timespec until;
    bool saw;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 30;
    pthread_mutex_lock(&s->lock);
    while (!(saw = count_locked(s, word) >= n) && pthread_cond_timedwait(&s->changed, &s->lock, &until) == 0) continue;
    pthread_mutex_unlock(&s->lock);
    return saw;
}
