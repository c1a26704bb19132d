/*
 * The caller's own files, for POSIX systems: what is read while it is uploaded, and what a download is written to.
 */
#ifndef _WIN32

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* O_NOFOLLOW, posix_fadvise under -std=c11 */
#endif
#ifndef _FILE_OFFSET_BITS
#define _FILE_OFFSET_BITS 64 /* more than 2 GiB on machines of 32 bits */
#endif
#ifndef _DARWIN_C_SOURCE
#define _DARWIN_C_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "os_posix_internal.h"

/* O_NONBLOCK: a pipe in the file's place is refused, not waited for. It means nothing to a regular file. */
static dpg_os_trouble open_file(const char *path, int flags, dpg_os_file *out, int64_t *size, dpg_os_fault *fault)
{
    int fd = dpg_posix_open_at(AT_FDCWD, path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0666);
    struct stat st;

    if (fd < 0) return dpg_posix_fault(fault, errno);
    if (fstat(fd, &st) < 0) {
        dpg_posix_fault(fault, errno);
    } else if (!S_ISREG(st.st_mode)) {
        dpg_posix_fault_of(fault, DPG_OS_NOT_A_FILE, "it is not a regular file");
    } else {
        out->handle = fd;
        *size = (int64_t)st.st_size;
        return DPG_OS_FINE;
    }
    close(fd);
    return fault->trouble;
}

dpg_os_trouble dpg_os_file_open(const char *path, dpg_os_file *out, int64_t *size, dpg_os_fault *fault)
{
    if (open_file(path, O_RDONLY, out, size, fault) != DPG_OS_FINE) return fault->trouble;
#ifdef POSIX_FADV_SEQUENTIAL
    posix_fadvise((int)out->handle, 0, 0, POSIX_FADV_SEQUENTIAL);
#endif
    return DPG_OS_FINE;
}

dpg_os_trouble dpg_os_file_make(const char *path, dpg_os_file *out, int64_t *size, dpg_os_fault *fault)
{
    return open_file(path, O_WRONLY | O_CREAT | O_NOFOLLOW, out, size, fault);
}

dpg_os_trouble dpg_os_file_size(const dpg_os_file *file, int64_t *size, dpg_os_fault *fault)
{
    struct stat st;

    if (fstat((int)file->handle, &st) < 0) return dpg_posix_fault(fault, errno);
    *size = (int64_t)st.st_size;
    return DPG_OS_FINE;
}

dpg_os_trouble dpg_os_file_read(const dpg_os_file *file, char *to, size_t most, int64_t at, size_t *got,
                                dpg_os_fault *fault)
{
    ssize_t n;

    do n = pread((int)file->handle, to, most, (off_t)at);
    while (n < 0 && errno == EINTR);
    if (n < 0) return dpg_posix_fault(fault, errno);
    *got = (size_t)n;
    return DPG_OS_FINE;
}

dpg_os_trouble dpg_os_file_write(const dpg_os_file *file, const char *bytes, size_t len, int64_t at,
                                 dpg_os_fault *fault)
{
    while (len) {
        ssize_t n = pwrite((int)file->handle, bytes, len, (off_t)at);

        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return dpg_posix_fault(fault, n < 0 ? errno : EIO); /* 0: never seen on a regular file */
        bytes += n;
        at += n;
        len -= (size_t)n;
    }
    return DPG_OS_FINE;
}

dpg_os_trouble dpg_os_file_cut(const dpg_os_file *file, int64_t size, dpg_os_fault *fault)
{
    int rc;

    do rc = ftruncate((int)file->handle, (off_t)size);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? dpg_posix_fault(fault, errno) : DPG_OS_FINE;
}

dpg_os_trouble dpg_os_file_sync(const dpg_os_file *file, dpg_os_fault *fault)
{
    return dpg_posix_sync((int)file->handle) < 0 ? dpg_posix_fault(fault, errno) : DPG_OS_FINE;
}

dpg_os_trouble dpg_os_file_lock(const dpg_os_file *file, const char *path, dpg_os_fault *fault)
{
    struct stat ours, theirs;
    int rc;

    do rc = flock((int)file->handle, LOCK_EX | LOCK_NB);
    while (rc < 0 && errno == EINTR);
    if (rc < 0 && errno == EWOULDBLOCK) return dpg_posix_fault_of(fault, DPG_OS_BUSY, "locked");
    if (fstat((int)file->handle, &ours) < 0) return dpg_posix_fault(fault, errno);
    if (lstat(path, &theirs) < 0 || ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino)
        return dpg_posix_fault_of(fault, DPG_OS_EXISTS, "another file has come under its name");
    return DPG_OS_FINE;
}

void dpg_os_file_unlock(const dpg_os_file *file)
{
    flock((int)file->handle, LOCK_UN);
}

dpg_os_trouble dpg_os_file_close(dpg_os_file *file, dpg_os_fault *fault)
{
    int rc = file->handle >= 0 ? close((int)file->handle) : 0;

    file->handle = -1;
    return rc < 0 && errno != EINTR ? dpg_posix_fault(fault, errno) : DPG_OS_FINE;
}

void dpg_os_io_path(const char *path, char *out, size_t room)
{
    snprintf(out, room, "%s", path);
}

dpg_os_kind dpg_os_kind_of(const char *path)
{
    struct stat st;

    if (stat(path, &st) < 0) return DPG_OS_NOTHING;
    return S_ISREG(st.st_mode) ? DPG_OS_FILE : S_ISDIR(st.st_mode) ? DPG_OS_FOLDER : DPG_OS_OTHER;
}

dpg_os_trouble dpg_os_file_remove(const char *path, dpg_os_fault *fault)
{
    struct stat st;

    if (lstat(path, &st) < 0) return dpg_posix_fault(fault, errno);
    if (!S_ISREG(st.st_mode)) return dpg_posix_fault_of(fault, DPG_OS_NOT_A_FILE, "it is not a regular file");
    return unlink(path) < 0 ? dpg_posix_fault(fault, errno) : DPG_OS_FINE;
}

dpg_os_trouble dpg_os_file_move(const char *from, const char *to, dpg_os_fault *fault)
{
    if (rename(from, to) < 0 || dpg_posix_sync_parent(to) < 0) return dpg_posix_fault(fault, errno);
    return DPG_OS_FINE;
}

#else
#include "os.h" /* a file without a declaration is no C */
#endif
