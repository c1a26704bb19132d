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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef _WIN32
#include <direct.h>
#include <io.h>
#include <windows.h>

#include <aclapi.h>
#else
#include <ftw.h>
#include <sys/wait.h>
#endif

#define PATH_LONGEST 4352

/* Static, so that a child that ends in the middle of a test leaks nothing. */
static char scratches[4][PATH_LONGEST];

#ifdef _WIN32
#define O_CLOEXEC (_O_NOINHERIT | _O_BINARY)
#define fchmod(fd, mode) ((void)(fd), (void)(mode), 0)

char *files_scratch(void)
{
    static unsigned count;
    char *path = NULL, base[MAX_PATH];

    for (int i = 0; i < 4 && !path; i++)
        if (!scratches[i][0]) path = scratches[i];
    if (!path || !GetTempPathA(sizeof base, base)) abort();
    do { /* process ids come round */
        snprintf(path, PATH_LONGEST, "%sdpg-test-%lu-%u", base, (unsigned long)GetCurrentProcessId(), count++);
        for (char *c = path; *c; c++)
            if (*c == '\\') *c = '/';
        if (_mkdir(path) == 0) return path;
    } while (errno == EEXIST);
    perror(path);
    abort();
}

char *files_scratch_in_memory(void)
{
    return files_scratch();
}

/* Wide, and with a prefix, since what is tested are also names that are too long for the rest. */
static bool remove_all(const wchar_t *path)
{
    static wchar_t name[PATH_LONGEST]; /* of all levels: what has been removed below is not needed any more */
    WIN32_FIND_DATAW found;
    HANDLE search;
    bool fine = true;

    swprintf(name, PATH_LONGEST, L"%ls\\*", path);
    search = FindFirstFileW(name, &found);
    for (bool more = search != INVALID_HANDLE_VALUE; more; more = FindNextFileW(search, &found)) {
        wchar_t *below;

        if (wcscmp(found.cFileName, L".") == 0 || wcscmp(found.cFileName, L"..") == 0) continue;
        swprintf(name, PATH_LONGEST, L"%ls\\%ls", path, found.cFileName);
        below = _wcsdup(name);
        SetFileAttributesW(below, FILE_ATTRIBUTE_NORMAL);
        if (!DeleteFileW(below)) fine = remove_all(below) && fine;
        free(below);
    }
    if (search != INVALID_HANDLE_VALUE) FindClose(search);
    return RemoveDirectoryW(path) && fine;
}

static wchar_t *wide(const char *path)
{
    static wchar_t out[PATH_LONGEST];

    wcscpy(out, L"\\\\?\\");
    MultiByteToWideChar(CP_UTF8, 0, path, -1, out + 4, PATH_LONGEST - 4);
    for (wchar_t *c = out; *c; c++)
        if (*c == L'/') *c = L'\\';
    return out;
}

void files_remove(char *scratch)
{
    wchar_t *path = _wcsdup(wide(scratch));

    if (!remove_all(path)) printf("# can't remove %s: error %lu\n", scratch, (unsigned long)GetLastError());
    free(path);
    scratch[0] = '\0';
}

/* As much of a mode as there is: may others read or write it? */
int files_mode(const char *path)
{
    DWORD attributes = GetFileAttributesW(wide(path));
    char room[sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE];
    TOKEN_USER *me = (TOKEN_USER *)(void *)room;
    PSECURITY_DESCRIPTOR descriptor;
    HANDLE token;
    DWORD len;
    PACL acl;
    int mode = attributes & FILE_ATTRIBUTE_DIRECTORY ? 0700 : 0600;

    if (attributes == INVALID_FILE_ATTRIBUTES) return -1;
    if (!OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token)) abort();
    if (!GetTokenInformation(token, TokenUser, me, sizeof room, &len)) abort();
    CloseHandle(token);
    if (GetNamedSecurityInfoW(wide(path), SE_FILE_OBJECT, DACL_SECURITY_INFORMATION, NULL, NULL, &acl, NULL,
                              &descriptor))
        abort();
    if (!acl) mode |= 066;
    for (DWORD i = 0; acl && i < acl->AceCount; i++) {
        void *entry;
        ACCESS_ALLOWED_ACE *ace;

        if (!GetAce(acl, i, &entry)) abort();
        ace = entry;
        if (ace->Header.AceType != ACCESS_ALLOWED_ACE_TYPE || EqualSid(&ace->SidStart, me->User.Sid) ||
            IsWellKnownSid(&ace->SidStart, WinLocalSystemSid))
            continue;
        if (ace->Mask & (FILE_READ_DATA | GENERIC_READ)) mode |= 044;
        if (ace->Mask & (FILE_WRITE_DATA | GENERIC_WRITE)) mode |= 022;
    }
    LocalFree(descriptor);
    return mode;
}

int files_descriptors(void)
{
    return -1;
}
#else
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

int files_descriptors(void)
{
    int n = files_count("/proc/self/fd", "");

    return n < 0 ? n : n - 1; /* without the one that looks */
}

int files_mode(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 ? (int)(st.st_mode & 07777) : -1;
}

int files_wait(pid_t child)
{
    int status;

    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return -1000;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}
#endif

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
    bool fine = fd >= 0 && write(fd, bytes, (unsigned)len) == (ssize_t)len && fchmod(fd, (mode_t)mode) == 0;

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
