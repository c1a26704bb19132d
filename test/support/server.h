/*
 * A small server on a free loopback port that does what a script says, good or bad: for C tests that need a real socket.
 * The first connection plays the first script, the second the second; the last script serves all that follow. Each
 * connection has a thread of its own, and a peer that goes away ends it. Nothing here depends on time: a script that must
 * wait waits for server_open(), a test that must wait waits for what the server has seen.
 *
 *     static const server_step hello[] = {READ, SEND("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), READ, RESET, END};
 *     server *s = server_new((const server_step *[]){hello, NULL});
 */
#ifndef DPG_TEST_SERVER_H
#define DPG_TEST_SERVER_H

#include <stddef.h>

typedef enum server_act {
    SERVER_END,        /* close, as a server does that has said all */
    SERVER_READ,       /* read one whole request (head, and the body that Content-Length announces), and count it */
    SERVER_READ_HEAD,  /* read the head of a request alone, and count it; the body waits in the socket */
    SERVER_READ_BYTES, /* read `times` bytes more and forget them */
    SERVER_SEND,       /* bytes, `times` times over; 0: once */
    SERVER_WAIT,  /* until server_open() has been called for it: the first wait of a server needs one call, and so on */
    SERVER_RESET, /* end the connection with a RST */
    SERVER_HOLD   /* read and forget, until the peer closes */
} server_act;

typedef struct server_step {
    server_act act;
    const char *bytes;
    size_t len, times;
} server_step;

#define READ                    \
    {                           \
        SERVER_READ, NULL, 0, 0 \
    }
#define READ_HEAD                    \
    {                                \
        SERVER_READ_HEAD, NULL, 0, 0 \
    }
#define READ_BYTES(count)                 \
    {                                     \
        SERVER_READ_BYTES, NULL, 0, count \
    }
#define SEND(literal)                                   \
    {                                                   \
        SERVER_SEND, "" literal, sizeof(literal) - 1, 1 \
    }
#define SEND_TIMES(count, literal)                          \
    {                                                       \
        SERVER_SEND, "" literal, sizeof(literal) - 1, count \
    }
#define WAIT                    \
    {                           \
        SERVER_WAIT, NULL, 0, 0 \
    }
#define RESET                    \
    {                            \
        SERVER_RESET, NULL, 0, 0 \
    }
#define HOLD                    \
    {                           \
        SERVER_HOLD, NULL, 0, 0 \
    }
#define END                    \
    {                          \
        SERVER_END, NULL, 0, 0 \
    }

typedef struct server server;

/* `scripts` ends with NULL; the steps are borrowed. A server that can't be made ends the program. */
server *server_new(const server_step *const *scripts);
void server_free(server *s); /* closes everything and joins its threads; takes NULL */

int server_port(const server *s);
const char *server_url(server *s,
                       const char *path); /* "http://127.0.0.1:PORT" and the path; good until the next call */

int server_connections(server *s);            /* accepted so far */
int server_requests(server *s);               /* read whole so far */
const char *server_request(server *s, int n); /* the bytes of request `n` (from 0), NUL-terminated; NULL: not seen */

void server_open(server *s); /* let one WAIT more go on */

/* Wait until so much has been seen; false when it doesn't come within 30 s. */
int server_saw_requests(server *s, int n);
int server_saw_sends(server *s, int n);  /* SEND steps that are wholly in the kernel's hands */
int server_saw_waits(server *s, int n);  /* WAIT steps that were reached */
int server_saw_closes(server *s, int n); /* connections that have ended */

#endif
