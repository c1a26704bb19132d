/*
 * os_posix.c: clock, random, process, folders, files, locks. What a store makes of them is test_store.c's.
 */
#include "os.h"

#include "check.h"
#include "drivers.h"
#include "files.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- a world that can refuse: these stand before the C library's own ---------------------------------------------- */

static bool no_getrandom, no_device;

#ifdef __linux__
#include <errno.h>
#include <stdarg.h>
#include <sys/random.h>
#include <sys/syscall.h>

ssize_t getrandom(void *out, size_t len, unsigned flags)
{
    if (no_getrandom) {
        errno = ENOSYS;
        return -1;
    }
    return syscall(SYS_getrandom, out, len, flags);
}

int open(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode = 0;

    va_start(args, flags);
    if (flags & (O_CREAT | O_TMPFILE)) mode = (mode_t)va_arg(args, int);
    va_end(args);
    if (no_device && strcmp(path, "/dev/urandom") == 0) {
        errno = EMFILE;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
#endif

#ifdef __linux__
static void (*before_flock)(void); /* runs once */

int flock(int fd, int operation)
{
    void (*run)(void) = before_flock;

    before_flock = NULL;
    if (run) run();
    return (int)syscall(SYS_flock, fd, operation);
}
#endif

/* --- process, clock, random --------------------------------------------------------------------------------------- */

TEST("a process is another one after a fork, and stays itself otherwise")
{
    uint64_t me = dpg_os_process();
    pid_t child;

    CHECK(dpg_os_process() == me);
    CHECK_INT(dpg_os_pid(), getpid());
    child = fork();
    if (child == 0) _exit(dpg_os_process() == me ? 1 : 0);
    CHECK_INT(files_wait(child), 0);
    CHECK(dpg_os_process() == me);
}

#ifdef SYS_clone
TEST("a process is another one in a child that no handler of ours has heard of")
{
    uint64_t mine = dpg_os_process();
    int status = 1;
    pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

    if (child == 0) _exit(dpg_os_process() == mine);
    REQUIRE(child > 0);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    CHECK(dpg_os_process() == mine);
}
#endif

TEST("a SIGPIPE between hold and release is not seen, and the mask stays as it was")
{
    sigset_t mask;
    int held;

    signal(SIGPIPE, SIG_DFL); /* it would end this program */
    held = dpg_os_pipe_hold();
    raise(SIGPIPE);
    dpg_os_pipe_release(held);
    CHECK_INT(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
    CHECK_INT(sigismember(&mask, SIGPIPE), 0);
    CHECK_INT(sigpending(&mask), 0);
    CHECK_INT(sigismember(&mask, SIGPIPE), 0);
}

TEST("a SIGPIPE that was the program's own before is pending after")
{
    sigset_t set, pending;
    int held, sig;

    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    raise(SIGPIPE);
    held = dpg_os_pipe_hold();
    dpg_os_pipe_release(held);
    sigpending(&pending);
    CHECK(sigismember(&pending, SIGPIPE));
    CHECK_INT(sigwait(&set, &sig), 0);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

TEST("the clock runs forward, and the boot it counts from has a name on Linux")
{
    const dpg_clock *c = &dpg_clock_os;
    int64_t before = c->boot_ms(c->self), now = before;
    const char *id = c->boot_id(c->self);

    for (int i = 0; i < 10000; i++) {
        int64_t next = c->boot_ms(c->self);

        if (next < now) CHECK_FAIL("the clock went back by %lld ms", (long long)(now - next));
        now = next;
    }
    CHECK(before > 0);
    CHECK(c->unix_ms(c->self) > INT64_C(1700000000000));
#ifdef __linux__
    CHECK_INT(strlen(id), 36);
    CHECK_INT(strspn(id, "0123456789abcdef-"), 36);
#else
    CHECK_STR(id, "");
#endif
    CHECK_STR(c->boot_id(c->self), id);
}

TEST("random numbers use every bit and do not repeat")
{
    uint64_t ones = 0, zeros = 0, last = 0;

    for (int i = 0; i < 200; i++) {
        uint64_t n = dpg_random_os.u64(dpg_random_os.self);

        CHECK(n != last);
        ones |= n;
        zeros |= ~n;
        last = n;
    }
    CHECK(ones == UINT64_MAX);
    CHECK(zeros == UINT64_MAX);
}

TEST("random bytes come in any number, the last ones too")
{
    unsigned char bytes[1000];
    dpg_error err = DPG_ERROR_INIT;
    size_t nulls = 0;

    memset(bytes, 0, sizeof bytes);
    CHECK_INT(dpg_os_random(bytes, sizeof bytes, &err), DPG_OK);
    for (size_t i = sizeof bytes - 100; i < sizeof bytes; i++) nulls += bytes[i] == 0;
    CHECK(nulls < 20);
}

#ifdef __linux__
TEST("random bytes come from the device where the system call is refused")
{
    uint64_t a = 0, b = 0;

    no_getrandom = true;
    a = dpg_random_os.u64(NULL);
    b = dpg_random_os.u64(NULL);
    no_getrandom = false;
    CHECK(a != b);
}

TEST("without any source, random bytes fail aloud and random numbers stop the program")
{
    uint64_t n;
    dpg_error err = DPG_ERROR_INIT;
    pid_t child;

    no_getrandom = no_device = true;
    CHECK_INT(dpg_os_random(&n, sizeof n, &err), DPG_E_SYSTEM);
    CHECK_STR(err.code, "no_random");
    fflush(stdout);
    child = fork();
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        if (freopen("/dev/null", "w", stderr)) dpg_random_os.u64(NULL);
        _exit(0);
    }
    CHECK_INT(files_wait(child), -SIGABRT);
    no_getrandom = no_device = false;
}
#endif

/* --- paths -------------------------------------------------------------------------------------------------------- */

TEST("paths become absolute and real, as far as they exist")
{
    char *scratch = files_scratch(), here[4096];
    dpg_os_fault fault;
    char *absolute, *real, *top;

    REQUIRE(getcwd(here, sizeof here));
    mkdir(files_at(scratch, "folder"), 0700);
    CHECK(symlink("folder", files_at(scratch, "link")) == 0);
    top = dpg_os_real(scratch, &fault);
    REQUIRE(top);

    REQUIRE(chdir(scratch) == 0);
    absolute = dpg_os_absolute("./link/x", &fault);
    CHECK_STR(absolute, files_at(top, "link/x"));
    dpg_free(absolute);
    real = dpg_os_real("link", &fault);
    CHECK_STR(real, files_at(top, "folder"));
    dpg_free(real);
    real = dpg_os_real("link/none/../some//./deep", &fault);
    CHECK_STR(real, files_at(top, "folder/some/deep"));
    dpg_free(real);
    real = dpg_os_real("/", &fault);
    CHECK_STR(real, "/");
    dpg_free(real);
    real = dpg_os_real("/../nowhere/../..", &fault);
    CHECK_STR(real, "/");
    dpg_free(real);
    REQUIRE(chdir(here) == 0);
    dpg_free(top);
    files_remove(scratch);
}

/* --- locks -------------------------------------------------------------------------------------------------------- */

TEST("a lock is busy for a second holder, who learns the first one's process")
{
    char *scratch = files_scratch(), holder[32], want[32];
    dpg_os_folder folder = DPG_OS_FOLDER_NONE;
    dpg_os_lock a = DPG_OS_LOCK_NONE, b = DPG_OS_LOCK_NONE;
    dpg_os_fault fault;

    snprintf(want, sizeof want, "process %d", (int)getpid());
    REQUIRE(dpg_os_folder_open(scratch, false, &folder, &fault) == DPG_OS_FINE);
    CHECK_INT(dpg_os_lock_take(&folder, "l", &a, holder, &fault), DPG_OS_FINE);
    CHECK(dpg_os_lock_is_held(&a));
    CHECK_INT(dpg_os_lock_take(&folder, "l", &b, holder, &fault), DPG_OS_BUSY);
    CHECK_STR(holder, want);
    CHECK(!dpg_os_lock_is_held(&b));

    /* what stands in the file is not believed when it is no process id */
    CHECK(files_put(files_at(scratch, "l"), "12\n\033[2J", 8, 0600));
    CHECK_INT(dpg_os_lock_take(&folder, "l", &b, holder, &fault), DPG_OS_BUSY);
    CHECK_STR(holder, "");

    dpg_os_lock_give(&a);
    dpg_os_lock_give(&a);
    CHECK_INT(dpg_os_lock_take(&folder, "l", &b, holder, &fault), DPG_OS_FINE);
    dpg_os_lock_give(&b);
    CHECK_INT(files_mode(files_at(scratch, "l")), 0600);
    dpg_os_folder_close(&folder);
    files_remove(scratch);
}

TEST("a child made by fork does not hold its parent's locks, and can't give them away")
{
    char *scratch = files_scratch(), holder[32];
    dpg_os_folder folder = DPG_OS_FOLDER_NONE;
    dpg_os_lock a = DPG_OS_LOCK_NONE, b = DPG_OS_LOCK_NONE, other = DPG_OS_LOCK_NONE;
    dpg_os_fault fault;
    int ready[2], go[2];
    char byte = 0;
    pid_t child;

    REQUIRE(pipe(ready) == 0 && pipe(go) == 0);
    REQUIRE(dpg_os_folder_open(scratch, false, &folder, &fault) == DPG_OS_FINE);
    REQUIRE(dpg_os_lock_take(&folder, "a", &a, holder, &fault) == DPG_OS_FINE);
    REQUIRE(dpg_os_lock_take(&folder, "b", &b, holder, &fault) == DPG_OS_FINE);
    child = fork();
    if (child == 0) {
        bool held = dpg_os_lock_is_held(&a) || dpg_os_lock_is_held(&b) || a.handle >= 0 || b.handle >= 0;

        dpg_os_lock_give(&a); /* nothing to give */
        held = held || dpg_os_lock_take(&folder, "a", &other, holder, &fault) != DPG_OS_BUSY;
        byte = held ? 1 : 0;
        if (write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1) _exit(9);
        _exit(0);
    }
    CHECK(read(ready[0], &byte, 1) == 1);
    CHECK_INT(byte, 0);
    CHECK(dpg_os_lock_is_held(&a));
    dpg_os_lock_give(&a); /* the child lives on; its copy of the descriptor must not keep the lock */
    CHECK_INT(dpg_os_lock_take(&folder, "a", &other, holder, &fault), DPG_OS_FINE);
    dpg_os_lock_give(&other);
    CHECK(write(go[1], &byte, 1) == 1);
    CHECK_INT(files_wait(child), 0);
    CHECK_INT(dpg_os_lock_take(&folder, "b", &other, holder, &fault), DPG_OS_BUSY);
    dpg_os_lock_give(&b);
    dpg_os_folder_close(&folder);
    for (int i = 0; i < 2; i++) close(ready[i]), close(go[i]);
    files_remove(scratch);
}

TEST("a lock ends with its holder, though a child of his lives on")
{
    char *scratch = files_scratch(), holder[32];
    dpg_os_folder folder = DPG_OS_FOLDER_NONE;
    dpg_os_lock a = DPG_OS_LOCK_NONE;
    dpg_os_fault fault;
    int ready[2], hold[2];
    char byte = 0;
    pid_t child;

    REQUIRE(pipe(ready) == 0 && pipe(hold) == 0);
    REQUIRE(dpg_os_folder_open(scratch, false, &folder, &fault) == DPG_OS_FINE);
    child = fork();
    if (child == 0) {
        byte = (char)dpg_os_lock_take(&folder, "l", &a, holder, &fault);
        close(hold[1]);
        if (fork() == 0) { /* lives until the test closes its end of the pipe */
            if (write(ready[1], &byte, 1) == 1 && read(hold[0], &byte, 1) != 0) _exit(1);
            _exit(0);
        }
        pause();
    }
    CHECK(read(ready[0], &byte, 1) == 1);
    CHECK_INT(byte, DPG_OS_FINE);
    CHECK_INT(dpg_os_lock_take(&folder, "l", &a, holder, &fault), DPG_OS_BUSY);
    kill(child, SIGKILL);
    CHECK_INT(files_wait(child), -SIGKILL);
    CHECK_INT(dpg_os_lock_take(&folder, "l", &a, holder, &fault), DPG_OS_FINE);
    dpg_os_lock_give(&a);
    close(hold[1]);
    close(hold[0]);
    close(ready[0]);
    close(ready[1]);
    dpg_os_folder_close(&folder);
    files_remove(scratch);
}

#ifdef __linux__
static const char *lock_path;

static void remove_lock(void)
{
    if (unlink(lock_path) != 0) CHECK_FAIL("no lock file to remove");
}

static void replace_lock_always(void)
{
    remove_lock();
    before_flock = replace_lock_always;
}

TEST("a lock file that is taken away between open and lock is made anew, so that the next one finds it locked")
{
    char *scratch = files_scratch(), holder[32];
    dpg_os_folder folder = DPG_OS_FOLDER_NONE;
    dpg_os_lock a = DPG_OS_LOCK_NONE, b = DPG_OS_LOCK_NONE;
    dpg_os_fault fault;

    REQUIRE(dpg_os_folder_open(scratch, false, &folder, &fault) == DPG_OS_FINE);
    lock_path = files_at(scratch, "l");
    before_flock = remove_lock;
    CHECK_INT(dpg_os_lock_take(&folder, "l", &a, holder, &fault), DPG_OS_FINE);
    CHECK_INT(dpg_os_lock_take(&folder, "l", &b, holder, &fault), DPG_OS_BUSY);
    dpg_os_lock_give(&a);

    before_flock = replace_lock_always; /* and it doesn't try for ever */
    CHECK_INT(dpg_os_lock_take(&folder, "l", &a, holder, &fault), DPG_OS_BUSY);
    before_flock = NULL;
    dpg_os_folder_close(&folder);
    files_remove(scratch);
}
#endif

/* --- folders ------------------------------------------------------------------------------------------------------ */

TEST("folders that are missing are made for their owner alone, whatever the umask")
{
    char *scratch = files_scratch();
    dpg_os_folder folder = DPG_OS_FOLDER_NONE;
    dpg_os_fault fault;
    mode_t mask = umask(0);

    CHECK_INT(dpg_os_folder_open(files_at(scratch, "a/b//c"), false, &folder, &fault), DPG_OS_MISSING);
    CHECK_INT(files_count(scratch, ""), 0);
    CHECK_INT(dpg_os_folder_open(files_at(scratch, "a/b//c"), true, &folder, &fault), DPG_OS_FINE);
    CHECK_INT(files_mode(files_at(scratch, "a")), 0700);
    CHECK_INT(files_mode(files_at(scratch, "a/b")), 0700);
    CHECK_INT(files_mode(files_at(scratch, "a/b/c")), 0700);
    dpg_os_folder_close(&folder);
    dpg_os_folder_close(&folder);
    umask(mask);
    files_remove(scratch);
}

TEST("of names, only a regular file's is removed")
{
    static const char *const names[] = {"folder", "link", "none"};
    static const dpg_os_trouble troubles[] = {DPG_OS_NOT_A_FILE, DPG_OS_NOT_A_FILE, DPG_OS_MISSING};
    char *scratch = files_scratch();
    dpg_os_fault fault;

    REQUIRE(files_put(files_at(scratch, "file"), "x", 1, 0400));
    REQUIRE(mkdir(files_at(scratch, "folder"), 0700) == 0);
    REQUIRE(symlink("file", files_at(scratch, "link")) == 0);
    for (size_t i = 0; i < 3; i++) CHECK_INT(dpg_os_file_remove(files_at(scratch, names[i]), &fault), troubles[i]);
    CHECK_INT(files_count(scratch, ""), 3);
    CHECK_INT(dpg_os_file_remove(files_at(scratch, "file"), &fault), DPG_OS_FINE);
    CHECK_INT(files_count(scratch, "file"), 0);
    files_remove(scratch);
}

CHECK_MAIN()
