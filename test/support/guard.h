/*
 * Inputs for parsers that must not read past their end: copies whose last byte is the last one before a page that nobody
 * may touch. No NUL follows.
 */
#ifndef DPG_GUARD_H
#define DPG_GUARD_H

#include "base.h"

#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

#define GUARD_ROOM ((size_t)1 << 20)

/* GUARD_ROOM bytes, and behind them the forbidden page. */
static inline char *guard_map(void)
{
#ifdef _WIN32
    char *map = VirtualAlloc(NULL, GUARD_ROOM + 65536, MEM_RESERVE, PAGE_NOACCESS);

    return map ? VirtualAlloc(map, GUARD_ROOM, MEM_COMMIT, PAGE_READWRITE) : NULL;
#else
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *map = mmap(NULL, GUARD_ROOM + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return map == MAP_FAILED || mprotect(map + GUARD_ROOM, page, PROT_NONE) != 0 ? NULL : map;
#endif
}

/* A copy of `bytes` right before the forbidden page; the next call overwrites it. */
static inline dpg_str guarded(const void *bytes, size_t len)
{
    static char *end;
    dpg_str copy;

    if (!end) {
        char *map = guard_map();

        if (!map) abort();
        end = map + GUARD_ROOM;
    }
    if (len > GUARD_ROOM) abort();
    copy.ptr = end - len;
    copy.len = len;
    if (len) memcpy(end - len, bytes, len);
    return copy;
}

static inline dpg_str guarded_text(const char *text)
{
    return guarded(text, strlen(text));
}

#endif
