/*
 * Memory, views, buffers, errors and digests for the rest of the core. Knows nothing of calls, tokens or the network.
 */
#include "base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- memory ------------------------------------------------------------------------------------------------------ */

#ifdef DPG_TORTURE
static uint64_t alloc_count, alloc_fail_at;
static bool alloc_failed;

void dpg_alloc_fail(uint64_t n)
{
    alloc_fail_at = n ? alloc_count + n : 0;
    alloc_failed = false;
}
uint64_t dpg_alloc_count(void)
{
    return alloc_count;
}
bool dpg_alloc_failed(void)
{
    return alloc_failed;
}
static bool refuse(void)
{
    if (++alloc_count != alloc_fail_at) return false;
    alloc_failed = true;
    return true;
}
#else
static inline bool refuse(void)
{
    return false;
}
#endif

void *dpg_malloc(size_t size)
{
    return refuse() ? NULL : malloc(size ? size : 1);
}

void *dpg_calloc(size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size) return NULL;
    return refuse() ? NULL : calloc(count ? count : 1, size ? size : 1);
}

void *dpg_realloc(void *ptr, size_t size)
{
    return refuse() ? NULL : realloc(ptr, size ? size : 1);
}

void dpg_free(void *ptr)
{
    free(ptr);
}

void dpg_wipe(void *ptr, size_t size)
{
    /* a plain memset before free is removed as a dead store */
#if defined(__GNUC__)
    if (size) memset(ptr, 0, size);
    __asm__ __volatile__("" : : "r"(ptr) : "memory"); /* somebody might read it here, for all the compiler knows */
#else
    volatile unsigned char *p = ptr;

    while (size--) *p++ = 0;
#endif
}

void dpg_free_secret(void *ptr, size_t size)
{
    if (ptr) dpg_wipe(ptr, size);
    dpg_free(ptr);
}

/* --- views -------------------------------------------------------------------------------------------------------- */

dpg_str dpg_cstr(const char *text)
{
    return dpg_str_of(text ? text : "", text ? strlen(text) : 0);
}

bool dpg_str_eq(dpg_str a, dpg_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool dpg_str_eq_nocase(dpg_str a, dpg_str b)
{
    if (a.len != b.len) return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i])) return false;
    return true;
}

bool dpg_str_eq_secret(dpg_str a, dpg_str b)
{
    unsigned char differs = 0;

    if (a.len != b.len) return false;
    for (size_t i = 0; i < a.len; i++) differs |= (unsigned char)(a.ptr[i] ^ b.ptr[i]);
    return differs == 0;
}

char *dpg_strndup(dpg_str s)
{
    char *copy = s.len < SIZE_MAX ? dpg_malloc(s.len + 1) : NULL;

    if (!copy) return NULL;
    if (s.len) memcpy(copy, s.ptr, s.len);
    copy[s.len] = '\0';
    return copy;
}

void dpg_str_copy(char *out, size_t size, dpg_str s)
{
    size_t len = s.len < size ? s.len : size - 1;

    if (len) memcpy(out, s.ptr, len);
    out[len] = '\0';
}

/* --- growing buffers ---------------------------------------------------------------------------------------------- */

void dpg_buf_init(dpg_buf *b, size_t max)
{
    memset(b, 0, sizeof *b);
    b->max = max;
}

void dpg_buf_init_secret(dpg_buf *b, size_t max)
{
    dpg_buf_init(b, max);
    b->secret = true;
}

void dpg_buf_clear(dpg_buf *b)
{
    if (b->secret) dpg_free_secret(b->ptr, b->touched);
    else dpg_free(b->ptr);
    b->ptr = NULL;
    b->len = b->cap = b->touched = 0;
    b->failed = DPG_BUF_FINE;
}

bool dpg_buf_reserve(dpg_buf *b, size_t more)
{
    size_t need, cap;
    char *ptr;

    if (b->failed) return false;
    if (more > b->max || b->len > b->max - more) {
        b->failed = DPG_BUF_TOO_LONG;
        return false;
    }
    need = b->len + more + 1;
    if (need <= b->cap) return true;
    cap = b->cap ? b->cap : need > 64 ? need : 64; /* what is asked for first may be all that there will be */
    while (cap < need) cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    if (cap > b->max + 1 && b->max + 1 >= need) cap = b->max + 1;
    if (b->secret) { /* realloc may leave a copy behind */
        ptr = dpg_malloc(cap);
        if (ptr) {
            if (b->len) memcpy(ptr, b->ptr, b->len);
            dpg_free_secret(b->ptr, b->touched);
        }
    } else {
        ptr = dpg_realloc(b->ptr, cap);
    }
    if (!ptr) {
        b->failed = DPG_BUF_NO_MEMORY;
        return false;
    }
    b->ptr = ptr;
    b->cap = cap;
    b->touched = b->len;
    return true;
}

/* So many bytes stand behind those that were there, and a NUL. */
static bool grown(dpg_buf *b, size_t len)
{
    b->len += len;
    if (b->len + 1 > b->touched) b->touched = b->len + 1;
    return true;
}

bool dpg_buf_put(dpg_buf *b, const void *bytes, size_t len)
{
    if (!dpg_buf_reserve(b, len)) return false;
    if (len) memcpy(b->ptr + b->len, bytes, len);
    b->ptr[b->len + len] = '\0';
    return grown(b, len);
}

bool dpg_buf_put_str(dpg_buf *b, dpg_str s)
{
    return dpg_buf_put(b, s.ptr, s.len);
}

bool dpg_buf_puts(dpg_buf *b, const char *text)
{
    return dpg_buf_put(b, text, strlen(text));
}

bool dpg_buf_printf(dpg_buf *b, const char *format, ...)
{
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0 || !dpg_buf_reserve(b, (size_t)len)) return false;
    va_start(args, format);
    vsnprintf(b->ptr + b->len, (size_t)len + 1, format, args);
    va_end(args);
    return grown(b, (size_t)len);
}

bool dpg_buf_put_json(dpg_buf *b, dpg_str s)
{
    static const char hex[] = "0123456789abcdef";
    size_t start = 0;

    dpg_buf_put(b, "\"", 1);
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        char escape[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

        if (c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) continue;
        dpg_buf_put(b, s.ptr + start, i - start);
        dpg_buf_put(b, escape, sizeof escape);
        start = i + 1;
    }
    dpg_buf_put(b, s.ptr ? s.ptr + start : "", s.len - start);
    return dpg_buf_put(b, "\"", 1);
}

/* --- errors ------------------------------------------------------------------------------------------------------- */

dpg_status dpg_fail(dpg_error *err, dpg_status status, dpg_kind kind, const char *code, const char *format, ...)
{
    va_list args;

    if (!err) return status;
    dpg_error_clear(err);
    err->status = status;
    err->kind = kind;
    snprintf(err->code, sizeof err->code, "%s", code);
    va_start(args, format);
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return status;
}

dpg_status dpg_fail_nomem(dpg_error *err)
{
    return dpg_fail(err, DPG_E_NOMEM, DPG_KIND_NETWORK, "out_of_memory", "out of memory");
}

const char *dpg_kind_name(dpg_kind kind)
{
    static const char *const names[] = {"none",     "usage", "network", "timeout",   "tls",
                                        "protocol", "api",   "auth",    "cancelled", "storage"};

    return (size_t)kind < sizeof names / sizeof *names ? names[kind] : "unknown";
}

const char *dpg_event_name(dpg_event event)
{
    static const char *const names[] = {"start",       "response",  "retry",   "rotated",   "adopted",
                                        "gate_closed", "gate_open", "storage", "signed_out"};

    return (size_t)event < sizeof names / sizeof *names ? names[event] : "unknown";
}

/* --- SHA-256 (FIPS 180-4): small, and with no library that a host may bring in another version ---------------------- */

static const uint32_t sha_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotr(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void sha_block(uint32_t h[8], const uint8_t *p)
{
    uint32_t w[64], v[8];

    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];

        w[i] = w[i - 16] + (rotr(a, 7) ^ rotr(a, 18) ^ a >> 3) + w[i - 7] + (rotr(b, 17) ^ rotr(b, 19) ^ b >> 10);
    }
    memcpy(v, h, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = v[7] + (rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) +
                      sha_k[i] + w[i];
        uint32_t t2 =
            (rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));

        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) h[i] += v[i];
    dpg_wipe(w, sizeof w);
}

void dpg_sha256(const void *bytes, size_t len, uint8_t out[32])
{
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    const uint8_t *p = bytes;
    uint8_t last[128] = {0};
    size_t left = len, tail;

    for (; left >= 64; left -= 64, p += 64) sha_block(h, p);
    if (left) memcpy(last, p, left);
    last[left] = 0x80;
    tail = left < 56 ? 64 : 128;
    for (int i = 0; i < 8; i++) last[tail - 1 - (size_t)i] = (uint8_t)((uint64_t)len * 8 >> 8 * i);
    for (size_t i = 0; i < tail; i += 64) sha_block(h, last + i);
    dpg_wipe(last, sizeof last);
    for (int i = 0; i < 32; i++) out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

void dpg_digest_hex(dpg_str secret, char out[17])
{
    uint8_t digest[32];

    dpg_sha256(secret.ptr, secret.len, digest);
    for (size_t i = 0; i < 8; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}
