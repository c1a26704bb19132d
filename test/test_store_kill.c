/*
 * The file store when things break under it: the process is killed before and after every system call, the calls fail
 * one by one and all from one on, writes come out short, signals interrupt. Whatever happens, a whole record is loaded
 * afterwards, never an older one than somebody was promised.
 */
#include "check.h"
#include "drivers.h"
#include "files.h"
#include "record.h"
#include "store_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef __linux__
TEST("kills and faults are tried on Linux")
{
    printf("# not tried here\n");
}
#else
#include <stdarg.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

/* --- system calls that fail on demand: these stand before the C library's own ------------------------------------- */

typedef enum fault_mode {
    FAULT_NONE,
    FAULT_ONCE,
    FAULT_FROM,
    FAULT_SHORT
} fault_mode;

static struct {
    fault_mode mode;
    int at, seen; /* which of the calls below, counted from 1 */
    int number;   /* its errno */
    bool hit;
    const char *name; /* the call that was hit first */
    const char *only; /* these calls alone are counted; NULL: all */
} fault;

static void arm(fault_mode mode, int at, int number)
{
    fault.mode = mode;
    fault.at = at;
    fault.number = number;
    fault.seen = 0;
    fault.hit = false;
    fault.name = "none";
    fault.only = NULL;
}

static void disarm(void)
{
    fault.mode = FAULT_NONE;
}

/* Calls that no signal interrupts on a local disk are not counted when EINTR is tried. */
static bool fails(const char *name, bool may_be_interrupted)
{
    if (fault.mode == FAULT_NONE || (fault.number == EINTR && !may_be_interrupted)) return false;
    if (fault.only && strcmp(fault.only, name) != 0) return false;
    fault.seen++;
    if (fault.seen < fault.at || (fault.mode != FAULT_FROM && fault.seen > fault.at)) return false;
    if (!fault.hit) fault.name = name;
    fault.hit = true;
    errno = fault.number;
    return true;
}

/* What a power cut would take: files written since their last fsync, and names changed since their folder's. */
static struct {
    ino_t files[16];
    int file_count;
    bool names;
    int early, renames; /* renames of a file that was not yet on the disk; all renames */
    int writes;
} loose;

static void loosen(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0 || loose.file_count == 16) return;
    for (int i = 0; i < loose.file_count; i++)
        if (loose.files[i] == st.st_ino) return;
    loose.files[loose.file_count++] = st.st_ino;
}

static void fasten(int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0) return;
    if (S_ISDIR(st.st_mode)) loose.names = false;
    for (int i = 0; i < loose.file_count; i++)
        if (loose.files[i] == st.st_ino) loose.files[i--] = loose.files[--loose.file_count];
}

static void renamed(int folder, const char *to)
{
    struct stat st;

    loose.names = true;
    loose.renames++;
    for (int i = 0; i < loose.file_count; i++)
        if (fstatat(folder, to, &st, 0) == 0 && loose.files[i] == st.st_ino) loose.early++;
}

int openat(int folder, const char *path, int flags, ...)
{
    va_list args;
    mode_t mode = 0;

    va_start(args, flags);
    if (flags & (O_CREAT | O_TMPFILE)) mode = (mode_t)va_arg(args, int);
    va_end(args);
    return fails("openat", true) ? -1 : (int)syscall(SYS_openat, folder, path, flags, mode);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    loosen(fd);
    loose.writes++;
    if (fault.mode == FAULT_SHORT && len > 1 && ++fault.seen == fault.at) {
        fault.hit = true;
        return syscall(SYS_pwrite64, fd, bytes, len / 2, at);
    }
    return fault.mode != FAULT_SHORT && fails("pwrite", true) ? -1 : syscall(SYS_pwrite64, fd, bytes, len, at);
}

int fsync(int fd)
{
    if (fault.mode != FAULT_SHORT && fails("fsync", true)) return -1;
    fasten(fd);
    return (int)syscall(SYS_fsync, fd);
}

int ftruncate(int fd, off_t len)
{
    loosen(fd);
    return fault.mode != FAULT_SHORT && fails("ftruncate", true) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

int renameat(int a, const char *from, int b, const char *to)
{
    if (fault.mode != FAULT_SHORT && fails("renameat", false)) return -1;
    if (syscall(SYS_renameat2, a, from, b, to, 0) != 0) return -1;
    renamed(b, to);
    return 0;
}

int linkat(int a, const char *from, int b, const char *to, int flags)
{
    if (fault.mode != FAULT_SHORT && fails("linkat", false)) return -1;
    if (syscall(SYS_linkat, a, from, b, to, flags) != 0) return -1;
    loose.names = true;
    return 0;
}

int unlinkat(int folder, const char *path, int flags)
{
    if (fault.mode != FAULT_SHORT && fails("unlinkat", false)) return -1;
    return (int)syscall(SYS_unlinkat, folder, path, flags);
}

int flock(int fd, int operation)
{
    bool taking = operation != LOCK_UN;

    return taking && fault.mode != FAULT_SHORT && fails("flock", true) ? -1 : (int)syscall(SYS_flock, fd, operation);
}

/* --- a world to start from ---------------------------------------------------------------------------------------- */

static char *scratch;
static char path[4400];
static const char junk[] = "not a record at all";

static const char *beside(const char *tail)
{
    static char name[4500];

    snprintf(name, sizeof name, "%s%s", path, tail);
    return name;
}

static void put_record(const char *tail, const char *family, int64_t generation, bool in_flight)
{
    dpg_buf b = kit_record(family, generation, in_flight);

    if (!files_put(beside(tail), b.ptr, b.len, 0600)) CHECK_FAIL("%s: %s", beside(tail), strerror(errno));
    dpg_buf_clear(&b);
}

static void put_junk(void)
{
    if (!files_put(path, junk, sizeof junk - 1, 0600)) CHECK_FAIL("%s: %s", path, strerror(errno));
}

typedef struct scene {
    const char *name;
    int64_t generation; /* what a load gives at the start; 0: nothing */
    bool damaged;       /* PATH holds junk, which must not be lost */
    void (*set)(void);
} scene;

static void set_nothing(void)
{
}
static void set_record(void)
{
    put_record("", KIT_A, 1, false);
}
static void set_leftovers(void)
{
    put_record("", KIT_A, 5, false);
    put_record(".spare", KIT_A, 4, false);
    put_record(".mark", KIT_A, 4, true);
}
static void set_successor(void)
{
    put_record("", KIT_A, 1, true);
    put_record(".spare", KIT_A, 2, false);
}
static void set_damaged(void)
{
    put_junk();
}
static void set_damaged_successor(void)
{
    put_junk();
    put_record(".spare", KIT_A, 2, false);
}

static const scene scenes[] = {
    {"nothing there", 0, false, set_nothing},
    {"a record", 1, false, set_record},
    {"a record and leftovers", 5, false, set_leftovers},
    {"a record and its successor in the spare", 2, false, set_successor},
    {"a damaged record", 0, true, set_damaged},
    {"a damaged record and a whole spare", 2, true, set_damaged_successor},
};
#define SCENES (sizeof scenes / sizeof *scenes)

static void begin(const scene *s)
{
    scratch = files_scratch_in_memory();
    snprintf(path, sizeof path, "%s/keep/session", scratch);
    if (s->set != set_nothing) mkdir(files_at(scratch, "keep"), 0700);
    s->set();
}

static void end(void)
{
    files_remove(scratch);
}

/* What somebody was promised, in memory that a killed child leaves to its parent. */
typedef struct promises {
    volatile int64_t marked, saved; /* generations; 0: none */
} promises;
static promises *promised;

static void promises_new(void)
{
    if (!promised) {
        void *page = mmap(NULL, sizeof *promised, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        REQUIRE(page != MAP_FAILED);
        promised = page;
    }
    promised->marked = promised->saved = 0;
}

/*
 * One rotation, as the engine goes about it: lock, load, mark, save, unlock. False at the first refusal, which is in
 * *refused; what is there after `load` is in *generation.
 */
static bool rotate(dpg_store *store, dpg_store_reply *refused, int64_t *generation)
{
    dpg_buf marked = {0}, next = {0}, was = {0};
    char family[DPG_FAMILY_SIZE] = KIT_A;
    bool found = false, fine = false;

    *refused = kit_ask(store, DPG_STORE_LOCK);
    if (refused->outcome != DPG_STORE_DONE) return false;
    *refused = kit_ask(store, DPG_STORE_LOAD);
    if (refused->outcome == DPG_STORE_FAILED && strcmp(refused->error.code, "store_damaged") == 0)
        *refused = kit_ask(store, DPG_STORE_LOAD); /* it has been set aside: a new sign-in starts from nothing */
    if (refused->outcome == DPG_STORE_DONE) {
        found = refused->found;
        was = refused->bytes;
        *generation = 0;
        if (found && dpg_record_peek(dpg_buf_str(&was), generation, family) != DPG_RECORD_WHOLE)
            CHECK_FAIL("what was loaded is no whole record");
        marked = kit_record(KIT_A, *generation, true);
        next = kit_record(KIT_A, *generation + 1, false);
        *refused = kit_save(store, &marked, found ? &was : NULL, true);
        if (refused->outcome == DPG_STORE_DONE) {
            if (promised) promised->marked = *generation;
            *refused = kit_save(store, &next, &marked, false);
        }
        fine = refused->outcome == DPG_STORE_DONE;
        if (fine && promised) promised->saved = *generation + 1;
    }
    if (fine) kit_unlock(store);
    dpg_buf_clear(&was);
    dpg_buf_clear(&marked);
    dpg_buf_clear(&next);
    return fine;
}

/*
 * Load as the next process would, and hold it against what was promised and what the scene began with. Gives the
 * generation. `exact` looks at the promises of the very rotation that was under way.
 */
static int64_t inspect(const scene *s, const char *when, int number)
{
    dpg_store *store = kit_file(path);
    dpg_store_reply reply;
    dpg_record r = {0};
    int64_t generation = 0;

    if (kit_lock(store) != DPG_STORE_DONE) CHECK_FAIL("%s, %s %d: the lock is not free", s->name, when, number);
    reply = kit_ask(store, DPG_STORE_LOAD);
    if (reply.outcome == DPG_STORE_FAILED && s->damaged && strcmp(reply.error.code, "store_damaged") == 0) {
        reply = kit_ask(store, DPG_STORE_LOAD);
    }
    if (reply.outcome != DPG_STORE_DONE) {
        CHECK_FAIL("%s, %s %d: %s: %s", s->name, when, number, reply.error.code, reply.error.message);
    } else if (reply.found) {
        char token[32];

        if (dpg_record_read(dpg_buf_str(&reply.bytes), &r) != DPG_OK) {
            CHECK_FAIL("%s, %s %d: no whole record", s->name, when, number);
        } else {
            generation = r.generation;
            snprintf(token, sizeof token, "token-%lld", (long long)generation);
            CHECK_STR(r.refresh_token, token);
            if (promised->marked == generation && promised->saved <= generation && promised->marked && !r.in_flight)
                CHECK_FAIL("%s, %s %d: the mark is gone", s->name, when, number);
        }
    }
    if (generation < s->generation || generation < promised->marked || generation < promised->saved)
        CHECK_FAIL("%s, %s %d: generation %lld is back; %lld was marked, %lld saved", s->name, when, number,
                   (long long)generation, (long long)promised->marked, (long long)promised->saved);
    if (s->damaged && !files_is(path, junk, sizeof junk - 1)) {
        const char *kept = files_find(files_at(scratch, "keep"), ".damaged-");

        if (!kept || !files_is(kept, junk, sizeof junk - 1))
            CHECK_FAIL("%s, %s %d: the damaged file is gone", s->name, when, number);
    }
    dpg_record_clear(&r);
    dpg_buf_clear(&reply.bytes);
    dpg_store_free(store);
    return generation;
}

/* After whatever happened, the next rotation goes well and leaves nothing behind but the record and its lock. */
static void recover(const scene *s, int64_t generation, const char *when, int number)
{
    dpg_store *store = kit_file(path);
    dpg_store_reply refused;
    int64_t from = -1;
    const char *keep = files_at(scratch, "keep");
    int extra;

    if (!rotate(store, &refused, &from) || from != generation)
        CHECK_FAIL("%s, %s %d: the next rotation, from %lld: %s %s", s->name, when, number, (long long)from,
                   refused.error.code, refused.error.message);
    extra = files_count(keep, "") - files_count(keep, ".damaged-") - 2;
    if (extra) CHECK_FAIL("%s, %s %d: %d files too many", s->name, when, number, extra);
    dpg_store_free(store);
}

/* --- killed ------------------------------------------------------------------------------------------------------- */

/*
 * A child rotates once, and is killed as it goes into its `at`th system call, which is as good as when it comes out of
 * the one before (0: never). Gives the number of calls that it came to; -1: this can't be done here.
 */
static int rotate_and_kill(int at)
{
    int status, calls = 0;
    bool inside = false;
    pid_t child = fork();

    if (child == 0) {
        dpg_store *store;
        dpg_store_reply refused;
        int64_t generation;
        bool fine;

        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) _exit(77);
        raise(SIGSTOP);
        store = kit_file(path);
        fine = rotate(store, &refused, &generation);
        dpg_store_free(store);
        _exit(fine ? 0 : 1);
    }
    if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status)) return -1;
    for (;;) {
        if (ptrace(PTRACE_SYSCALL, child, NULL, NULL) != 0 || waitpid(child, &status, 0) != child) return -1;
        if (!WIFSTOPPED(status)) {
            CHECK_INT(status, 0);
            return calls;
        }
        inside = !inside;
        if (!inside || ++calls != at) continue;
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        return calls;
    }
}

static bool in_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");

    return preload && strstr(preload, "vgpreload");
}

static bool is_slow(void) /* forks are dear under a checker */
{
#ifdef __SANITIZE_ADDRESS__
    return true;
#else
    return in_valgrind();
#endif
}

TEST("killed before and after every system call, a whole record is left, and no promise is broken")
{
    int kills = 0;

    if (in_valgrind()) {
        printf("# under valgrind the calls would be its own\n");
        return;
    }
    for (size_t i = 0; i < SCENES; i++) {
        const scene *s = &scenes[i];
        int calls, stride = is_slow() ? 5 : 1;

        begin(s);
        promises_new();
        calls = rotate_and_kill(0);
        end();
        if (calls < 0) {
            const char *ci = getenv("CI");

            if (ci && strcmp(ci, "true") == 0) CHECK_FAIL("not tried: ptrace is not allowed");
            else printf("# not tried here: ptrace is not allowed\n");
            return;
        }
        for (int at = 1; at <= calls && check_faults < 5; at += stride) {
            int64_t generation;

            begin(s);
            promises_new();
            rotate_and_kill(at);
            generation = inspect(s, "killed in call", at);
            recover(s, generation, "killed in call", at);
            kills++;
            end();
        }
    }
    printf("# %d kills\n", kills);
}

TEST("killed at random moments of rotating on and on, two processes lose no generation")
{
    const int rounds = is_slow() ? 20 : 120;
    const char *given = getenv("SEED");
    unsigned seed = given ? (unsigned)atoi(given) : (unsigned)getpid();
    const scene *s = &scenes[1];
    int64_t from = 1;

    printf("# SEED=%u\n", seed);
    begin(s);
    promises_new();
    for (int round = 0; round < rounds && !check_faults; round++) {
        pid_t children[2];

        for (int i = 0; i < 2; i++) {
            children[i] = fork();
            if (children[i] != 0) continue;
            for (dpg_store *store = kit_file(path);;) {
                dpg_store_reply refused;
                int64_t generation;

                if (!rotate(store, &refused, &generation) && refused.outcome != DPG_STORE_BUSY) {
                    printf("# %s: %s\n", refused.error.code, refused.error.message);
                    _exit(1);
                }
                if (refused.outcome == DPG_STORE_BUSY) usleep(50);
            }
        }
        for (int i = 0; i < 2; i++) {
            seed = seed * 1103515245u + 12345u;
            usleep(seed / 65536 % 4000);
            kill(children[i], SIGKILL);
            CHECK_INT(files_wait(children[i]), -SIGKILL);
        }
        from = inspect(s, "round", round);
        promised->marked = 0;
        promised->saved = from;
    }
    recover(s, from, "round", rounds);
    printf("# %d kills, %lld rotations\n", 2 * rounds, (long long)from);
    end();
}

/* --- calls that fail ---------------------------------------------------------------------------------------------- */

/* The record at PATH, byte for byte. */
static bool is_record(int64_t generation, bool in_flight)
{
    dpg_buf b = kit_record(KIT_A, generation, in_flight);
    bool same = files_is(path, b.ptr, b.len);

    dpg_buf_clear(&b);
    return same;
}

TEST("when any one call of a mark or a save fails, it is told, what is stored is right, and the next try succeeds")
{
    static const struct {
        int number;
        const char *code;
    } errors[] = {{EIO, "store_io"},          {ENOSPC, "store_full"},   {EDQUOT, "store_full"},
                  {EROFS, "store_read_only"}, {EACCES, "store_denied"}, {EMFILE, "store_io"}};
    dpg_buf one = kit_record(KIT_A, 1, false), marked = kit_record(KIT_A, 1, true), two = kit_record(KIT_A, 2, false);
    int told = 0, passed_over = 0;

    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++) {
        bool hit = true;

        for (int at = 1; hit && check_faults < 5; at++) {
            dpg_store *store;
            dpg_store_reply mark, save = {0};

            begin(&scenes[1]);
            promises_new();
            store = kit_file(path);
            kit_lock(store);
            dpg_buf_clear(&((dpg_store_reply[]){kit_ask(store, DPG_STORE_LOAD)})->bytes);
            arm(FAULT_ONCE, at, errors[e].number);
            mark = kit_save(store, &marked, &one, true);
            if (mark.outcome == DPG_STORE_DONE) save = kit_save(store, &two, &marked, false);
            disarm();
            hit = fault.hit;
            if (mark.outcome == DPG_STORE_FAILED) {
                told++;
                CHECK_STR(mark.error.code, errors[e].code);
                if (!is_record(1, false)) CHECK_FAIL("%s %d: a refused mark is there all the same", fault.name, at);
                CHECK_INT(files_count(files_at(scratch, "keep"), ""), 2);
                CHECK_INT(kit_save(store, &marked, &one, true).outcome, DPG_STORE_DONE);
                CHECK_INT(kit_save(store, &two, &marked, false).outcome, DPG_STORE_DONE);
            } else if (save.outcome == DPG_STORE_FAILED) {
                told++;
                CHECK_STR(save.error.code, errors[e].code);
                if (!is_record(1, true) && !is_record(2, false)) CHECK_FAIL("%s %d: a torn record", fault.name, at);
                save = kit_save(store, &two, &marked, false);
                if (save.outcome != DPG_STORE_DONE)
                    CHECK_FAIL("%s %d: the second try: %d %s", fault.name, at, (int)save.outcome, save.error.message);
            } else if (hit) {
                passed_over++; /* the look for leftovers; nothing depends on it */
            }
            CHECK(is_record(2, false));
            kit_unlock(store);
            dpg_store_free(store);
            recover(&scenes[1], 2, fault.name, at);
            end();
        }
    }
    printf("# %d faults told, %d of no consequence\n", told, passed_over);
    CHECK(told >= 60);
    CHECK_INT(passed_over, 0);
    dpg_buf_clear(&one);
    dpg_buf_clear(&marked);
    dpg_buf_clear(&two);
}

TEST("when all calls fail from one on, and the process ends, a whole record is left, and no promise is broken")
{
    for (size_t i = 0; i < SCENES; i++) {
        const scene *s = &scenes[i];
        bool hit = true;

        for (int at = 1; hit && check_faults < 5; at++) {
            dpg_store *store;
            dpg_store_reply refused;
            int64_t generation = 0;

            begin(s);
            promises_new();
            store = kit_file(path);
            arm(FAULT_FROM, at, EIO);
            rotate(store, &refused, &generation);
            disarm();
            hit = fault.hit;
            dpg_store_free(store);
            generation = inspect(s, fault.name, at);
            recover(s, generation, fault.name, at);
            end();
        }
    }
}

TEST("a load that can't repair says so, and the next one can")
{
    for (size_t i = 3; i < SCENES; i++) {
        const scene *s = &scenes[i];
        bool hit = true;

        for (int at = 1; hit && check_faults < 5; at++) {
            dpg_store *store;
            dpg_store_reply reply;

            begin(s);
            promises_new();
            store = kit_file(path);
            kit_lock(store);
            arm(FAULT_ONCE, at, ENOSPC);
            reply = kit_ask(store, DPG_STORE_LOAD);
            disarm();
            hit = fault.hit;
            if (hit && reply.outcome == DPG_STORE_FAILED) {
                if (strcmp(fault.name, "linkat") != 0) CHECK_STR(reply.error.code, "store_full");
            } else if (strcmp(fault.name, "linkat") != 0 && hit) {
                CHECK_FAIL("%s: a failed %s was not told", s->name, fault.name);
            }
            dpg_buf_clear(&reply.bytes);
            dpg_store_free(store);
            recover(s, inspect(s, fault.name, at), fault.name, at);
            end();
        }
    }
}

TEST("interrupted calls and short writes are gone on with")
{
    for (int shortly = 0; shortly < 2; shortly++) {
        bool hit = true;

        for (int at = 1; hit && check_faults < 5; at++) {
            dpg_store *store;
            dpg_store_reply refused;
            int64_t generation;

            begin(&scenes[1]);
            promises_new();
            store = kit_file(path);
            arm(shortly ? FAULT_SHORT : FAULT_ONCE, at, EINTR);
            if (!rotate(store, &refused, &generation)) CHECK_FAIL("%s %d: %s", fault.name, at, refused.error.message);
            disarm();
            hit = fault.hit;
            CHECK(is_record(2, false));
            dpg_store_free(store);
            end();
        }
    }
}

TEST("a power cut takes nothing that was promised: files are on the disk before they get their name, names before the "
     "answer")
{
    for (size_t i = 0; i < SCENES; i++) {
        const scene *s = &scenes[i];
        dpg_store *store;
        dpg_store_reply reply;
        dpg_buf marked, next;
        int64_t generation = s->generation;
        int fd;

        begin(s);
        store = kit_file(path);
        kit_lock(store);
        memset(&loose, 0, sizeof loose);
        fd = open(beside(".spare"), O_RDONLY | O_CLOEXEC); /* who was killed may not have come to his fsync */
        if (fd >= 0) {
            loosen(fd);
            close(fd);
        }
        reply = kit_ask(store, DPG_STORE_LOAD);
        if (s->damaged && !generation) {
            CHECK_INT(loose.names, false);
            reply = kit_ask(store, DPG_STORE_LOAD);
        }
        CHECK_INT(reply.outcome, DPG_STORE_DONE);
        CHECK_INT(loose.names, false);
        marked = kit_record(KIT_A, generation, true);
        next = kit_record(KIT_A, generation + 1, false);
        CHECK_INT(kit_save(store, &marked, reply.found ? &reply.bytes : NULL, true).outcome, DPG_STORE_DONE);
        CHECK_INT(loose.names, false);
        CHECK_INT(kit_save(store, &next, &marked, false).outcome, DPG_STORE_DONE);
        CHECK_INT(loose.names, false);
        CHECK_INT(loose.early, 0);
        CHECK(loose.renames >= 2);
        dpg_buf_clear(&reply.bytes);
        dpg_buf_clear(&marked);
        dpg_buf_clear(&next);
        dpg_store_free(store);
        end();
    }
}

TEST("while the disk fails, the successor is tried again until it is there")
{
    dpg_buf one = kit_record(KIT_A, 1, false), marked = kit_record(KIT_A, 1, true), two = kit_record(KIT_A, 2, false);

    for (int at = 1; at < 12; at++) {
        dpg_store *store;
        bool failed_once = false;

        begin(&scenes[1]);
        promises_new();
        store = kit_file(path);
        kit_lock(store);
        CHECK_INT(kit_save(store, &marked, &one, true).outcome, DPG_STORE_DONE);
        for (int tries = 0; tries < 3; tries++) {
            arm(FAULT_FROM, at, EIO);
            failed_once = kit_save(store, &two, &marked, false).outcome == DPG_STORE_FAILED || failed_once;
            disarm();
        }
        CHECK_INT(kit_save(store, &two, &marked, false).outcome, DPG_STORE_DONE);
        CHECK(is_record(2, false));
        CHECK(failed_once || at > 6);
        dpg_store_free(store);
        end();
    }
    dpg_buf_clear(&one);
    dpg_buf_clear(&marked);
    dpg_buf_clear(&two);
}

/* A mark, and a successor that came as far as its rename, which failed. */
static dpg_store *half_saved(const dpg_buf *one, const dpg_buf *marked, const dpg_buf *two)
{
    dpg_store *store;

    begin(&scenes[1]);
    promises_new();
    store = kit_file(path);
    kit_lock(store);
    CHECK_INT(kit_save(store, marked, one, true).outcome, DPG_STORE_DONE);
    arm(FAULT_ONCE, 1, EIO);
    fault.only = "renameat";
    CHECK_INT(kit_save(store, two, marked, false).outcome, DPG_STORE_FAILED);
    disarm();
    CHECK_STR(fault.name, "renameat");
    return store;
}

TEST("a successor that is whole in the spare is not written over by the next try")
{
    dpg_buf one = kit_record(KIT_A, 1, false), marked = kit_record(KIT_A, 1, true), two = kit_record(KIT_A, 2, false);
    dpg_store *store = half_saved(&one, &marked, &two);

    loose.writes = 0;
    CHECK_INT(kit_save(store, &two, &marked, false).outcome, DPG_STORE_DONE);
    CHECK_INT(loose.writes, 0);
    CHECK(is_record(2, false));
    dpg_store_free(store);
    end();
    dpg_buf_clear(&one);
    dpg_buf_clear(&marked);
    dpg_buf_clear(&two);
}

TEST("the next try may save other bytes than the one that failed")
{
    dpg_buf one = kit_record(KIT_A, 1, false), marked = kit_record(KIT_A, 1, true), two = kit_record(KIT_A, 2, false);
    dpg_buf three = kit_record(KIT_A, 3, false);
    dpg_store *store = half_saved(&one, &marked, &two);

    CHECK_INT(kit_save(store, &three, &marked, false).outcome, DPG_STORE_DONE);
    CHECK(is_record(3, false));
    dpg_store_free(store);
    end();
    dpg_buf_clear(&one);
    dpg_buf_clear(&marked);
    dpg_buf_clear(&two);
    dpg_buf_clear(&three);
}
#endif

CHECK_MAIN()
