/*
 * check.h: what a C test needs, in one header. A test program includes it once, writes TEST blocks and ends with
 * CHECK_MAIN(). Its output is read by test/run: `ok NAME` or `not ok NAME`, and last `N passed, N failed`.
 *
 *     #include "check.h"
 *     #include "gate.h"
 *
 *     TEST("opens when Retry-After has passed, not earlier")
 *     {
 *         CHECK(gate_is_open(&g));
 *         CHECK_INT(gate_opens_at(&g), 1500);
 *     }
 *
 *     CHECK_MAIN()
 *
 * The name of a test is its promise. CHECK… notes a failure and goes on; REQUIRE leaves the test at once, for what
 * the next lines stand on. A test that dies or hangs is named before the program ends. `build/test/test_gate WORD`
 * runs the tests whose name holds WORD.
 */
#ifndef DPG_CHECK_H
#define DPG_CHECK_H

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef _WIN32
#include "on_windows.h"
#endif

#ifndef CHECK_SECONDS
#define CHECK_SECONDS 60 /* a test that takes longer hangs; CHECK_SECONDS in the environment overrules */
#endif

struct check_case {
    const char *name;
    void (*run)(void);
    struct check_case *next;
};

static struct check_case *check_first, **check_last = &check_first;
static const char *volatile check_running; /* the name of the test that runs now */
static int check_faults;                   /* failures in it so far */
static jmp_buf check_leave;

#define CHECK_JOIN2(a, b) a##b
#define CHECK_JOIN(a, b) CHECK_JOIN2(a, b)

/* Constructors of one file run in the order in which they are written, so tests do too. */
#define TEST(promise)                                                                                               \
    static void CHECK_JOIN(check_run_, __LINE__)(void);                                                             \
    static struct check_case CHECK_JOIN(check_case_, __LINE__) = {promise, CHECK_JOIN(check_run_, __LINE__), NULL}; \
    __attribute__((constructor)) static void CHECK_JOIN(check_add_, __LINE__)(void)                                 \
    {                                                                                                               \
        *check_last = &CHECK_JOIN(check_case_, __LINE__);                                                           \
        check_last = &CHECK_JOIN(check_case_, __LINE__).next;                                                       \
    }                                                                                                               \
    static void CHECK_JOIN(check_run_, __LINE__)(void)

#define CHECK_MAIN()                   \
    int main(int argc, char **argv)    \
    {                                  \
        return check_main(argc, argv); \
    }

/* Says what went wrong, printf-like, and counts it against the running test. */
#define CHECK_FAIL(...) (check_fault(__FILE__, __LINE__), printf(__VA_ARGS__), (void)putchar('\n'))

#define CHECK(condition) ((condition) ? (void)0 : CHECK_FAIL("%s", #condition))
#define REQUIRE(condition) ((condition) ? (void)0 : (CHECK_FAIL("%s", #condition), longjmp(check_leave, 1)))

#define CHECK_INT(got, want) check_int(__FILE__, __LINE__, #got, (intmax_t)(got), (intmax_t)(want))
#define CHECK_STR(got, want) check_str(__FILE__, __LINE__, #got, (got), (want))
#define CHECK_MEM(got, got_len, want, want_len) \
    check_mem(__FILE__, __LINE__, #got, (got), (size_t)(got_len), (want), (size_t)(want_len))
#define CHECK_NULL(pointer) ((pointer) == NULL ? (void)0 : CHECK_FAIL("%s is not NULL", #pointer))

static inline void check_fault(const char *file, int line)
{
    check_faults++;
    printf("# %s:%d: ", file, line);
}

static inline void check_int(const char *file, int line, const char *what, intmax_t got, intmax_t want)
{
    if (got == want) return;
    check_fault(file, line);
    printf("%s is %" PRIdMAX ", not %" PRIdMAX "\n", what, got, want);
}

/* Prints bytes so that a line stays a line: what is not printable comes as \xNN, at most 200 bytes of it. */
static inline void check_show(const void *bytes, size_t len)
{
    const unsigned char *p = bytes;

    if (!p) {
        printf("NULL");
        return;
    }
    putchar('"');
    for (size_t i = 0; i < len && i < 200; i++) {
        if (p[i] == '"' || p[i] == '\\') printf("\\%c", p[i]);
        else if (p[i] < 0x20 || p[i] > 0x7e) printf("\\x%02x", p[i]);
        else putchar(p[i]);
    }
    putchar('"');
    if (len > 200) printf("… (%zu bytes)", len);
}

static inline void check_mem(const char *file, int line, const char *what, const void *got, size_t got_len,
                             const void *want, size_t want_len)
{
    if (got_len == want_len && (got == want || (got && want && memcmp(got, want, got_len) == 0))) return;
    check_fault(file, line);
    printf("%s is ", what);
    check_show(got, got_len);
    printf(", not ");
    check_show(want, want_len);
    putchar('\n');
}

static inline void check_str(const char *file, int line, const char *what, const char *got, const char *want)
{
    if (got == want || (got && want && strcmp(got, want) == 0)) return;
    check_mem(file, line, what, got, got ? strlen(got) : 0, want, want ? strlen(want) : 0);
}

/* Names the test that dies or hangs, with nothing but write(), and lets the signal take its course. */
static inline void check_died(int sig)
{
#ifdef SIGALRM
    const char *parts[3] = {"not ok ", check_running, sig == SIGALRM ? ": hangs\n" : ": died of a signal\n"};
#else
    const char *parts[3] = {"not ok ", check_running, ": died of a signal\n"};
#endif

    for (int i = 0; i < 3; i++)
        if (parts[i] && write(STDOUT_FILENO, parts[i], (unsigned)strlen(parts[i])) < 0) break;
    signal(sig, SIG_DFL);
    raise(sig);
}

/* A function of its own, so that no local of its caller lives across setjmp. */
static inline int check_one(const struct check_case *c, unsigned seconds)
{
    check_running = c->name;
    check_faults = 0;
    alarm(seconds);
    if (setjmp(check_leave) == 0) c->run();
    alarm(0);
    printf("%s %s\n", check_faults ? "not ok" : "ok", c->name);
    return check_faults == 0;
}

static inline int check_main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : NULL;
    const char *limit = getenv("CHECK_SECONDS");
    int passed = 0, failed = 0;

#ifdef SIGALRM
    setvbuf(stdout, NULL, _IOLBF, 0); /* whole lines: a child that a test forks has nothing of ours to repeat */
    signal(SIGALRM, check_died);
#else
    setvbuf(stdout, NULL, _IONBF, 0); /* Windows knows no lines */
#endif
    signal(SIGABRT, check_died);
#ifndef __SANITIZE_ADDRESS__ /* it reports these itself, with more to say */
    signal(SIGSEGV, check_died);
#ifdef SIGBUS
    signal(SIGBUS, check_died);
#endif
    signal(SIGFPE, check_died);
#endif
    for (struct check_case *c = check_first; c; c = c->next) {
        if (only && !strstr(c->name, only)) continue;
        if (check_one(c, limit ? (unsigned)atoi(limit) : CHECK_SECONDS)) passed++;
        else failed++;
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed ? 1 : 0;
}

#endif
