/*
 * What the five files of the transport over libcurl share: transport_curl.c (the door, stepping), _options.c (what it is made
 * with), _request.c (a request's options and callbacks), _form.c (a body in parts), _result.c (what an end means). Nobody else
 * includes this.
 */
#ifndef DPG_TRANSPORT_CURL_INTERNAL_H
#define DPG_TRANSPORT_CURL_INTERNAL_H

#include "curl_compat.h"
#include "drain.h"
#include "drivers.h"
#include "headers.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

enum {
    HEAD_MAX = 256 * 1024,     /* all header lines of an answer together, 1xx ones too */
    HEADERS_MAX = 2048,        /* … and how many of them the final answer may have */
    RESPONSE_MAX = 64 << 20,   /* a body, where the request doesn't say */
    UPLOAD_BUFFER = 512 << 10, /* how much of a form is read, and handed to the system, at once: more is no faster */
    FILE_BUFFER = 512 << 10,   /* how much of a body is taken from the system at once, on its way to a file … */
    CHUNK_BUFFER = 64 << 10,   /* … and to chunks: this much may lie in libcurl while they are full */
    HEAD_FIRST = 1023,         /* room for the head of an answer at first, which for most is enough */
    ONCE_HEAD = 32 * 1024, /* what a `once` request has room for before it leaves: the answer to an exchange holds … */
    ONCE_HEADERS = 256,    /* … the only copy of a token, and must not be lost to a moment without memory */
    ONCE_BODY = 64 * 1024,
    WARM_MS = 10000,  /* how long a connection may take that is made before its first request */
    CONNECTIONS = 16, /* where the options don't say */
    SPARE = 8         /* connections kept beyond max_connections, and handles: exchanges aren't counted in it */
};

typedef struct curl_transport curl_transport;
struct form_source;

/* What stays set in an easy handle: requests that agree in all of it follow each other on one, and set only what differs. */
typedef struct transfer_kind {
    char method[8];
    bool keeps; /* false: nothing is kept; the handle is made anew */
    bool posts; /* libcurl sends it as a POST, whatever its name: it has a body, or says that the body's length is 0 */
    bool http2, loopback;
} transfer_kind;

/* What of a request libcurl is given as text, in one block of ours. */
typedef struct transfer_text {
    char *url;
    struct curl_slist *lines; /* header lines; NULL: none */
} transfer_text;

/* One transfer: in `active` from start to its end, then in `ended` until somebody takes it; then `idle`, if it keeps its handle. */
typedef struct transfer {
    struct transfer *prev, *next;
    curl_transport *owner;
    CURL *easy;
    transfer_kind kind;
    char says[CURL_ERROR_SIZE]; /* libcurl's own words */
    void *block;                /* a transfer_text's; wiped once it has ended */
    size_t block_used, block_size;
    CURLU *parts;   /* of the URL, where the handle is kept, and … */
    char site[280]; /* … the beginning of the last one, as far as its path; empty: it is to be read whole */

    /* Of one request: all from here on begins anew with each, `response` last. */
    uint64_t id;
    dpg_str url; /* borrowed */
    bool once, warm;
    int64_t leave_by;  /* on the system's boot clock; 0: whenever */
    bool left;         /* libcurl was about to send: from here on bytes may have gone */
    bool resent;       /* by libcurl itself, which counts that in the handle, and gives up at the sixth time */
    bool in_head;      /* between a status line and its empty line */
    bool interim;      /* … of a 1xx answer, which another one follows */
    bool final;        /* the head of the final answer is whole; what follows are trailers */
    size_t head_total; /* bytes of all header lines */
    size_t head_lines; /* how many of them are in response.head */
    struct form_source *sources; /* of the form's parts, one each */
    size_t source_count;
    curl_mime *mime;
    dpg_pipe *fed;
    dpg_drain drain;
    bool send_paused, recv_paused; /* until its pipe has bytes; until it has room */
    bool nudged;                   /* see go_on() */
    dpg_response response;         /* its error is set early by who can say more of it than libcurl */
} transfer;

typedef struct transfer_list {
    transfer *first, *last;
} transfer_list;

struct curl_transport {
    CURLM *multi;
    transfer_list active, ended, idle;
    size_t idle_count;
    CURL **pool;              /* easy handles of nobody's, with nothing set in them */
    size_t pooled, pool_size; /* idle ones are counted in its size */
    char *ca_file, *proxy;    /* NULL: not set */
    char *agent_line;         /* "User-Agent: …", or NULL */
    struct curl_slist agent;  /* that alone, for proxies */
    char encoding_line[64];   /* "Accept-Encoding: …": what this libcurl can decode; or empty */
    bool quiet;               /* this libcurl causes no SIGPIPE */
    bool fresh;               /* something was started since the last step */
    bool http2;
    bool proof;                /* this libcurl calls on_prereq */
    curl_transport *forgotten; /* the next one that was forgotten */
};

/* --- transport_curl_options.c */

/* Into *c, which frees them. */
dpg_status dpg_curl_read_options(curl_transport *c, const dpg_transport_options *options, dpg_error *err);

/* --- transport_curl_request.c */

/* The header lines of `request`, checked, and its URL: into t->block. */
dpg_status dpg_curl_make_text(transfer *t, const dpg_request *request, transfer_text *out, dpg_error *err);

/* The options that all of t->kind have in common (of one that keeps nothing: all) … */
dpg_status dpg_curl_set_kind(transfer *t, const dpg_request *request, dpg_error *err);
/* … and those of one request. */
dpg_status dpg_curl_set_request(transfer *t, const dpg_request *request, const transfer_text *text, dpg_error *err);

/* --- transport_curl_form.c */

/* The files of the request's form, opened and measured. */
dpg_status dpg_curl_open_form(transfer *t, const dpg_request *request, dpg_error *err);
CURLcode dpg_curl_make_form(transfer *t, const dpg_request *request); /* t->mime, from t->sources and t->easy */
bool dpg_curl_form_is_whole(const transfer *t); /* has libcurl been given the last byte of each part? */
void dpg_curl_free_form(transfer *t);           /* takes a transfer without one */

/* --- transport_curl_result.c */

/* The lines of the head as headers, once; of a transfer that is `once` there is room for most of them. False without memory. */
bool dpg_curl_read_head(transfer *t, bool *too_many);
void dpg_curl_progress(const transfer *t, dpg_progress *out);
bool dpg_curl_used_up(const transfer *t);

/* How far a request that is still under way may have gone. */
dpg_sent dpg_curl_how_far(const transfer *t);

/* Turn what libcurl says of a transfer that has ended into its response. The handle is still the transfer's. */
void dpg_curl_conclude(transfer *t, CURLcode result);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
