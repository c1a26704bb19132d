/*
 * The operating system, as far as the core needs it: which process this is, random bytes, the few file operations that a
 * store stands on, threads and what wakes them, and what libcurl leaves to its user. os_posix*.c are the whole of it for
 * Linux, macOS and the BSDs, os_windows*.c for Windows; each compiles to nothing on the other, and nothing else asks which
 * system it is. No policy here: which file is written when, and why, is store_file.c's. (The clock and the random numbers of
 * the engine are dpg_clock_os and dpg_random_os, in drivers.h.)
 *
 * Paths are UTF-8 with / between their parts; Windows takes \, too, and its own code page where it is no UTF-8. and its own code page where it is no UTF-8.
 */
#ifndef DPG_OS_H
#define DPG_OS_H

#include "base.h"

/* The one function that the module shows. */
#if defined(_WIN32)
#define DPG_OS_EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define DPG_OS_EXPORT __attribute__((visibility("default")))
#else
#define DPG_OS_EXPORT
#endif

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

/* --- process and random ------------------------------------------------------------------------------------------- */

/* Equal as long as it is the same process: another number in a child made by fork, also when process ids come round. */
uint64_t dpg_os_process(void);
int64_t dpg_os_pid(void); /* for people */

/* What this machine calls itself, for people: letters, digits, '.', '-' and '_', cut to fit; "" when that can't be told. */
void dpg_os_host(char *out, size_t size);

/* Microseconds on a clock for short spans, which nobody sets. Only differences mean anything. */
int64_t dpg_os_now_us(void);

/* Fill `out` with random bytes from the system. Fails with DPG_E_SYSTEM, code "no_random"; never with weak numbers. */
dpg_status dpg_os_random(void *out, size_t len, dpg_error *err);

/* --- what can go wrong with a file -------------------------------------------------------------------------------- */

typedef enum dpg_os_trouble {
    DPG_OS_FINE = 0,
    DPG_OS_MISSING,        /* no such file or folder */
    DPG_OS_EXISTS,         /* it is there already */
    DPG_OS_BUSY,           /* another holder has the lock */
    DPG_OS_FULL,           /* disk, quota or file size limit */
    DPG_OS_READ_ONLY,      /* the file system is */
    DPG_OS_DENIED,         /* permissions, or a file that is marked immutable */
    DPG_OS_SYMLINK,        /* a symbolic link where a file of ours should be */
    DPG_OS_NOT_A_FILE,     /* a folder, a pipe, a device */
    DPG_OS_NOT_A_FOLDER,   /* a file where the folder should be */
    DPG_OS_NOT_OURS,       /* the file belongs to another user */
    DPG_OS_OPEN_TO_OTHERS, /* others can write to the folder */
    DPG_OS_TOO_LONG,       /* the file is larger than what may be read */
    DPG_OS_NO_MEMORY,
    DPG_OS_FAILED /* anything else: text says what */
} dpg_os_trouble;

/* What went wrong, and in the system's words: "No space left on device". Filled whenever it was not FINE. */
typedef struct dpg_os_fault {
    dpg_os_trouble trouble;
    char text[112];
} dpg_os_fault;

/* --- folders and the files in them -------------------------------------------------------------------------------- */

/* An open folder: what is done in it stays in it, wherever its path leads meanwhile. -1: none. */
typedef struct dpg_os_folder {
    intptr_t handle;
} dpg_os_folder;
#define DPG_OS_FOLDER_NONE \
    {                      \
        -1                 \
    }

/* Of a path: what is behind its last separator. */
dpg_str dpg_os_path_name(dpg_str path);

/* Why a file of ours can't have this name (not empty, without NUL) on this system; NULL: it can. */
const char *dpg_os_name_objection(dpg_str name);

/*
 * The absolute form of `path`, returned (dpg_free): relative ones start at the current folder. `real` resolves symbolic
 * links as far as the path exists. NULL: `fault` says why.
 */
char *dpg_os_absolute(const char *path, dpg_os_fault *fault);
char *dpg_os_real(const char *path, dpg_os_fault *fault);

/*
 * Open a folder that only its owner can write to. With `make`, what is missing of the path is made, for the owner alone
 * (0700), and is durable before this returns.
 */
dpg_os_trouble dpg_os_folder_open(const char *path, bool make, dpg_os_folder *out, dpg_os_fault *fault);
void dpg_os_folder_close(dpg_os_folder *folder); /* twice is fine */

/* Names in this folder are durable when this returns FINE. */
dpg_os_trouble dpg_os_folder_sync(const dpg_os_folder *folder, dpg_os_fault *fault);

/*
 * The file operations below take a name in a folder, follow no symbolic link, and touch regular files of ours alone. A
 * file that others could read is made private (0600) in passing.
 */

/* Append the whole file to `out` (TOO_LONG beyond `max`). */
dpg_os_trouble dpg_os_read(const dpg_os_folder *folder, const char *name, size_t max, dpg_buf *out,
                           dpg_os_fault *fault);

/*
 * Make `name` hold `bytes`, then `zeros` zero bytes, and no more, durably. What is there already is written over in
 * place, so that no new room is needed for what fits in the old.
 */
dpg_os_trouble dpg_os_write(const dpg_os_folder *folder, const char *name, dpg_str bytes, size_t zeros,
                            dpg_os_fault *fault);

dpg_os_trouble dpg_os_sync(const dpg_os_folder *folder, const char *name, dpg_os_fault *fault);

/* Atomically: `to` is now what `from` was. */
dpg_os_trouble dpg_os_replace(const dpg_os_folder *folder, const char *from, const char *to, dpg_os_fault *fault);

/*
 * Give the file a second, new name (EXISTS when it is taken). Where the file system has no links, a copy of it is made
 * from `bytes`, if their pointer isn't NULL.
 */
dpg_os_trouble dpg_os_keep(const dpg_os_folder *folder, const char *name, const char *as, dpg_str bytes,
                           dpg_os_fault *fault);

dpg_os_trouble dpg_os_remove(const dpg_os_folder *folder, const char *name, dpg_os_fault *fault);

/* --- the caller's own files: what is uploaded, and what is downloaded into ----------------------------------------- */

/* Regular files, wherever a path of the caller's leads. -1: none. Children of this process never inherit one. */
typedef struct dpg_os_file {
    intptr_t handle;
} dpg_os_file;
#define DPG_OS_FILE_NONE \
    {                    \
        -1               \
    }

/* To read; *size is its length now. */
dpg_os_trouble dpg_os_file_open(const char *path, dpg_os_file *out, int64_t *size, dpg_os_fault *fault);

/* To write: made when it is missing, as the umask has it, else left as it is. No symbolic link is followed. */
dpg_os_trouble dpg_os_file_make(const char *path, dpg_os_file *out, int64_t *size, dpg_os_fault *fault);

dpg_os_trouble dpg_os_file_size(const dpg_os_file *file, int64_t *size, dpg_os_fault *fault);

/* At most `most` bytes from byte `at` on; *got is 0 at the end. */
dpg_os_trouble dpg_os_file_read(const dpg_os_file *file, char *to, size_t most, int64_t at, size_t *got,
                                dpg_os_fault *fault);

/* All of it, from byte `at` on; when it fails, the first bytes of it may stand there. */
dpg_os_trouble dpg_os_file_write(const dpg_os_file *file, const char *bytes, size_t len, int64_t at,
                                 dpg_os_fault *fault);
dpg_os_trouble dpg_os_file_cut(const dpg_os_file *file, int64_t size,
                               dpg_os_fault *fault); /* what lies beyond is gone */
dpg_os_trouble dpg_os_file_sync(const dpg_os_file *file, dpg_os_fault *fault);

/*
 * Lock an open file, which was made at `path`, until it is closed or the process ends, however it ends: BUSY when another one
 * has it, EXISTS when another file has come under its name. Where the file system knows no locks, all get it.
 */
dpg_os_trouble dpg_os_file_lock(const dpg_os_file *file, const char *path, dpg_os_fault *fault);
void dpg_os_file_unlock(const dpg_os_file *file); /* at once, though a child made by fork has the file open, too */
dpg_os_trouble dpg_os_file_close(dpg_os_file *file, dpg_os_fault *fault); /* some disks say only here what went wrong */

/*
 * The path as fopen() takes it, and so Lua's io and os; `room` is at least 4 times its length, and 1. It is the same one, but
 * for Windows, where it is in the code page of the system. One that this has no letters for stays as it is, and is not found.
 */
void dpg_os_io_path(const char *path, char *out, size_t room);

typedef enum dpg_os_kind {
    DPG_OS_NOTHING, /* or it can't be told */
    DPG_OS_FILE,
    DPG_OS_FOLDER,
    DPG_OS_OTHER /* a pipe, a device */
} dpg_os_kind;

/* Opens nothing, so that it never waits. */
dpg_os_kind dpg_os_kind_of(const char *path);

dpg_os_trouble dpg_os_file_remove(const char *path, dpg_os_fault *fault); /* a regular file's name alone */

/* Atomically: `to` is now what `from` was, and durably so. */
dpg_os_trouble dpg_os_file_move(const char *from, const char *to, dpg_os_fault *fault);

/* --- the lock ----------------------------------------------------------------------------------------------------- */

/*
 * A lock that dies with its process, and that a child made by fork does not share: its descriptor is closed there. The
 * struct stays where it is while the lock is held.
 */
typedef struct dpg_os_lock {
    intptr_t handle;  /* -1: not held */
    uint64_t process; /* who took it */
    struct dpg_os_lock *next, *prev;
} dpg_os_lock;
#define DPG_OS_LOCK_NONE \
    {                    \
        .handle = -1     \
    }

/* Take it, or say BUSY at once; then `holder` ("process 4711") names who has it, for people, or is empty. */
dpg_os_trouble dpg_os_lock_take(const dpg_os_folder *folder, const char *name, dpg_os_lock *lock, char holder[32],
                                dpg_os_fault *fault);
void dpg_os_lock_give(dpg_os_lock *lock);          /* fine when not held; a child only drops its copy */
bool dpg_os_lock_is_held(const dpg_os_lock *lock); /* by this very process */

/* --- what libcurl leaves to its user ------------------------------------------------------------------------------- */

/*
 * libcurl writes to sockets that may be gone, by write() where OpenSSL does it, and with CURLOPT_NOSIGNAL it leaves
 * SIGPIPE to us: while it has control, the signal is held off from this thread. What hold() returns goes to release().
 */
int dpg_os_pipe_hold(void);
void dpg_os_pipe_release(int held);

/* A socket that no program we start inherits; -1: there is none to be had. The numbers are the system's own. */
intptr_t dpg_os_socket(int family, int type, int protocol);

/* --- threads ------------------------------------------------------------------------------------------------------ */

/* A lock, and a condition to wait for under it. For short moments: nobody waits for the world while holding one. */
typedef struct dpg_os_monitor dpg_os_monitor;

dpg_os_monitor *dpg_os_monitor_new(void);    /* NULL without memory */
void dpg_os_monitor_free(dpg_os_monitor *m); /* nobody holds it or waits; takes NULL */
void dpg_os_monitor_lock(dpg_os_monitor *m);
void dpg_os_monitor_unlock(dpg_os_monitor *m);
/* Held: let go of it, wait for a notify or until `ms` have passed on a clock that nobody sets, hold it again. May wake early. */
void dpg_os_monitor_wait(dpg_os_monitor *m, int64_t ms);
void dpg_os_monitor_notify(dpg_os_monitor *m); /* everybody who waits; held or not */

/* One more of them, for the whole process; never freed, and a child made by fork finds it free. */
dpg_os_monitor *dpg_os_global(void);

/* A thread that no signal is ever delivered to. */
typedef struct dpg_os_thread dpg_os_thread;

/* Fails with DPG_E_NOMEM, or DPG_E_SYSTEM, code "no_thread". */
dpg_status dpg_os_thread_start(void (*run)(void *self), void *self, dpg_os_thread **out, dpg_error *err);
void dpg_os_thread_join(dpg_os_thread *thread); /* waits for its end, and frees; takes NULL */

/*
 * `run` is called when the process ends by exit() or by coming to main's end, before the handlers that were there already
 * (libcurl's and its TLS library's); and the code of this library stays where it is until then, also when the host unloads
 * it. Asked once per process. False without memory.
 */
bool dpg_os_at_exit(void (*run)(void));

/* --- what wakes an event loop --------------------------------------------------------------------------------------- */

/* A descriptor that is readable while it is set. Children of this process never inherit it. -1: none. */
typedef struct dpg_os_event {
    intptr_t read, write; /* the same one where the system has eventfd */
} dpg_os_event;
#define DPG_OS_EVENT_NONE \
    {                     \
        -1, -1            \
    }

dpg_status dpg_os_event_open(dpg_os_event *out, dpg_error *err); /* DPG_E_SYSTEM, code "no_wake" */
void dpg_os_event_set(const dpg_os_event *event);                /* any thread; never waits; twice is once */
void dpg_os_event_clear(const dpg_os_event *event);              /* never waits */
void dpg_os_event_close(dpg_os_event *event);                    /* twice is fine */

/*
 * A local stream socket that other parts of this process connect to. It has a path as long as it is open, and leaves
 * nothing on the disk behind, also when the process is killed, where the system allows that.
 */
typedef struct dpg_os_listener {
    intptr_t handle; /* -1: none */
    intptr_t named;  /* what keeps its path alive, or -1 */
    uint64_t process;
    char path[108];
    char folder[108]; /* to be removed when it closes; empty: nothing is left on the disk */
} dpg_os_listener;
#define DPG_OS_LISTENER_NONE      \
    {                             \
        .handle = -1, .named = -1 \
    }

/* Fails with DPG_E_SYSTEM, code "no_wake": also on a system that has none. */
dpg_status dpg_os_listener_open(dpg_os_listener *out, dpg_error *err);
/* Who has connected; -1: nobody waits; -2: somebody waits who can't be let in, as when no descriptor is left. Never waits. */
intptr_t dpg_os_listener_accept(const dpg_os_listener *listener);
void dpg_os_listener_close(dpg_os_listener *listener); /* twice is fine; a child only drops its copy */

/* One byte to who has connected. False: it has gone away. A peer with enough unread bytes gets no more, and is fine. */
bool dpg_os_peer_tell(intptr_t peer);
bool dpg_os_peer_is_here(intptr_t peer); /* what it has sent is forgotten */
void dpg_os_peer_close(intptr_t peer);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
