/*
 * See files.h.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATH_LONGEST 4352

/* Static, so that a child that ends in the middle of a test leaks nothing. */
static char scratches[4][PATH_LONGEST];

static char *scratch_in(const char *base)
{
    char *path = NULL;

    for (int i = 0; i < 4 && !path; i++)
        if (!scratches[i][0]) path = scratches[i];
    if (!path) return NULL;
    snprintf(path, PATH_LONGEST, "%s/dpg-test-XXXXXX", base);
    if (mkdtemp(path)) return path;
    path[0] = '\0';
    return NULL;
}

char *files_scratch(void)
{
    const char *base = getenv("TMPDIR");
    char *path = scratch_in(base && base[0] ? base : "/tmp");

    if (!path) {
        perror("no scratch folder");
        abort();
    }
    return path;
}

char *files_scratch_in_memory(void)
{
    char *path = scratch_in("/dev/shm");

    return path ? path : files_scratch();
}

static int open_up(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)where;
    return type == FTW_D && (st->st_mode & 0700) != 0700 ? chmod(path, 0700) : 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

void files_remove(char *scratch)
{
    nftw(scratch, open_up, 16, FTW_PHYS);
    if (nftw(scratch, remove_one, 16, FTW_PHYS | FTW_DEPTH) != 0) perror(scratch);
    scratch[0] = '\0';
}

const char *files_at(const char *folder, const char *name)
{
    static char paths[12][PATH_LONGEST];
    static unsigned next;
    char *path = paths[next++ % 12];

    snprintf(path, PATH_LONGEST, "%s/%s", folder, name);
    return path;
}

bool files_put(const char *path, const void *bytes, size_t len, int mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool fine = fd >= 0 && write(fd, bytes, len) == (ssize_t)len && fchmod(fd, (mode_t)mode) == 0;

    if (fd >= 0) close(fd);
    return fine;
}

bool files_get(const char *path, dpg_buf *out)
{
    char part[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = -1;

    if (fd < 0) return false;
    while ((n = read(fd, part, sizeof part)) > 0)
        if (!dpg_buf_put(out, part, (size_t)n)) break;
    close(fd);
    return n == 0;
}

bool files_is(const char *path, const void *bytes, size_t len)
{
    dpg_buf b;
    bool same;

    dpg_buf_init(&b, (size_t)1 << 24);
    same = files_get(path, &b) && b.len == len && (len == 0 || memcmp(b.ptr, bytes, len) == 0);
    dpg_buf_clear(&b);
    return same;
}

int files_mode(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 ? (int)(st.st_mode & 07777) : -1;
}

static int each(const char *folder, const char *part, const char **first)
{
    DIR *dir = opendir(folder);
    int count = 0;

    if (!dir) return -1;
    for (struct dirent *d; (d = readdir(dir));) {
        if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0 || !strstr(d->d_name, part)) continue;
        if (count++ == 0 && first) *first = files_at(folder, d->d_name);
    }
    closedir(dir);
    return count;
}

int files_count(const char *folder, const char *part)
{
    return each(folder, part, NULL);
}

const char *files_find(const char *folder, const char *part)
{
    const char *first = NULL;

    each(folder, part, &first);
    return first;
}

int files_wait(pid_t child)
{
    int status;

    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return -1000;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}
