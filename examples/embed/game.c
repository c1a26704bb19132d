/*
 * An engine of one's own, in small: C that embeds Lua 5.4 and draws 60 frames a second. In each frame it calls the
 * script's frame(), which calls loop:step(). It plays some rounds without transfers and some with, in turns, measures
 * both, and prints them side by side. From a checkout:
 *
 *   make LUA=lua5.4
 *   cc -O2 -o game examples/embed/game.c $(pkg-config --cflags --libs lua5.4)
 *   LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='build/lua5.4/?.so;;' DPG_TOKEN=… ./game [SECONDS]
 *
 * With the static liblua add -Wl,-E, so that modules in C find Lua in the program.
 */
#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    FRAMES_PER_SECOND = 60,
    ROUNDS = 8,
    FRAME_NS = 1000000000 / FRAMES_PER_SECOND,
    WORK_NS = 4000000
};
enum {
    SCRIPT = 1
}; /* where on the stack the table is that the script has returned */

/* What was measured in one kind of round, in milliseconds. */
typedef struct samples {
    const char *name;
    double *frame; /* from the beginning of one frame to that of the next: what a player sees */
    double *step;  /* within it, the script's frame() */
    double *own;   /* of that, without the time in which others had the processor */
    int count;
} samples;

static long long now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* How long this thread was ready to run and had to wait for a processor; 0 where the system does not tell (Linux does). */
static long long queued_ns(void)
{
    static int file = -2;
    char text[128] = "";
    long long ran, queued;

    if (file == -2) file = open("/proc/thread-self/schedstat", O_RDONLY);
    if (file < 0 || pread(file, text, sizeof text - 1, 0) <= 0) return 0;
    return sscanf(text, "%lld %lld", &ran, &queued) == 2 ? queued : 0;
}

static void sleep_until(long long at)
{
    struct timespec t = {.tv_sec = at / 1000000000, .tv_nsec = at % 1000000000};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0) continue;
}

/* What a game does in a frame besides: it keeps the processor busy for 4 ms. */
static void draw(void)
{
    long long begun = now_ns();
    volatile double x = 0;

    while (now_ns() - begun < WORK_NS) x += 1;
}

static int traceback(lua_State *L)
{
    luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
    return 1;
}

static void fail(lua_State *L)
{
    fprintf(stderr, "game: %s\n", luaL_tolstring(L, -1, NULL)); /* errors of dpg are objects */
    lua_close(L);
    exit(1);
}

/* Calls a function of the script. */
static int call(lua_State *L, const char *name, int argument)
{
    int result;

    lua_pushcfunction(L, traceback);
    lua_getfield(L, SCRIPT, name);
    lua_pushboolean(L, argument);
    if (lua_pcall(L, 1, 1, -3) != LUA_OK) fail(L);
    result = lua_toboolean(L, -1);
    lua_pop(L, 2);
    return result;
}

static void play(lua_State *L, samples *s, int frames)
{
    long long begun = now_ns(), at = begun;

    for (int i = 0; i < frames; i++) {
        long long queued = queued_ns(), called = now_ns(), taken, next;

        call(L, "frame", 0);
        taken = now_ns() - called;
        s->step[s->count] = (double)taken / 1e6;
        s->own[s->count] = (double)(taken - (queued_ns() - queued)) / 1e6;
        draw();
        at += FRAME_NS;
        if (now_ns() < at) sleep_until(at);
        next = now_ns();
        if (next > at + FRAME_NS) at = next; /* too late by a whole frame: drop it, do not hurry */
        s->frame[s->count++] = (double)(next - begun) / 1e6;
        begun = next;
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void print_row(const char *what, double *values, int count)
{
    const int per_mille[] = {500, 900, 990, 999};

    qsort(values, (size_t)count, sizeof *values, compare);
    printf("  %-10s", what);
    for (size_t i = 0; i < sizeof per_mille / sizeof *per_mille; i++) {
        printf("%9.3f", values[((long)per_mille[i] * count + 999) / 1000 - 1]);
    }
    printf("%9.3f\n", values[count - 1]);
}

static void print_samples(samples *s)
{
    printf("%-12s%9s%9s%9s%9s%9s   (ms, %d frames)\n", s->name, "p50", "p90", "p99", "p99.9", "worst", s->count);
    print_row("frame", s->frame, s->count);
    print_row("loop:step", s->step, s->count);
    print_row("its own", s->own, s->count);
}

int main(int argc, char **argv)
{
    int seconds = argc > 1 ? atoi(argv[1]) : 16;
    int frames = (seconds > 0 ? seconds : 1) * FRAMES_PER_SECOND / ROUNDS;
    samples kinds[] = {{.name = "quiet"}, {.name = "transfers"}};
    lua_State *L = luaL_newstate();
    char script[4096];
    const char *slash = strrchr(__FILE__, '/');

    if (!L) return 1;
    luaL_openlibs(L);
    snprintf(script, sizeof script, "%.*sgame.lua", slash ? (int)(slash + 1 - __FILE__) : 0, __FILE__);
    if (luaL_loadfile(L, script) != LUA_OK || lua_pcall(L, 0, 1, 0) != LUA_OK) fail(L);

    for (int i = 0; i < 2; i++) {
        kinds[i].frame = calloc((size_t)(frames * ROUNDS), sizeof(double));
        kinds[i].step = calloc((size_t)(frames * ROUNDS), sizeof(double));
        kinds[i].own = calloc((size_t)(frames * ROUNDS), sizeof(double));
        if (!kinds[i].frame || !kinds[i].step || !kinds[i].own) return 1;
    }
    for (int round = 0; round < ROUNDS; round++) {
        call(L, "play", round % 2);
        while (call(L, "is_changing", 0)) { /* what was under way ends, or begins: not measured */
            call(L, "frame", 0);
            sleep_until(now_ns() + FRAME_NS);
        }
        play(L, &kinds[round % 2], frames);
    }
    print_samples(&kinds[0]);
    print_samples(&kinds[1]);
    call(L, "report", 0);
    for (int i = 0; i < 2; i++) {
        free(kinds[i].frame);
        free(kinds[i].step);
        free(kinds[i].own);
    }
    lua_close(L); /* transfers that are under way end here */
    return 0;
}
