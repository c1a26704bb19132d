/*
 * The stores in memory and in a file: what they keep, what they refuse, and with what words. What happens when a
 * process is killed or a system call fails is test_store_kill.c's.
 */
#include "check.h"
#include "drivers.h"
#include "files.h"
#include "record.h"
#include "store_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#ifndef _WIN32
#include <sys/file.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#endif
#ifdef __linux__
#include <linux/fs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#endif

/* What the tests below start from: a scratch folder, a store in it, a few records. */
static char *scratch;
static char path[4400];
static dpg_store *store;
static dpg_buf one, one_marked, two, three, other, tombstone, newer;

static void begin(void)
{
    scratch = files_scratch();
    snprintf(path, sizeof path, "%s/keep/session", scratch);
    store = kit_file(path);
    one = kit_record(KIT_A, 1, false);
    one_marked = kit_record(KIT_A, 1, true);
    two = kit_record(KIT_A, 2, false);
    three = kit_record(KIT_A, 3, false);
    other = kit_record(KIT_B, 9, false);
    tombstone = kit_record("", 9, false);
    newer = kit_newer();
}

static void end(void)
{
    dpg_buf *all[] = {&one, &one_marked, &two, &three, &other, &tombstone, &newer};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) dpg_buf_clear(all[i]);
    dpg_store_free(store);
    store = NULL;
    files_remove(scratch);
}

static const char *beside(const char *tail) /* PATH.tail */
{
    static char name[4500];

    snprintf(name, sizeof name, "%s%s", path, tail);
    return name;
}

static const char *keep(void)
{
    return files_at(scratch, "keep");
}

static void put(const char *tail, const dpg_buf *bytes)
{
    mkdir(keep(), 0700);
    if (!files_put(beside(tail), bytes->ptr, bytes->len, 0600)) CHECK_FAIL("%s: %s", beside(tail), strerror(errno));
}

static bool holds(const char *tail, const dpg_buf *bytes)
{
    return files_is(beside(tail), bytes->ptr, bytes->len);
}

#define CHECK_SAVED(reply) check_outcome(__FILE__, __LINE__, (reply), DPG_STORE_DONE, "")
#define CHECK_REFUSED(reply, code) check_outcome(__FILE__, __LINE__, (reply), DPG_STORE_FAILED, code)

/* Also: whatever is refused has a message, on one line, that holds no token. */
static void check_outcome(const char *file, int line, dpg_store_reply reply, dpg_store_outcome want, const char *code)
{
    check_int(file, line, "outcome", reply.outcome, want);
    check_str(file, line, "code", reply.error.code, code);
    if (getenv("STORE_SHOW") && code[0]) printf("# %s: %s\n", reply.error.code, reply.error.message);
    if (reply.outcome == DPG_STORE_FAILED) {
        check_int(file, line, "kind", reply.error.kind,
                  strcmp(code, "store_other_process") == 0 ? DPG_KIND_USAGE : DPG_KIND_STORAGE);
        if (!reply.error.message[0] || strchr(reply.error.message, '\n') || strstr(reply.error.message, "token-"))
            CHECK_FAIL("line %d: a message of “%s”", line, reply.error.message);
    }
    dpg_buf_clear(&reply.bytes);
}

/* The load gives just these bytes; NULL: nothing is stored. */
#define CHECK_LOADS(want) check_loads(__FILE__, __LINE__, store, (want))
static void check_loads(const char *file, int line, dpg_store *s, const dpg_buf *want)
{
    dpg_store_reply reply = kit_ask(s, DPG_STORE_LOAD);

    check_int(file, line, "outcome", reply.outcome, DPG_STORE_DONE);
    if (reply.outcome == DPG_STORE_FAILED) printf("# %s: %s\n", reply.error.code, reply.error.message);
    check_int(file, line, "found", reply.found, want != NULL);
    if (want) check_mem(file, line, "the record", reply.bytes.ptr, reply.bytes.len, want->ptr, want->len);
    if (reply.found && !reply.bytes.secret) CHECK_FAIL("line %d: the bytes are no secret buffer", line);
    dpg_buf_clear(&reply.bytes);
}

#ifndef _WIN32
/* What can't be tried on this machine is a failure in CI, and said aloud elsewhere. */
static void missing(const char *what)
{
    const char *ci = getenv("CI");

    if (ci && strcmp(ci, "true") == 0) CHECK_FAIL("not tried: %s", what);
    else printf("# not tried here: %s\n", what);
}
#endif

/* --- both --------------------------------------------------------------------------------------------------------- */

static void check_keeping(void)
{
    dpg_store_reply reply;

    CHECK_LOADS(NULL);
    CHECK_REFUSED(kit_save(store, &one, NULL, false), "store_not_locked");
    CHECK_INT(kit_lock(store), DPG_STORE_DONE);
    reply = kit_ask(store, DPG_STORE_LOCK);
    CHECK_INT(reply.outcome, DPG_STORE_BUSY);
    CHECK(reply.again_ms > 0 && reply.again_ms < 100);
    CHECK(reply.holder[0]);

    CHECK_INT(kit_save(store, &two, &one, false).outcome, DPG_STORE_CHANGED);
    CHECK_LOADS(NULL);
    CHECK_SAVED(kit_save(store, &one, NULL, false));
    CHECK_LOADS(&one);
    CHECK_INT(kit_save(store, &two, NULL, false).outcome, DPG_STORE_CHANGED);
    CHECK_INT(kit_save(store, &two, &three, true).outcome, DPG_STORE_CHANGED);
    CHECK_LOADS(&one);
    CHECK_SAVED(kit_save(store, &one_marked, &one, true));
    CHECK_LOADS(&one_marked);
    CHECK_SAVED(kit_save(store, &two, &one_marked, false));
    CHECK_LOADS(&two);
    CHECK_SAVED(kit_save(store, &tombstone, &two, false));
    CHECK_LOADS(&tombstone);
    kit_unlock(store);
    CHECK_REFUSED(kit_save(store, &other, &tombstone, false), "store_not_locked");
    CHECK_LOADS(&tombstone);
    kit_unlock(store);
    CHECK_INT(kit_lock(store), DPG_STORE_DONE);
    CHECK_SAVED(kit_save(store, &other, &tombstone, false));
    CHECK_LOADS(&other);
    kit_unlock(store);
}

TEST("memory: keeps a record, replaces what is expected alone, and is locked by one")
{
    begin();
    dpg_store_free(store);
    REQUIRE(dpg_store_memory_new(&store, NULL) == DPG_OK);
    check_keeping();
    end();
}

TEST("file: keeps a record, replaces what is expected alone, and is locked by one")
{
    begin();
    check_keeping();
    CHECK_INT(files_count(keep(), ""), 2);
    end();
}

#ifndef _WIN32
TEST("memory: another process made by fork is refused, and told what to use")
{
    dpg_store_op ops[] = {DPG_STORE_LOCK, DPG_STORE_LOAD, DPG_STORE_SAVE, DPG_STORE_UNLOCK};
    pid_t child;

    begin();
    dpg_store_free(store);
    REQUIRE(dpg_store_memory_new(&store, NULL) == DPG_OK);
    kit_lock(store);
    CHECK_SAVED(kit_save(store, &one, NULL, false));
    child = fork();
    if (child == 0) {
        for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
            dpg_store_reply reply = kit_ask(store, ops[i]);

            CHECK(strstr(reply.error.message, "file store"));
            CHECK_REFUSED(reply, "store_other_process");
        }
        _exit(check_faults);
    }
    CHECK_INT(files_wait(child), 0);
    CHECK_LOADS(&one);
    end();
}
#endif

TEST("a store lives as long as somebody refers to it")
{
    begin();
    CHECK(dpg_store_ref(store) == store);
    dpg_store_free(store);
    CHECK_LOADS(NULL);
    dpg_store_free(NULL);
    end();
}

/* --- the file's path ---------------------------------------------------------------------------------------------- */

TEST("file: paths that can't be one are refused at once")
{
    static char long_name[260], long_path[5000];
    struct {
        dpg_str path;
        const char *says;
    } cases[] = {
        {DPG_LIT(""), "empty"},
        {DPG_LIT("a\0b"), "NUL"},
        {DPG_LIT("folder/"), "folder"},
        {DPG_LIT("/"), "folder"},
        {DPG_LIT("."), "folder"},
        {DPG_LIT("a/.."), "folder"},
        {DPG_LIT("session.lock"), ".lock"},
        {DPG_LIT("session.spare"), ".spare"},
        {DPG_LIT("session.mark"), ".mark"},
        {{long_name, 201}, "name is too long"},
        {{long_path, 4000}, "too long"},
    };

    memset(long_name, 'n', sizeof long_name);
    memset(long_path, '/', sizeof long_path);
    long_path[3999] = 'x';
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dpg_store *s = NULL;
        dpg_error err = DPG_ERROR_INIT;

        CHECK_INT(dpg_store_file_new(cases[i].path, &s, &err), DPG_E_INVALID);
        CHECK_STR(err.code, "store_path");
        CHECK_INT(err.kind, DPG_KIND_USAGE);
        if (!strstr(err.message, cases[i].says)) CHECK_FAIL("case %zu: %s", i, err.message);
        CHECK_NULL(s);
    }
}

TEST("file: the longest allowed name works, also when it is damaged")
{
    char name[201];

    begin();
    memset(name, 'n', 200);
    name[200] = '\0';
    snprintf(path, sizeof path, "%s/keep/%s", scratch, name);
    dpg_store_free(store);
    store = kit_file(path);
    REQUIRE(store);
    CHECK_INT(kit_lock(store), DPG_STORE_DONE);
    CHECK_SAVED(kit_save(store, &one_marked, NULL, true));
    CHECK(files_put(path, "x", 1, 0600));
    CHECK_REFUSED(kit_ask(store, DPG_STORE_LOAD), "store_damaged");
    CHECK_INT(files_count(keep(), ".damaged-"), 1);
    end();
}

#ifndef _WIN32
TEST("file: nothing is touched until a store is used; then folders are 0700 and files 0600, whatever the umask")
{
    mode_t mask = umask(0);

    begin();
    CHECK_INT(files_count(scratch, ""), 0);
    CHECK_LOADS(NULL);
    CHECK_INT(files_count(scratch, ""), 0);
    kit_lock(store);
    CHECK_SAVED(kit_save(store, &one, NULL, false));
    CHECK_SAVED(kit_save(store, &one_marked, &one, true));
    CHECK_INT(files_mode(keep()), 0700);
    CHECK_INT(files_mode(path), 0600);
    CHECK_INT(files_mode(beside(".lock")), 0600);
    CHECK_INT(files_mode(beside(".spare")), 0600);
    umask(0777);
    unlink(beside(".spare"));
    CHECK_SAVED(kit_save(store, &two, &one_marked, false));
    CHECK_INT(files_mode(path), 0600);
    umask(mask);
    CHECK_LOADS(&two);
    end();
}

TEST("file: a mark leaves room for a larger successor, which takes it")
{
    struct stat st, after;

    begin();
    kit_lock(store);
    CHECK_SAVED(kit_save(store, &one_marked, NULL, true));
    CHECK(stat(beside(".spare"), &st) == 0);
    CHECK(st.st_size >= 16384 && st.st_size >= (off_t)(2 * one_marked.len));
    CHECK(st.st_blocks * 512 >= st.st_size);
    CHECK_SAVED(kit_save(store, &two, &one_marked, false));
    CHECK(stat(path, &after) == 0);
    CHECK(after.st_ino == st.st_ino);
    CHECK_INT(files_count(keep(), ""), 2);
    end();
}
#endif

TEST("file: a relative path stays where it was when the program changes its folder")
{
    char here[4096];

    begin();
    REQUIRE(getcwd(here, sizeof here));
    mkdir(files_at(scratch, "a"), 0700);
    mkdir(files_at(scratch, "b"), 0700);
    REQUIRE(chdir(files_at(scratch, "a")) == 0);
    dpg_store_free(store);
    store = kit_file("session");
    REQUIRE(chdir("../b") == 0);
    kit_lock(store);
    CHECK_SAVED(kit_save(store, &one, NULL, false));
    REQUIRE(chdir(here) == 0);
    CHECK(files_is(files_at(scratch, "a/session"), one.ptr, one.len));
    end();
}

#ifndef _WIN32
TEST("file: two ways to write one path have one identity, before and after its folder exists")
{
    dpg_store *again;
    char link[4400];

    begin();
    CHECK(symlink(scratch, files_at(scratch, "link")) == 0);
    snprintf(link, sizeof link, "%s/link/./keep/session", scratch);
    again = kit_file(link);
    REQUIRE(again && store);
    CHECK_STR(again->identity, store->identity);
    CHECK(strncmp(store->identity, "file:/", 6) == 0);
    dpg_store_free(again);
    kit_lock(store);
    again = kit_file(link);
    CHECK_STR(again->identity, store->identity);
    CHECK_INT(kit_lock(again), DPG_STORE_BUSY);
    dpg_store_free(again);
    end();
}

/* --- who else could meddle ---------------------------------------------------------------------------------------- */

TEST("file: a folder that others can write to is refused, for every use, and left as it is")
{
    static const int modes[] = {0770, 0720, 0702, 0777, 01777};

    begin();
    mkdir(keep(), 0700);
    put("", &one);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        CHECK(chmod(keep(), (mode_t)modes[i]) == 0);
        CHECK_REFUSED(kit_ask(store, DPG_STORE_LOCK), "store_folder_writable_by_others");
        CHECK_REFUSED(kit_ask(store, DPG_STORE_LOAD), "store_folder_writable_by_others");
    }
    CHECK_INT(files_count(keep(), ""), 1);
    CHECK(chmod(keep(), 0755) == 0);
    CHECK_LOADS(&one);
    CHECK_INT(files_mode(keep()), 0755);
    end();
}

TEST("file: /tmp itself is refused, a folder in it is not")
{
    dpg_store *s = kit_file("/tmp/dpg-test-session");
    dpg_store_reply reply = kit_ask(s, DPG_STORE_LOCK);

    if (files_mode("/tmp") == 01777) {
        CHECK(strstr(reply.error.message, "/tmp") && strstr(reply.error.message, "folder of your own"));
        CHECK_REFUSED(reply, "store_folder_writable_by_others");
    } else {
        printf("# /tmp is not what it usually is\n");
    }
    dpg_store_free(s);
}

static const char *const own_names[] = {"", ".lock", ".mark", ".spare"};

/* The first refusal on the way from lock over load and mark to save. */
static dpg_store_reply whole_way(void)
{
    dpg_store_reply reply = kit_ask(store, DPG_STORE_LOCK), loaded;

    if (reply.outcome != DPG_STORE_DONE) return reply;
    loaded = kit_ask(store, DPG_STORE_LOAD);
    if (loaded.outcome == DPG_STORE_DONE) {
        reply = kit_save(store, &one_marked, loaded.found ? &loaded.bytes : NULL, true);
        dpg_buf_clear(&loaded.bytes);
        if (reply.outcome == DPG_STORE_DONE) reply = kit_save(store, &two, &one_marked, false);
    } else {
        reply = loaded;
    }
    kit_unlock(store);
    return reply;
}

TEST("file: symbolic links are not followed, and what they point to is not touched")
{
    for (size_t i = 0; i < 4; i++) {
        begin();
        put("", &one);
        CHECK(files_put(files_at(scratch, "victim"), "precious", 8, 0644));
        unlink(beside(own_names[i]));
        CHECK(symlink("../victim", beside(own_names[i])) == 0);
        CHECK_REFUSED(whole_way(), "store_symlink");
        CHECK(files_is(files_at(scratch, "victim"), "precious", 8));
        CHECK_INT(files_mode(files_at(scratch, "victim")), 0644);
        if (i > 0) CHECK(holds("", &one));

        unlink(files_at(scratch, "victim")); /* a link that leads nowhere, and one to a folder */
        CHECK_REFUSED(whole_way(), "store_symlink");
        CHECK_INT(files_mode(files_at(scratch, "victim")), -1);
        mkdir(files_at(scratch, "victim"), 0700);
        CHECK_REFUSED(whole_way(), "store_symlink");
        if (i > 0) CHECK(holds("", &one));
        end();
    }
}

TEST("file: folders, pipes and devices in the place of its files are refused without waiting for them")
{
    for (int kind = 0; kind < 3; kind++) {
        for (size_t i = 0; i < 4; i++) {
            begin();
            put("", &one);
            unlink(beside(own_names[i]));
            if (kind == 0) CHECK(mkdir(beside(own_names[i]), 0700) == 0);
            if (kind == 1) CHECK(mkfifo(beside(own_names[i]), 0600) == 0);
            if (kind == 2 && mknod(beside(own_names[i]), S_IFCHR | 0600, makedev(1, 3)) != 0) {
                printf("# no device could be made: %s\n", strerror(errno));
            } else {
                CHECK_REFUSED(whole_way(), "store_not_a_file");
                if (i > 0) CHECK(holds("", &one));
            }
            end();
        }
    }
}

TEST("file: a file where a folder should be is refused")
{
    begin();
    CHECK(files_put(keep(), "", 0, 0600));
    CHECK_REFUSED(kit_ask(store, DPG_STORE_LOCK), "store_not_a_folder");
    CHECK_REFUSED(kit_ask(store, DPG_STORE_LOAD), "store_not_a_folder");
    dpg_store_free(store);
    snprintf(path, sizeof path, "%s/keep/deeper/session", scratch);
    store = kit_file(path);
    CHECK_REFUSED(kit_ask(store, DPG_STORE_LOCK), "store_not_a_folder");
    end();
}

TEST("file: files of another user are refused")
{
    begin();
    if (geteuid() != 0) {
        missing("files of another user (root alone can make them)");
    } else {
        for (size_t i = 0; i < 4; i++) {
            mkdir(keep(), 0700);
            put("", &one);
            put(own_names[i], &one);
            CHECK(chown(beside(own_names[i]), 12345, 12345) == 0);
            CHECK_REFUSED(whole_way(), "store_not_ours");
            CHECK(holds(own_names[i], &one));
            unlink(beside(own_names[i]));
        }
    }
    end();
}

TEST("file: a record that others could read is made private when it is read")
{
    begin();
    put("", &one);
    CHECK(chmod(path, 0644) == 0);
    CHECK_LOADS(&one);
    CHECK_INT(files_mode(path), 0600);
    end();
}

TEST("file: without permission it says so, and names the place")
{
    pid_t child;

    begin();
    put("", &one);
    if (geteuid() != 0) {
        missing("another user's view (root alone can become one)");
    } else {
        CHECK(chmod(scratch, 0755) == 0);
        child = fork();
        if (child == 0) {
            dpg_store_reply reply;

            /* a folder of ours that we may not write to */
            if (chmod(keep(), 0755) != 0 || chown(path, 65534, 65534) != 0) _exit(90);
            if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) _exit(91);
            reply = kit_ask(store, DPG_STORE_LOCK);
            CHECK(strstr(reply.error.message, "session.lock"));
            CHECK_REFUSED(reply, "store_denied");
            CHECK_LOADS(&one);
            /* a folder that may not be made */
            dpg_store_free(store);
            store = kit_file(files_at(scratch, "new/session"));
            CHECK_REFUSED(kit_ask(store, DPG_STORE_LOCK), "store_denied");
            CHECK_LOADS(NULL);
            _exit(check_faults);
        }
        CHECK_INT(files_wait(child), 0);

        /* a folder of another user, closed to the rest */
        CHECK(chmod(keep(), 0700) == 0 && chown(keep(), 12345, 12345) == 0);
        child = fork();
        if (child == 0) {
            if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) _exit(91);
            CHECK_REFUSED(kit_ask(store, DPG_STORE_LOCK), "store_denied");
            CHECK_REFUSED(kit_ask(store, DPG_STORE_LOAD), "store_denied");
            _exit(check_faults);
        }
        CHECK_INT(files_wait(child), 0);

        /* and one of another user, who could change what is in it */
        CHECK(chmod(keep(), 0755) == 0);
        child = fork();
        if (child == 0) {
            if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0) _exit(91);
            CHECK_REFUSED(kit_ask(store, DPG_STORE_LOAD), "store_folder_writable_by_others");
            _exit(check_faults);
        }
        CHECK_INT(files_wait(child), 0);
    }
    end();
}

TEST("file: a record that can't be renamed over is found out by the mark, before anything is spent")
{
    long flags = 0; /* the kernel moves an int, but the call is declared for a long */
    int fd;
    dpg_store_reply reply;

    begin();
    put("", &one);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    REQUIRE(fd >= 0);
#ifdef FS_IOC_SETFLAGS
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0) {
        missing("a file marked immutable: this file system has none");
    } else {
        long immutable = flags | FS_IMMUTABLE_FL;

        if (ioctl(fd, FS_IOC_SETFLAGS, &immutable) != 0) {
            missing("a file marked immutable (root alone can mark it)");
        } else {
            kit_lock(store);
            reply = kit_save(store, &one_marked, &one, true);
            CHECK(strstr(reply.error.message, path));
            CHECK_REFUSED(reply, "store_denied");
            ioctl(fd, FS_IOC_SETFLAGS, &flags);
            CHECK_LOADS(&one);
            CHECK_INT(files_count(keep(), ""), 2);
        }
    }
#else
    (void)flags, (void)reply;
    missing("a file marked immutable: no such call here");
#endif
    close(fd);
    end();
}

/* --- more than one ------------------------------------------------------------------------------------------------ */

TEST("file: processes that fight for the lock lose no generation and spend none twice")
{
    enum {
        CHILDREN = 4,
        EACH = 60
    };
    pid_t children[CHILDREN];
    dpg_buf last;

    begin();
    put("", &one);
    for (int i = 0; i < CHILDREN; i++) {
        children[i] = fork();
        if (children[i] != 0) continue;
        for (int n = 0; n < EACH && !check_faults; n++) {
            dpg_store_reply loaded;
            dpg_buf marked, next;
            int64_t generation = 0;
            char family[DPG_FAMILY_SIZE];

            while (kit_lock(store) == DPG_STORE_BUSY) usleep(300);
            loaded = kit_ask(store, DPG_STORE_LOAD);
            CHECK(dpg_record_peek(dpg_buf_str(&loaded.bytes), &generation, family) == DPG_RECORD_WHOLE);
            marked = kit_record(KIT_A, generation, true);
            next = kit_record(KIT_A, generation + 1, false);
            CHECK_SAVED(kit_save(store, &marked, &loaded.bytes, true));
            CHECK_SAVED(kit_save(store, &next, &marked, false));
            kit_unlock(store);
            dpg_buf_clear(&loaded.bytes);
            dpg_buf_clear(&marked);
            dpg_buf_clear(&next);
        }
        _exit(check_faults ? 1 : 0);
    }
    for (int i = 0; i < CHILDREN; i++) CHECK_INT(files_wait(children[i]), 0);
    last = kit_record(KIT_A, 1 + CHILDREN * EACH, false);
    CHECK_LOADS(&last);
    dpg_buf_clear(&last);
    end();
}

TEST("file: a holder is named, and its death gives the lock back")
{
    int ready[2];
    char byte = 0, want[32];
    pid_t child;
    dpg_store_reply reply;

    begin();
    REQUIRE(pipe(ready) == 0);
    child = fork();
    if (child == 0) {
        byte = (char)kit_lock(store);
        if (write(ready[1], &byte, 1) == 1) pause();
        _exit(1);
    }
    CHECK(read(ready[0], &byte, 1) == 1);
    CHECK_INT(byte, DPG_STORE_DONE);
    reply = kit_ask(store, DPG_STORE_LOCK);
    snprintf(want, sizeof want, "process %d", (int)child);
    CHECK_INT(reply.outcome, DPG_STORE_BUSY);
    CHECK_STR(reply.holder, want);
    kill(child, SIGKILL);
    CHECK_INT(files_wait(child), -SIGKILL);
    CHECK_INT(kit_lock(store), DPG_STORE_DONE);
    close(ready[0]);
    close(ready[1]);
    end();
}

TEST("file: a child made by fork has none of its parent's lock, and its own once it asks")
{
    pid_t child;

    begin();
    kit_lock(store);
    CHECK_SAVED(kit_save(store, &one, NULL, false));
    child = fork();
    if (child == 0) {
        CHECK_REFUSED(kit_save(store, &two, &one, false), "store_not_locked");
        kit_unlock(store);
        CHECK_INT(kit_lock(store), DPG_STORE_BUSY);
        CHECK_LOADS(&one);
        dpg_store_free(store);
        _exit(check_faults);
    }
    CHECK_INT(files_wait(child), 0);
    CHECK_SAVED(kit_save(store, &two, &one, false));
    kit_unlock(store);
    child = fork();
    if (child == 0) {
        CHECK_INT(kit_lock(store), DPG_STORE_DONE);
        CHECK_SAVED(kit_save(store, &three, &two, false));
        _exit(check_faults);
    }
    CHECK_INT(files_wait(child), 0);
    CHECK_LOADS(&three);
    end();
}
#endif

TEST("file: a lock file that was removed and made anew does not give two holders")
{
    dpg_store *again;

    begin();
    kit_lock(store);
    kit_unlock(store);
    CHECK(unlink(beside(".lock")) == 0);
    CHECK_INT(kit_lock(store), DPG_STORE_DONE);
    again = kit_file(path);
    CHECK_INT(kit_lock(again), DPG_STORE_BUSY);
    dpg_store_free(again);
    end();
}

TEST("file: a store that goes away gives its lock back")
{
    dpg_store *again;

    begin();
    again = kit_file(path);
    kit_lock(again);
    CHECK_INT(kit_lock(store), DPG_STORE_BUSY);
    dpg_store_free(again);
    CHECK_INT(kit_lock(store), DPG_STORE_DONE);
    end();
}

/* --- damaged, newer, left over ------------------------------------------------------------------------------------ */

TEST("file: a record of a newer version is left as it is, and told")
{
    for (int locked = 0; locked < 2; locked++) {
        begin();
        put("", &newer);
        if (locked) kit_lock(store);
        CHECK_REFUSED(kit_ask(store, DPG_STORE_LOAD), "store_newer");
        CHECK(holds("", &newer));
        if (locked) {
            CHECK_REFUSED(kit_save(store, &two, &one, true), "store_newer");
            CHECK_REFUSED(kit_save(store, &two, NULL, false), "store_newer");
        }
        CHECK(holds("", &newer));
        CHECK_INT(files_count(keep(), ".damaged-"), 0);

        put("", &one); /* a spare that a newer version left may be all there is of a session */
        put(".spare", &newer);
        CHECK_REFUSED(kit_ask(store, DPG_STORE_LOAD), "store_newer");
        CHECK(holds(".spare", &newer));
        end();
    }
}

/* PATH holds `bytes`, which are no record: they are kept beside, once, and nothing is stored any more. */
static void check_damage(const char *bytes, size_t len)
{
    const char *kept;
    dpg_store_reply reply;

    if (!files_put(path, bytes, len, 0600)) CHECK_FAIL("%s: %s", path, strerror(errno));
    reply = kit_ask(store, DPG_STORE_LOAD);
    kept = files_find(keep(), ".damaged-");
    if (!kept || files_count(keep(), ".damaged-") != 1) {
        CHECK_FAIL("%d files kept", files_count(keep(), ".damaged-"));
        return;
    }
    CHECK(strstr(reply.error.message, strrchr(kept, '/') + 1));
    CHECK_REFUSED(reply, "store_damaged");
    CHECK(files_is(kept, bytes, len));
    CHECK_INT(files_mode(kept), 0600);
    CHECK_INT(files_mode(path), -1);
    CHECK_LOADS(NULL);
    unlink(kept);
}

TEST("file: a record cut at any length is kept beside, and the error says where")
{
    begin();
    mkdir(keep(), 0700);
    kit_lock(store);
    for (size_t len = 0; len < one.len && !check_faults; len++) check_damage(one.ptr, len);
    end();
}

TEST("file: a record with any byte changed, or with more behind it, is kept beside")
{
    dpg_buf changed;

    begin();
    mkdir(keep(), 0700);
    kit_lock(store);
    dpg_buf_init(&changed, DPG_RECORD_MAX);
    for (size_t i = 0; i < one.len && !check_faults; i++) {
        dpg_buf_clear(&changed);
        dpg_buf_put_str(&changed, dpg_buf_str(&one));
        changed.ptr[i] = (char)(changed.ptr[i] ^ (1 << (i % 8)));
        if (i == strlen("dpg-record ")) changed.ptr[i] = '0'; /* a higher version would be a newer record, see above */
        check_damage(changed.ptr, changed.len);
    }
    dpg_buf_clear(&changed);
    dpg_buf_put_str(&changed, dpg_buf_str(&one));
    dpg_buf_put(&changed, "", 1);
    check_damage(changed.ptr, changed.len);
    dpg_buf_clear(&changed);
    end();
}

TEST("file: a file far too large is kept beside whole")
{
    size_t len = DPG_RECORD_MAX + 5000;
    char *bytes = calloc(1, len);

    begin();
    mkdir(keep(), 0700);
    if (bytes) check_damage(bytes, len);
    free(bytes);
    end();
}

TEST("file: damage never takes the place of damage kept before")
{
    begin();
    mkdir(keep(), 0700);
    kit_lock(store);
    for (int i = 0; i < 12; i++) {
        char text[24];

        snprintf(text, sizeof text, "junk %d", i);
        CHECK(files_put(path, text, strlen(text), 0600));
        CHECK_REFUSED(kit_ask(store, DPG_STORE_LOAD), "store_damaged");
    }
    CHECK_INT(files_count(keep(), ".damaged-"), 12);
    end();
}

TEST("file: a sign-in after damage starts anew")
{
    begin();
    mkdir(keep(), 0700);
    CHECK(files_put(path, "junk", 4, 0600));
    kit_lock(store);
    CHECK_REFUSED(kit_ask(store, DPG_STORE_LOAD), "store_damaged");
    CHECK_SAVED(kit_save(store, &other, NULL, false));
    CHECK_LOADS(&other);
    end();
}

TEST("file: damage is left alone, and told, while somebody else holds the lock")
{
    dpg_store *holder;

    begin();
    mkdir(keep(), 0700);
    holder = kit_file(path);
    kit_lock(holder);
    CHECK(files_put(path, "junk", 4, 0600));
    CHECK_REFUSED(kit_ask(store, DPG_STORE_LOAD), "store_damaged");
    CHECK(files_is(path, "junk", 4));
    CHECK_INT(files_count(keep(), ".damaged-"), 0);
    dpg_store_free(holder);
    end();
}

TEST("file: what a killed process left in the spare is taken over when it is the session's next, and only then")
{
    dpg_buf empty = {0}, junk, padded;
    struct {
        const dpg_buf *path, *spare, *then; /* `then` NULL: refused as damaged; path NULL: nothing there */
    } cases[] = {
        {&one, &two, &two},               /* the successor */
        {&one_marked, &two, &two},        /* … of a marked one */
        {&one, &three, &three},           /* … some generations on */
        {&two, &one, &two},               /* older */
        {&two, &two, &two},               /* the very same */
        {&one, &one_marked, &one},        /* the same generation */
        {&one, &other, &one},             /* another session */
        {&one, &tombstone, &one},         /* a sign-out that nobody was told of */
        {&tombstone, &two, &tombstone},   /* a sign-out is not undone */
        {&tombstone, &other, &tombstone}, /* … by nobody */
        {NULL, &two, NULL},               /* somebody took the record away */
        {&one, &empty, &one},
        {&one, &junk, &one},
        {&one, &padded, &one}, /* half overwritten */
        {&junk, &two, &two},   /* damaged: any whole one */
        {&junk, &other, &other},
        {&junk, &tombstone, &tombstone},
        {&junk, &padded, NULL},
        {&empty, &one, &one},
    };

    dpg_buf_init(&junk, 100);
    dpg_buf_puts(&junk, "junk");
    dpg_buf_init(&padded, DPG_RECORD_MAX);
    for (int way = 0; way < 3; way++) { /* load under the lock, load without it, save */
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            const dpg_buf *was = cases[i].path, *then = cases[i].then;
            bool junky = was == &junk || was == &empty;

            begin();
            dpg_buf_clear(&padded);
            dpg_buf_put_str(&padded, dpg_buf_str(&two));
            dpg_buf_put(&padded, "\0\0\0", 3);
            mkdir(keep(), 0700);
            if (was) put("", was);
            put(".spare", cases[i].spare);
            if (way != 1) kit_lock(store);
            if (way == 2) {
                dpg_store_reply reply = kit_save(store, &three, &one, true);

                if (junky && !then) CHECK_REFUSED(reply, "store_damaged");
                else CHECK_INT(reply.outcome, then == &one || then == &three ? DPG_STORE_DONE : DPG_STORE_CHANGED);
                if (then == &one) then = &three;
            } else if (junky && !then) {
                CHECK_REFUSED(kit_ask(store, DPG_STORE_LOAD), "store_damaged");
            } else {
                CHECK_LOADS(then);
            }
            if (then) CHECK(holds("", then));
            CHECK_INT(files_count(keep(), ".damaged-"), junky);
            if (junky) CHECK(files_is(files_find(keep(), ".damaged-"), was->ptr, was->len));
            if (check_faults) printf("# way %d, case %zu\n", way, i);
            end();
            if (check_faults) return;
        }
    }
    dpg_buf_clear(&junk);
    dpg_buf_clear(&padded);
}

TEST("file: a spare that is being written by the lock's holder is not taken from him")
{
    dpg_store *holder;

    begin();
    put("", &one);
    holder = kit_file(path);
    kit_lock(holder);
    put(".spare", &two);
    CHECK_LOADS(&one);
    CHECK(holds("", &one));
    CHECK(holds(".spare", &two));
    dpg_store_free(holder);
    CHECK_LOADS(&two);
    CHECK(holds("", &two));
    end();
}

TEST("file: leftovers with tokens in them are gone after the next saves")
{
    for (int marked = 0; marked < 2; marked++) {
        begin();
        put("", &two);
        put(".spare", &one);
        put(".mark", &one_marked);
        kit_lock(store);
        if (marked) {
            CHECK_SAVED(kit_save(store, &one_marked, &two, true));
            CHECK_INT(files_mode(beside(".mark")), -1);
            CHECK_SAVED(kit_save(store, &three, &one_marked, false));
        } else {
            CHECK_SAVED(kit_save(store, &tombstone, &two, false));
        }
        CHECK_INT(files_count(keep(), ""), 2);
        end();
    }
}

TEST("file: a record that is too large is refused, and nothing is written")
{
    dpg_buf large = {0};

    begin();
    put("", &one);
    kit_lock(store);
    dpg_buf_init(&large, DPG_RECORD_MAX + 1);
    while (large.len <= DPG_RECORD_MAX && dpg_buf_put(&large, "x", 1)) {
    }
    CHECK_REFUSED(kit_save(store, &large, &one, false), "store_too_large");
    CHECK_LOADS(&one);
    dpg_buf_clear(&large);
    end();
}

/* --- disks that have no room -------------------------------------------------------------------------------------- */

#ifdef __linux__
static bool put_text(const char *name, const char *text)
{
    int fd = open(name, O_WRONLY | O_CLOEXEC);
    bool fine = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    if (fd >= 0) close(fd);
    return fine;
}

/* In a child: give it mounts of its own, and a small disk at PATH's folder. False: not possible on this machine. */
static bool mount_small(const char *options)
{
    char map[64];
    int uid = (int)getuid(), gid = (int)getgid();

    if (unshare(CLONE_NEWNS) != 0) {
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
        put_text("/proc/self/setgroups", "deny");
        snprintf(map, sizeof map, "%d %d 1", uid, uid);
        if (!put_text("/proc/self/uid_map", map)) return false;
        snprintf(map, sizeof map, "%d %d 1", gid, gid);
        if (!put_text("/proc/self/gid_map", map)) return false;
    }
    mkdir(keep(), 0700);
    return mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", keep(), "tmpfs", 0, options) == 0;
}

enum {
    CANNOT = 77
};

/* Run `body` in a child with a small disk, and count what it finds. */
static void on_small_disk(const char *options, void (*body)(void))
{
    pid_t child;
    int code;

    begin();
    fflush(stdout);
    child = fork();
    if (child == 0) {
        if (!mount_small(options)) _exit(CANNOT);
        body();
        _exit(check_faults ? 1 : 0);
    }
    code = files_wait(child);
    if (code == CANNOT) missing("full and read-only disks: no mount namespace (unshare, mount tmpfs) to be had");
    else CHECK_INT(code, 0);
    end();
}

/* Fill the disk until `pages` pages are left. */
static void fill(int pages)
{
    static const char page[4096];
    int fd = open(files_at(keep(), "filler"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    off_t size;

    while (write(fd, page, sizeof page) == (ssize_t)sizeof page) {
    }
    size = lseek(fd, 0, SEEK_END) - (off_t)pages * 4096;
    if (size < 0 || ftruncate(fd, size) != 0) CHECK_FAIL("can't leave %d pages", pages);
    close(fd);
}

/* Whatever room there is: the mark is refused and nothing has changed, or the successor fits however full it gets. */
static void full_disk(void)
{
    int refused = 0, done = 0;

    for (int pages = 0; pages < 10; pages++) {
        dpg_buf large = kit_record(KIT_A, 2, false);
        dpg_store_reply reply;

        unlink(files_at(keep(), "filler"));
        put("", &one);
        unlink(beside(".spare"));
        CHECK_INT(kit_lock(store), DPG_STORE_DONE);
        fill(pages);
        reply = kit_save(store, &one_marked, &one, true);
        if (reply.outcome == DPG_STORE_FAILED) {
            refused++;
            CHECK_REFUSED(reply, "store_full");
            CHECK_LOADS(&one);
            CHECK_INT(files_mode(beside(".spare")), -1);
            CHECK_INT(files_mode(beside(".mark")), -1);
        } else {
            done++;
            CHECK_SAVED(reply);
            fill(0);
            CHECK_SAVED(kit_save(store, &large, &one_marked, false));
            CHECK_LOADS(&large);
        }
        kit_unlock(store);
        dpg_buf_clear(&large);
    }
    CHECK(refused >= 3 && done >= 3);
}

TEST("file: on a full disk the mark is refused, or its successor fits whatever happens meanwhile")
{
    on_small_disk("mode=0700,size=64k", full_disk);
}

/* The same for a disk that has no more inodes: as many files are put in the way as fit. */
static void no_inodes(void)
{
    int refused = 0, done = 0;

    for (int left = 0; left < 4; left++) {
        dpg_store_reply reply;
        int n = 0;

        put("", &one);
        CHECK_INT(kit_lock(store), DPG_STORE_DONE);
        for (;; n++) {
            char name[32];

            snprintf(name, sizeof name, "f%d", n);
            if (!files_put(files_at(keep(), name), "", 0, 0600)) break;
        }
        for (int i = 0; i < left; i++) {
            char name[32];

            snprintf(name, sizeof name, "f%d", i);
            unlink(files_at(keep(), name));
        }
        reply = kit_save(store, &one_marked, &one, true);
        if (reply.outcome == DPG_STORE_FAILED) {
            refused++;
            CHECK_REFUSED(reply, "store_full");
            CHECK_LOADS(&one);
        } else {
            done++;
            for (int i = 0; i < n; i++) {
                char name[32];

                snprintf(name, sizeof name, "f%d", i);
                files_put(files_at(keep(), name), "", 0, 0600);
            }
            CHECK_SAVED(kit_save(store, &two, &one_marked, false));
            CHECK_LOADS(&two);
        }
        kit_unlock(store);
        for (int i = 0; i < n; i++) {
            char name[32];

            snprintf(name, sizeof name, "f%d", i);
            unlink(files_at(keep(), name));
        }
    }
    CHECK_INT(refused, 2);
    CHECK_INT(done, 2);
}

TEST("file: on a disk without inodes likewise")
{
    on_small_disk("mode=0700,nr_inodes=12", no_inodes);
}

static void read_only(void)
{
    put("", &one);
    CHECK(mount("none", keep(), "tmpfs", MS_REMOUNT | MS_RDONLY, NULL) == 0);
    CHECK_REFUSED(kit_ask(store, DPG_STORE_LOCK), "store_read_only");
    CHECK_LOADS(&one);
    CHECK(mount("none", keep(), "tmpfs", MS_REMOUNT, NULL) == 0);
    kit_lock(store);
    CHECK_SAVED(kit_save(store, &one_marked, &one, true));
    kit_unlock(store);
    put(".spare", &two);
    CHECK(mount("none", keep(), "tmpfs", MS_REMOUNT | MS_RDONLY, NULL) == 0);
    CHECK_LOADS(&one_marked);
    CHECK(mount("none", keep(), "tmpfs", MS_REMOUNT, NULL) == 0);
    CHECK(files_put(path, "junk", 4, 0600));
    unlink(beside(".spare"));
    CHECK(mount("none", keep(), "tmpfs", MS_REMOUNT | MS_RDONLY, NULL) == 0);
    CHECK_REFUSED(kit_ask(store, DPG_STORE_LOAD), "store_read_only");
    dpg_store_free(store);
    snprintf(path, sizeof path, "%s/keep/sub/session", scratch);
    store = kit_file(path);
    CHECK_REFUSED(kit_ask(store, DPG_STORE_LOCK), "store_read_only");
    CHECK_LOADS(NULL);
}

TEST("file: a read-only disk is read, and refused for all else")
{
    on_small_disk("mode=0700,size=64k", read_only);
}
#endif

CHECK_MAIN()
