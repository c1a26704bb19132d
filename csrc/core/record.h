/*
 * The record that a store keeps for a person: written and read here, opaque to everybody else. Pure: bytes in, struct out.
 *
 * On disk: a line `dpg-record 1 LENGTH SHA256`, then LENGTH bytes of JSON. The digest tells a torn or edited record from
 * a whole one; whatever stands behind LENGTH bytes makes it damaged (a spare that is half overwritten ends in padding).
 */
#ifndef DPG_RECORD_H
#define DPG_RECORD_H

#include "base.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

#define DPG_RECORD_MAX ((size_t)1 << 20)
#define DPG_FAMILY_SIZE 33 /* 128 random bits in hex, and a NUL */

typedef enum dpg_record_state {
    DPG_RECORD_DAMAGED, /* not a whole record of ours: truncated, changed, something else */
    DPG_RECORD_NEWER,   /* whole, but of a version that we don't know */
    DPG_RECORD_WHOLE
} dpg_record_state;

/* What kind of bytes these are, and, when whole, which generation of which family ("" for a tombstone). */
dpg_record_state dpg_record_peek(dpg_str bytes, int64_t *generation, char family[DPG_FAMILY_SIZE]);

/*
 * One account's access token. Its age is told by the boot clock under the same boot id, else by Unix time; both count from
 * before the request for it was sent.
 */
typedef struct dpg_access {
    char *account, *token;
    int64_t got_boot_ms, got_unix_ms, life_ms;
    char boot_id[48];
    uint64_t serial; /* this engine's own number for this very token; not stored */
} dpg_access;

/* What happened to a refresh token, by digest: for the error that says how a session was lost. */
typedef struct dpg_past {
    char digest[17];
    int64_t generation, unix_ms;
} dpg_past;
#define DPG_RECORD_PAST 6

typedef struct dpg_record {
    char *origin;
    char family[DPG_FAMILY_SIZE];
    int64_t generation;
    char *refresh_token; /* NULL in a tombstone */
    char *accounts;      /* JSON array as the server sent it, or NULL */
    char *person;        /* JSON object as the server sent it, or NULL */
    dpg_access *access;
    size_t access_count;
    bool in_flight; /* an exchange of this very refresh token is about to leave, or has left */
    int64_t in_flight_unix_ms;
    int64_t in_flight_id;       /* which mark this is: a random number, so that a process knows its own again */
    int64_t not_before_unix_ms; /* the server asked for no exchange before this; 0: it didn't */
    int64_t not_before_boot_ms; /* the same moment on the boot clock, under … */
    char not_before_boot_id[48];
    int64_t not_before_wait_ms; /* how long a wait that was, to whoever finds that a clock has jumped */
    bool tombstone;             /* signed out: nothing here, and nobody writes it back */
    char refused[48];           /* the server refused the refresh token, for this reason: it is never presented again */
    dpg_past past[DPG_RECORD_PAST]; /* newest first */
    size_t past_count;
} dpg_record;

void dpg_record_clear(dpg_record *r); /* wipes, frees, zeroes; right for a zeroed one */
bool dpg_record_copy(dpg_record *to,
                     const dpg_record *from); /* `to` is zeroed or cleared before; false without memory */

/* Append the record's bytes; `out` is a secret buffer of DPG_RECORD_MAX. False without memory or when it would be too long. */
bool dpg_record_write(const dpg_record *r, dpg_buf *out);

/* Read a whole record. DPG_E_INVALID: damaged or newer (see peek). `out` is set on success only. */
dpg_status dpg_record_read(dpg_str bytes, dpg_record *out);

dpg_access *dpg_record_access(const dpg_record *r, dpg_str account); /* borrowed; NULL: none */

/* Put (a copy of) a token for an account in place of the one there. False without memory: nothing changed. */
bool dpg_record_put_access(dpg_record *r, dpg_str account, dpg_str token, const dpg_access *times);

/* Replace the refresh token by its successor: the old one's digest goes into the past. False without memory: nothing changed. */
bool dpg_record_rotate(dpg_record *r, dpg_str successor, int64_t unix_ms);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
