/*
 * Where the body of an answer runs off to, while it comes: memory, a file or a pipe, as the sink and the answer's head
 * have it. Knows files and headers, no libcurl; the transport uses it.
 */
#ifndef DPG_DRAIN_H
#define DPG_DRAIN_H

#include "drivers.h"
#include "os.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

#define DPG_EXCERPT_MAX \
    ((size_t)64 * 1024) /* so much is kept of an answer that is not what a file or chunks wait for */

typedef enum dpg_drain_to {
    DPG_TO_MEMORY,  /* all of it, since no other place was asked for */
    DPG_TO_EXCERPT, /* its first part, since it is no good answer (or its head is not here yet) */
    DPG_TO_FILE,
    DPG_TO_CHUNKS
} dpg_drain_to;

typedef struct dpg_drain {
    const dpg_sink *sink; /* borrowed */
    dpg_pipe *chunks;     /* borrowed */
    dpg_drain_to to;
    char *path, *rename_to, *note; /* with a NUL behind them; NULL: none */
    dpg_os_file file;
    uint64_t locked_in; /* the process that has locked it; 0: none */
    int64_t at;         /* FILE: where the body begins; what lies behind it is cut off before the first byte */
    int64_t length;     /* what the answer says that its body has; -1: nothing */
    int64_t received;   /* body bytes that are in their place */
    bool begun;         /* something was written, cut off or put in the chunks */
    bool enough;        /* the excerpt is full: the rest of the answer is not worth waiting for */
} dpg_drain;

typedef enum dpg_drained {
    DPG_DRAINED,
    DPG_DRAIN_FULL,
    DPG_DRAIN_FAILED
} dpg_drained;

/* `sink` may be NULL. Nothing is touched yet. */
dpg_status dpg_drain_init(dpg_drain *d, const dpg_sink *sink, dpg_pipe *chunks, dpg_error *err);
void dpg_drain_clear(dpg_drain *d); /* twice is fine */

/* The head is here, whole. Opens the file of a good answer, which a 200 starts over. Fails when it is not what the sink expects. */
dpg_status dpg_drain_head(dpg_drain *d, int status, const dpg_header *headers, size_t count, dpg_error *err);

/*
 * Bytes of the body; `memory` takes them when no other place does. FULL: none were taken, the chunks have no room.
 * FAILED: `err`, or memory->failed, says why; those that found room are in the file.
 */
dpg_drained dpg_drain_put(dpg_drain *d, const char *bytes, size_t len, dpg_buf *memory, dpg_error *err);

/* The body has ended as HTTP sees it: is it whole? A file goes to its name then. */
dpg_status dpg_drain_finish(dpg_drain *d, dpg_error *err);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
