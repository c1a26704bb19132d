/*
 * os.h, and the engine's clock and random numbers, for POSIX systems. Everything of the system that the core touches is
 * called from here and from the files beside it (but for libcurl's own calls): os_posix_file.c has the caller's files,
 * os_posix_net.c what libcurl leaves to us.
 */
#ifndef _WIN32

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* CLOCK_BOOTTIME, getrandom, O_NOFOLLOW under -std=c11 */
#endif
#ifndef _DARWIN_C_SOURCE
#define _DARWIN_C_SOURCE
#endif

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>
#ifdef __APPLE__
#include <mach/mach_time.h>
#endif
#if defined(__linux__) || defined(__APPLE__) || defined(__FreeBSD__)
#include <sys/random.h>
#endif

#include "drivers.h"
#include "os_posix_internal.h"

#ifndef PATH_MAX
#define PATH_MAX 4096
#endif

/* --- process, and what a fork does to locks ----------------------------------------------------------------------- */

/*
 * Held while a lock descriptor is opened, closed or handed to a child, so that a child never inherits one that is not
 * in the list: with it, the child would hold its parent's lock.
 */
static pthread_mutex_t locks_mutex = PTHREAD_MUTEX_INITIALIZER;
static dpg_os_lock *locks;
static uint32_t forks; /* how many forks lie between this process and the first */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static char boot_id_text[40];

/*
 * This process's id, which each call asks for several times, and getpid() is a system call. On a page that the kernel empties
 * in a child, however the child was made. 0, or no page: it is asked.
 */
static _Atomic(atomic_uint *) kept_pid;

static void before_fork(void)
{
    pthread_mutex_lock(&locks_mutex);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&locks_mutex);
}

static void after_fork_in_child(void)
{
    while (locks) { /* closed, not unlocked: the parent's lock lives on in the parent's descriptor */
        dpg_os_lock *lock = locks;

        locks = lock->next;
        close((int)lock->handle);
        lock->handle = -1;
        lock->next = lock->prev = NULL;
    }
    forks++;
    if (atomic_load(&kept_pid)) atomic_store(atomic_load(&kept_pid), 0);
    pthread_mutex_unlock(&locks_mutex);
}

static void keep_pid(void)
{
#ifdef MADV_WIPEONFORK /* Linux 4.14 */
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED) return;
    /* an emulator may take every advice, and follow none: one that does not exist must be refused (as BoringSSL asks) */
    if (madvise(page, size, -1) == 0 || madvise(page, size, MADV_WIPEONFORK) != 0) munmap(page, size);
    else atomic_store(&kept_pid, (atomic_uint *)page);
#endif
}

static void read_boot_id(void)
{
#ifdef __linux__
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, boot_id_text, sizeof boot_id_text - 1);
    size_t len = 0;

    if (fd >= 0) close(fd);
    while (n > 0 && len < (size_t)n && strchr("0123456789abcdef-", boot_id_text[len]) && boot_id_text[len]) len++;
    boot_id_text[len == 36 ? len : 0] = '\0';
#endif
}

static void start(void)
{
    read_boot_id();
    if (pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) != 0) {
        /* Without it a child would hold our locks, and nobody could tell. */
        fputs("dpg: pthread_atfork failed: out of memory\n", stderr);
        abort();
    }
    keep_pid();
}

uint64_t dpg_os_process(void)
{
    atomic_uint *kept = atomic_load_explicit(&kept_pid, memory_order_acquire);
    unsigned pid = kept ? atomic_load_explicit(kept, memory_order_relaxed) : 0;

    if (!pid) {
        pthread_once(&once, start);
        pid = (unsigned)getpid();
        if ((kept = atomic_load(&kept_pid)) != NULL) atomic_store(kept, pid);
    }
    return (uint64_t)forks << 32 | pid;
}

int64_t dpg_os_pid(void)
{
    return (int64_t)getpid();
}

void dpg_os_host(char *out, size_t size)
{
    char name[256] = "";
    size_t n = 0;

    if (gethostname(name, sizeof name - 1) != 0) name[0] = '\0';
    for (const char *c = name; *c && n + 1 < size; c++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_", *c)) out[n++] = *c;
    out[n] = '\0';
}

/* --- clock -------------------------------------------------------------------------------------------------------- */

static int64_t clock_ms(clockid_t id)
{
    struct timespec t;

    if (clock_gettime(id, &t) != 0) return -1;
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t os_boot_ms(void *self)
{
    (void)self;
#if defined(__APPLE__)
    /* CLOCK_MONOTONIC_RAW and mach_absolute_time stand still in sleep; this one runs on. */
    static mach_timebase_info_data_t base;

    if (base.denom == 0) mach_timebase_info(&base);
    return (int64_t)((double)mach_continuous_time() * base.numer / base.denom / 1e6);
#else
    int64_t now = -1;

#ifdef CLOCK_BOOTTIME
    now = clock_ms(CLOCK_BOOTTIME); /* Linux before 2.6.39 has none, and then never has */
#endif
    return now >= 0 ? now : clock_ms(CLOCK_MONOTONIC);
#endif
}

static int64_t os_unix_ms(void *self)
{
    (void)self;
    return clock_ms(CLOCK_REALTIME);
}

static const char *os_boot_id(void *self)
{
    (void)self;
    pthread_once(&once, start);
    return boot_id_text;
}

int64_t dpg_os_now_us(void)
{
    struct timespec t;

    if (clock_gettime(CLOCK_MONOTONIC, &t) != 0) return 0;
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

const dpg_clock dpg_clock_os = {NULL, os_boot_ms, os_unix_ms, os_boot_id};

/* --- random ------------------------------------------------------------------------------------------------------- */

/* What the system's own call gives, 256 bytes at most; false: there is no such call here, or it is not allowed. */
static bool random_call(unsigned char *out, size_t len)
{
#if defined(__linux__)
    ssize_t n;

    do n = getrandom(out, len, 0);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)len; /* up to 256 bytes come whole */
#elif defined(__APPLE__) || defined(__FreeBSD__) || defined(__OpenBSD__) || defined(__NetBSD__)
    return getentropy(out, len) == 0;
#else
    (void)out, (void)len;
    return false;
#endif
}

static bool random_device(unsigned char *out, size_t len)
{
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    bool fine = fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode);

    while (fine && len) {
        ssize_t n = read(fd, out, len);

        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            fine = false;
        } else {
            out += n;
            len -= (size_t)n;
        }
    }
    if (fd >= 0) close(fd);
    return fine;
}

dpg_status dpg_os_random(void *out, size_t len, dpg_error *err)
{
    unsigned char *p = out;

    while (len) {
        size_t part = len < 256 ? len : 256;

        if (!random_call(p, part) && !random_device(p, part))
            return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_USAGE, "no_random",
                            "the system gives no random bytes: neither its own call nor /dev/urandom works here");
        p += part;
        len -= part;
    }
    return DPG_OK;
}

static uint64_t os_u64(void *self)
{
    uint64_t n;
    dpg_error err;

    (void)self;
    if (dpg_os_random(&n, sizeof n, &err) != DPG_OK) {
        /* Two equal idempotency keys would make one of two writes vanish: better to stop here, as arc4random does. */
        fprintf(stderr, "dpg: %s\n", err.message);
        abort();
    }
    return n;
}

const dpg_random dpg_random_os = {NULL, os_u64};

/* --- what can go wrong -------------------------------------------------------------------------------------------- */

/* strerror_r has two shapes; which one depends on the C library, not on a macro that all of them share. */
static const char *gnu_text(char *text, const char *buf)
{
    (void)buf;
    return text;
}
static const char *xsi_text(int failed, const char *buf)
{
    return failed ? "unknown error" : buf;
}
#define SYSTEM_TEXT(number, buf) \
    _Generic(strerror_r(number, buf, sizeof(buf)), char *: gnu_text, int: xsi_text)(                                   \
        strerror_r(number, buf, sizeof(buf)), buf)

static dpg_os_trouble trouble_of(int number)
{
    switch (number) {
    case ENOENT: return DPG_OS_MISSING;
    case EEXIST: return DPG_OS_EXISTS;
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return DPG_OS_FULL;
    case EROFS: return DPG_OS_READ_ONLY;
    case EACCES:
    case EPERM: return DPG_OS_DENIED;
    case ELOOP: return DPG_OS_SYMLINK;
#ifdef __FreeBSD__
    case EMLINK: return DPG_OS_SYMLINK; /* its answer to O_NOFOLLOW */
#endif
#ifdef EFTYPE
    case EFTYPE: return DPG_OS_SYMLINK; /* NetBSD's */
#endif
    case EISDIR:
    case ENXIO: return DPG_OS_NOT_A_FILE;
    case ENOTDIR: return DPG_OS_NOT_A_FOLDER;
    case ENOMEM: return DPG_OS_NO_MEMORY;
    default: return DPG_OS_FAILED;
    }
}

dpg_os_trouble dpg_posix_fault(dpg_os_fault *fault, int number)
{
    char buf[sizeof fault->text];

    fault->trouble = trouble_of(number);
    snprintf(fault->text, sizeof fault->text, "%s", SYSTEM_TEXT(number, buf));
    return fault->trouble;
}

dpg_os_trouble dpg_posix_fault_of(dpg_os_fault *fault, dpg_os_trouble trouble, const char *text)
{
    fault->trouble = trouble;
    snprintf(fault->text, sizeof fault->text, "%s", text);
    return trouble;
}

/* --- calls that a signal may interrupt ---------------------------------------------------------------------------- */

int dpg_posix_open_at(int folder, const char *name, int flags, unsigned mode)
{
    int fd;

    do fd = openat(folder, name, flags, (mode_t)mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* Puts what was written on the disk itself, as far as the system can be made to. */
int dpg_posix_sync(int fd)
{
    int rc;

#ifdef F_FULLFSYNC
    do rc = fcntl(fd, F_FULLFSYNC); /* plain fsync leaves it in the drive's cache on macOS */
    while (rc < 0 && errno == EINTR);
    if (rc == 0) return 0;
#endif
    do rc = fsync(fd);
    while (rc < 0 && errno == EINTR);
    return rc;
}

int dpg_posix_sync_folder(int fd)
{
    if (dpg_posix_sync(fd) == 0) return 0;
    return errno == EINVAL || errno == ENOTSUP || errno == EOPNOTSUPP ? 0
                                                                      : -1; /* a file system that syncs no folders */
}

static int truncate_fd(int fd, size_t len)
{
    int rc;

    do rc = ftruncate(fd, (off_t)len);
    while (rc < 0 && errno == EINTR);
    return rc;
}

static int write_at(int fd, const char *bytes, size_t len, size_t at)
{
    while (len) {
        ssize_t n = pwrite(fd, bytes, len, (off_t)at);

        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        if (n == 0) { /* never seen on a regular file; an endless loop would be worse than an error */
            errno = EIO;
            return -1;
        }
        bytes += n;
        at += (size_t)n;
        len -= (size_t)n;
    }
    return 0;
}

/* --- paths -------------------------------------------------------------------------------------------------------- */

dpg_str dpg_os_path_name(dpg_str path)
{
    size_t at = path.len;

    while (at && path.ptr[at - 1] != '/') at--;
    return dpg_str_of(path.ptr + at, path.len - at);
}

const char *dpg_os_name_objection(dpg_str name)
{
    return dpg_str_eq(name, DPG_LIT(".")) || dpg_str_eq(name, DPG_LIT("..")) ? "it names a folder, not a file" : NULL;
}

char *dpg_os_absolute(const char *path, dpg_os_fault *fault)
{
    char here[PATH_MAX];
    dpg_buf b;

    if (path[0] != '/' && !getcwd(here, sizeof here)) {
        dpg_posix_fault(fault, errno);
        return NULL;
    }
    dpg_buf_init(&b, PATH_MAX);
    if (path[0] != '/') {
        dpg_buf_puts(&b, here);
        if (here[1]) dpg_buf_puts(&b, "/");
        while (path[0] == '.' && path[1] == '/') {
            path += 2;
            while (*path == '/') path++;
        }
    }
    dpg_buf_puts(&b, path);
    if (b.failed == DPG_BUF_TOO_LONG) dpg_posix_fault(fault, ENAMETOOLONG);
    else if (b.failed) dpg_posix_fault(fault, ENOMEM);
    if (b.failed) dpg_buf_clear(&b);
    return b.ptr;
}

/* Put the parts of `rest` behind `b`, reading "." and ".." as text: nothing of it exists. */
static void put_lexically(dpg_buf *b, const char *rest)
{
    while (*rest) {
        size_t len = strcspn(rest, "/");

        if (len == 2 && rest[0] == '.' && rest[1] == '.') {
            while (b->len && b->ptr[--b->len] != '/') {
            }
        } else if (len && !(len == 1 && rest[0] == '.')) {
            dpg_buf_puts(b, "/");
            dpg_buf_put(b, rest, len);
        }
        rest += len;
        if (*rest) rest++;
    }
}

char *dpg_os_real(const char *path, dpg_os_fault *fault)
{
    char *absolute = dpg_os_absolute(path, fault);
    char *real = NULL;
    size_t cut;
    dpg_buf b;

    if (!absolute) return NULL;
    cut = strlen(absolute);
    for (;;) { /* the longest part of it that exists */
        char kept = absolute[cut];

        absolute[cut] = '\0';
        real = realpath(cut ? absolute : "/", NULL);
        absolute[cut] = kept;
        if (real || cut == 0) break;
        do cut--;
        while (cut && absolute[cut] != '/');
    }
    dpg_buf_init(&b, (size_t)2 * PATH_MAX);
    if (real && real[1]) dpg_buf_puts(&b, real);
    free(real);
    put_lexically(&b, absolute + cut);
    if (b.len == 0) dpg_buf_puts(&b, "/");
    if (b.failed) {
        dpg_posix_fault(fault, b.failed == DPG_BUF_TOO_LONG ? ENAMETOOLONG : ENOMEM);
        dpg_buf_clear(&b);
    } else {
        b.ptr[b.len] = '\0';
    }
    dpg_free(absolute);
    return b.ptr;
}

/* --- folders ------------------------------------------------------------------------------------------------------ */

static int open_folder(const char *path)
{
    return dpg_posix_open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

int dpg_posix_sync_parent(const char *path)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    int fd, rc;

    if (slash) snprintf(parent, sizeof parent, "%.*s", slash > path ? (int)(slash - path) : 1, path);
    else snprintf(parent, sizeof parent, ".");
    fd = open_folder(parent);
    if (fd < 0) return errno == EACCES ? 0 : -1; /* we may write there, not read: the kernel will get to it */
    rc = dpg_posix_sync_folder(fd);
    close(fd);
    return rc;
}

/* Make what is missing of an absolute path. 0, or -1 and errno. */
static int make_folders(const char *path)
{
    char part[PATH_MAX];
    size_t len = strlen(path);

    if (len >= sizeof part) {
        errno = ENAMETOOLONG;
        return -1;
    }
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0') continue;
        if (path[i - 1] == '/') continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0700) == 0) {
            if (dpg_posix_sync_parent(part) < 0) return -1;
        } else if (errno != EEXIST) {
            int number = errno;
            struct stat st;

            if (stat(part, &st) == 0) continue; /* a read-only or forbidden folder answers so for what exists, too */
            errno = number;
            return -1;
        }
    }
    return 0;
}

dpg_os_trouble dpg_os_folder_open(const char *path, bool make, dpg_os_folder *out, dpg_os_fault *fault)
{
    struct stat st;
    int fd = open_folder(path);

    if (fd < 0 && errno == ENOENT && make) {
        if (make_folders(path) < 0) return dpg_posix_fault(fault, errno);
        fd = open_folder(path);
    }
    if (fd < 0) {
        int number = errno;

        /* Linux says ENOTDIR, others ELOOP or EFTYPE, when the last part is no folder */
        if (number != ENOENT && stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) number = ENOTDIR;
        return dpg_posix_fault(fault, number);
    }
    if (fstat(fd, &st) < 0) {
        dpg_posix_fault(fault, errno);
    } else if (st.st_mode & (S_IWGRP | S_IWOTH)) {
        char text[sizeof fault->text];

        snprintf(text, sizeof text, "its mode is %04o", (unsigned)(st.st_mode & 07777));
        dpg_posix_fault_of(fault, DPG_OS_OPEN_TO_OTHERS, text);
    } else if (st.st_uid != geteuid() && st.st_uid != 0 && geteuid() != 0) {
        dpg_posix_fault_of(fault, DPG_OS_OPEN_TO_OTHERS, "it belongs to another user");
    } else {
        out->handle = fd;
        return DPG_OS_FINE;
    }
    close(fd);
    return fault->trouble;
}

void dpg_os_folder_close(dpg_os_folder *folder)
{
    if (folder->handle >= 0) close((int)folder->handle);
    folder->handle = -1;
}

dpg_os_trouble dpg_os_folder_sync(const dpg_os_folder *folder, dpg_os_fault *fault)
{
    return dpg_posix_sync_folder((int)folder->handle) < 0 ? dpg_posix_fault(fault, errno) : DPG_OS_FINE;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

/*
 * Open a regular file of ours; *out is its descriptor. Never waits for the other end of a pipe, never follows a link.
 */
static dpg_os_trouble open_ours(const dpg_os_folder *folder, const char *name, int flags, int *out, dpg_os_fault *fault)
{
    struct stat st;
    int fd = dpg_posix_open_at((int)folder->handle, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0600);

    if (fd < 0) {
        int number = errno;

        /* a folder or a link that can't be opened this way deserves its own name */
        if (fstatat((int)folder->handle, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
            if (S_ISLNK(st.st_mode)) number = ELOOP;
            else if (!S_ISREG(st.st_mode)) number = EISDIR;
        }
        dpg_posix_fault(fault, number);
        if (fault->trouble == DPG_OS_SYMLINK) dpg_posix_fault_of(fault, DPG_OS_SYMLINK, "it is a symbolic link");
        if (fault->trouble == DPG_OS_NOT_A_FILE)
            dpg_posix_fault_of(fault, DPG_OS_NOT_A_FILE, "it is not a regular file");
        return fault->trouble;
    }
    if (fstat(fd, &st) < 0) dpg_posix_fault(fault, errno);
    else if (!S_ISREG(st.st_mode)) dpg_posix_fault_of(fault, DPG_OS_NOT_A_FILE, "it is not a regular file");
    else if (st.st_uid != geteuid()) dpg_posix_fault_of(fault, DPG_OS_NOT_OURS, "it belongs to another user");
    else {
        /* can fail on a read-only disk alone, where it is no reason not to read */
        if ((st.st_mode & 07777) != 0600 && fchmod(fd, 0600) < 0 && (flags & O_ACCMODE) != O_RDONLY) {
            dpg_posix_fault(fault, errno);
        } else {
            *out = fd;
            return DPG_OS_FINE;
        }
    }
    close(fd);
    return fault->trouble;
}

dpg_os_trouble dpg_os_read(const dpg_os_folder *folder, const char *name, size_t max, dpg_buf *out, dpg_os_fault *fault)
{
    char part[4096];
    size_t total = 0;
    int fd;

    if (open_ours(folder, name, O_RDONLY, &fd, fault) != DPG_OS_FINE) return fault->trouble;
    fault->trouble = DPG_OS_FINE;
    for (;;) {
        ssize_t n = read(fd, part, sizeof part);

        if (n < 0 && errno == EINTR) continue;
        if (n < 0) dpg_posix_fault(fault, errno);
        if (n <= 0) break;
        total += (size_t)n;
        if (total > max) {
            dpg_posix_fault_of(fault, DPG_OS_TOO_LONG, "the file is too large");
            break;
        }
        if (!dpg_buf_put(out, part, (size_t)n)) {
            dpg_posix_fault(fault, ENOMEM);
            break;
        }
    }
    dpg_wipe(part, sizeof part);
    close(fd);
    return fault->trouble;
}

static int write_zeros(int fd, size_t len, size_t at)
{
    static const char zeros[4096];

    while (len) {
        size_t part = len < sizeof zeros ? len : sizeof zeros;

        if (write_at(fd, zeros, part, at) < 0) return -1;
        at += part;
        len -= part;
    }
    return 0;
}

dpg_os_trouble dpg_os_write(const dpg_os_folder *folder, const char *name, dpg_str bytes, size_t zeros,
                            dpg_os_fault *fault)
{
    int fd;

    if (open_ours(folder, name, O_RDWR | O_CREAT, &fd, fault) != DPG_OS_FINE) return fault->trouble;
    fault->trouble = DPG_OS_FINE;
    /* Written zeros, not a hole and not posix_fallocate: what is written over later then needs nothing new at all. */
    if (write_at(fd, bytes.ptr, bytes.len, 0) < 0 || write_zeros(fd, zeros, bytes.len) < 0 ||
        truncate_fd(fd, bytes.len + zeros) < 0 || dpg_posix_sync(fd) < 0)
        dpg_posix_fault(fault, errno);
    if (close(fd) < 0 && errno != EINTR && fault->trouble == DPG_OS_FINE) dpg_posix_fault(fault, errno);
    return fault->trouble;
}

dpg_os_trouble dpg_os_sync(const dpg_os_folder *folder, const char *name, dpg_os_fault *fault)
{
    int fd;

    if (open_ours(folder, name, O_RDWR, &fd, fault) != DPG_OS_FINE) return fault->trouble;
    fault->trouble = DPG_OS_FINE;
    if (dpg_posix_sync(fd) < 0) dpg_posix_fault(fault, errno);
    close(fd);
    return fault->trouble;
}

dpg_os_trouble dpg_os_replace(const dpg_os_folder *folder, const char *from, const char *to, dpg_os_fault *fault)
{
    int at = (int)folder->handle;

    return renameat(at, from, at, to) < 0 ? dpg_posix_fault(fault, errno) : DPG_OS_FINE;
}

dpg_os_trouble dpg_os_remove(const dpg_os_folder *folder, const char *name, dpg_os_fault *fault)
{
    int at = (int)folder->handle;
    struct stat st;

    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return dpg_posix_fault(fault, errno);
    if (!S_ISREG(st.st_mode)) return dpg_posix_fault_of(fault, DPG_OS_NOT_A_FILE, "it is not a regular file");
    if (st.st_uid != geteuid()) return dpg_posix_fault_of(fault, DPG_OS_NOT_OURS, "it belongs to another user");
    return unlinkat(at, name, 0) < 0 ? dpg_posix_fault(fault, errno) : DPG_OS_FINE;
}

dpg_os_trouble dpg_os_keep(const dpg_os_folder *folder, const char *name, const char *as, dpg_str bytes,
                           dpg_os_fault *fault)
{
    int at = (int)folder->handle, fd;

    if (linkat(at, name, at, as, 0) == 0) return DPG_OS_FINE;
    if (errno == EEXIST || !bytes.ptr) return dpg_posix_fault(fault, errno);
    if (open_ours(folder, as, O_RDWR | O_CREAT | O_EXCL, &fd, fault) != DPG_OS_FINE) return fault->trouble;
    fault->trouble = DPG_OS_FINE;
    if (write_at(fd, bytes.ptr, bytes.len, 0) < 0 || dpg_posix_sync(fd) < 0) dpg_posix_fault(fault, errno);
    close(fd);
    if (fault->trouble != DPG_OS_FINE) unlinkat(at, as, 0);
    return fault->trouble;
}

/* --- the lock ----------------------------------------------------------------------------------------------------- */

/* "process 4711" from what the holder wrote; empty when that isn't a process id. */
static void read_holder(int fd, char holder[32])
{
    char text[16];
    ssize_t n = pread(fd, text, sizeof text, 0);
    int digits = 0;

    holder[0] = '\0';
    while (digits < n && text[digits] >= '0' && text[digits] <= '9') digits++;
    if (digits == 0 || digits > 10 || digits + 1 != n || text[digits] != '\n') return;
    snprintf(holder, 32, "process %.*s", digits, text);
}

/* For people, and for the error of whoever finds it locked. A full disk is no reason not to lock. */
static void write_holder(int fd)
{
    char text[16], old[16];
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    ssize_t n = pread(fd, old, sizeof old, 0);

    if (n == len && memcmp(text, old, (size_t)len) == 0) return;
    if (truncate_fd(fd, 0) < 0 || write_at(fd, text, (size_t)len, 0) < 0) truncate_fd(fd, 0);
}

/* Is the file that we have locked still the one that others will find under its name? */
static bool still_named(int folder, const char *name, int fd)
{
    struct stat ours, theirs;

    return fstat(fd, &ours) == 0 && fstatat(folder, name, &theirs, AT_SYMLINK_NOFOLLOW) == 0 &&
           ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

static void list_add(dpg_os_lock *lock)
{
    lock->prev = NULL;
    lock->next = locks;
    if (locks) locks->prev = lock;
    locks = lock;
}

static void list_remove(dpg_os_lock *lock)
{
    if (lock->prev) lock->prev->next = lock->next;
    else if (locks == lock) locks = lock->next;
    if (lock->next) lock->next->prev = lock->prev;
    lock->next = lock->prev = NULL;
}

/* One try, with the mutex held. EXISTS: somebody took the file away under our hands; again. */
static dpg_os_trouble try_lock(const dpg_os_folder *folder, const char *name, dpg_os_lock *lock, char holder[32],
                               dpg_os_fault *fault)
{
    int fd, rc;

    if (open_ours(folder, name, O_RDWR | O_CREAT, &fd, fault) != DPG_OS_FINE) return fault->trouble;
    do rc = flock(fd, LOCK_EX | LOCK_NB);
    while (rc < 0 && errno == EINTR);
    if (rc < 0) {
        int number = errno;

        if (number == EWOULDBLOCK) read_holder(fd, holder);
        close(fd);
        if (number == EWOULDBLOCK) return dpg_posix_fault_of(fault, DPG_OS_BUSY, "locked");
        return dpg_posix_fault(fault, number);
    }
    if (!still_named((int)folder->handle, name, fd)) {
        close(fd);
        return dpg_posix_fault_of(fault, DPG_OS_EXISTS, "the lock file was replaced");
    }
    lock->handle = fd;
    lock->process = dpg_os_process();
    list_add(lock);
    return DPG_OS_FINE;
}

dpg_os_trouble dpg_os_lock_take(const dpg_os_folder *folder, const char *name, dpg_os_lock *lock, char holder[32],
                                dpg_os_fault *fault)
{
    dpg_os_trouble trouble = DPG_OS_EXISTS;

    pthread_once(&once, start);
    holder[0] = '\0';
    for (int i = 0; i < 8 && trouble == DPG_OS_EXISTS; i++) {
        pthread_mutex_lock(&locks_mutex);
        trouble = try_lock(folder, name, lock, holder, fault);
        pthread_mutex_unlock(&locks_mutex);
    }
    if (trouble == DPG_OS_EXISTS)
        return dpg_posix_fault_of(fault, DPG_OS_BUSY, "the lock file is being replaced all the time");
    if (trouble == DPG_OS_FINE) write_holder((int)lock->handle);
    return trouble;
}

bool dpg_os_lock_is_held(const dpg_os_lock *lock)
{
    return lock->handle >= 0 && lock->process == dpg_os_process();
}

void dpg_os_lock_give(dpg_os_lock *lock)
{
    if (lock->handle < 0) return;
    pthread_mutex_lock(&locks_mutex);
    /* Said aloud, and not left to close: a child in the moment between vfork and exec has the descriptor too. */
    if (dpg_os_lock_is_held(lock)) flock((int)lock->handle, LOCK_UN);
    close((int)lock->handle);
    list_remove(lock);
    lock->handle = -1;
    pthread_mutex_unlock(&locks_mutex);
}

#else
#include "os.h" /* a file without a declaration is no C */
#endif
