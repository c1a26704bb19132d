/*
 * The few things that every file of the core leans on: memory, views of bytes, growing buffers, secrets.
 * No I/O, no libcurl, no Lua. Whoever allocates in the core does it through here, so that a test can fail the Nth call.
 */
#ifndef DPG_BASE_H
#define DPG_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Inside a Lua module or a program, dpg.h's functions are that one's own, so that two versions in one process never meet. Of
 * libdpg, which is built with DPG_LIBRARY, they are what others see. All else is always hidden.
 */
#if defined(__GNUC__)
#ifdef DPG_LIBRARY
#pragma GCC visibility push(default)
#else
#pragma GCC visibility push(hidden)
#endif
#endif
#include "dpg.h"
#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#ifdef __clang__
#define DPG_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else /* for GCC, "printf" is what the system's C library has; %zu is in every one that we build with */
#define DPG_PRINTF(text, first) __attribute__((format(gnu_printf, text, first)))
#endif
#else
#define DPG_PRINTF(text, first)
#endif

/* --- memory ------------------------------------------------------------------------------------------------------ */

void *dpg_malloc(size_t size);
void *dpg_calloc(size_t count, size_t size); /* NULL too when count * size overflows */
void *dpg_realloc(void *ptr, size_t size);
void dpg_free(void *ptr);
void dpg_wipe(void *ptr, size_t size);        /* zeroes in a way that the compiler keeps */
void dpg_free_secret(void *ptr, size_t size); /* wipes, then frees; takes NULL */

/* Allocation `n` from now (1 is the next one) returns NULL, once; 0 turns it off. `dpg_alloc_count` counts them all. */
#ifdef DPG_TORTURE
void dpg_alloc_fail(uint64_t n);
uint64_t dpg_alloc_count(void);
bool dpg_alloc_failed(void); /* has the armed failure happened? */
#endif

/* --- views: borrowed bytes, which may hold NUL -------------------------------------------------------------------- */

static inline dpg_str dpg_str_of(const char *ptr, size_t len)
{
    dpg_str s = {ptr, len};
    return s;
}
#define DPG_LIT(literal) dpg_str_of("" literal, sizeof(literal) - 1)
dpg_str dpg_cstr(const char *text); /* the view of a C string; of NULL: empty */
bool dpg_str_eq(dpg_str a, dpg_str b);
bool dpg_str_eq_nocase(dpg_str a, dpg_str b);         /* ASCII only, whatever the locale */
bool dpg_str_eq_secret(dpg_str a, dpg_str b);         /* time depends on the lengths alone */
char *dpg_strndup(dpg_str s);                         /* NUL-terminated copy, returned; NULL without memory */
void dpg_str_copy(char *out, size_t size, dpg_str s); /* as much as fits, and a NUL */

/* --- growing buffers ---------------------------------------------------------------------------------------------- */

/*
 * Bytes that grow up to `max`. A failure (too long, no memory) sticks: later appends do nothing, and the one check at
 * the end sees it. `secret` buffers are wiped whenever their memory moves or goes. Always NUL-terminated once non-empty.
 */
typedef struct dpg_buf {
    char *ptr;
    size_t len, cap, max;
    size_t touched; /* bytes that may ever have been written: what there is to wipe */
    bool secret;
    enum {
        DPG_BUF_FINE,
        DPG_BUF_TOO_LONG,
        DPG_BUF_NO_MEMORY
    } failed;
} dpg_buf;

void dpg_buf_init(dpg_buf *b, size_t max);
void dpg_buf_init_secret(dpg_buf *b, size_t max);
void dpg_buf_clear(dpg_buf *b);                /* frees; the buffer can be used again, with the same `max` */
bool dpg_buf_reserve(dpg_buf *b, size_t more); /* room for so many more bytes, which then can't fail for memory */
bool dpg_buf_put(dpg_buf *b, const void *bytes, size_t len);
bool dpg_buf_put_str(dpg_buf *b, dpg_str s);
bool dpg_buf_puts(dpg_buf *b, const char *text);
bool dpg_buf_printf(dpg_buf *b, const char *format, ...) DPG_PRINTF(2, 3);
bool dpg_buf_put_json(dpg_buf *b, dpg_str s); /* as a JSON string, with its quotes; bytes above 0x7f as they are */
static inline dpg_str dpg_buf_str(const dpg_buf *b)
{
    return dpg_str_of(b->ptr ? b->ptr : "", b->len);
}

/* --- errors ------------------------------------------------------------------------------------------------------- */

/* No error, as DPG_ERROR_INIT says; of its texts, which end where they are said to, the first byte alone is touched. */
static inline void dpg_error_clear(dpg_error *err)
{
    err->status = DPG_OK;
    err->kind = DPG_KIND_NONE;
    err->code[0] = err->reason[0] = err->message[0] = err->detail[0] = err->request_id[0] = '\0';
    err->http_status = 0;
    err->retry_after_ms = -1;
}

/*
 * Fill `err` (may be NULL) and return `status`, so that `return dpg_fail(err, …)` reads well. `kind` and `code` are the
 * ones that Lua sees; the message is for people, and never holds a secret.
 */
dpg_status dpg_fail(dpg_error *err, dpg_status status, dpg_kind kind, const char *code, const char *format, ...)
    DPG_PRINTF(5, 6);
dpg_status dpg_fail_nomem(dpg_error *err);

/* --- digests: to tell tokens apart in histories and events without showing them ------------------------------------ */

void dpg_sha256(const void *bytes, size_t len, uint8_t out[32]);
void dpg_digest_hex(dpg_str secret, char out[17]); /* the first 8 bytes of its SHA-256, in hex, NUL-terminated */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
