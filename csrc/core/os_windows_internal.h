/*
 * What the files of os.h for Windows share: errors and paths in Windows' own shape, and whom a file is open to. Nobody else
 * includes this.
 */
#ifndef DPG_OS_WINDOWS_INTERNAL_H
#define DPG_OS_WINDOWS_INTERNAL_H

#include "os.h"

#ifdef _WIN32

#include <winsock2.h>

#include <windows.h>

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

/* --- os_windows.c */

dpg_os_trouble dpg_windows_fault(dpg_os_fault *fault, DWORD number); /* a GetLastError() */
dpg_os_trouble dpg_windows_fault_of(dpg_os_fault *fault, dpg_os_trouble trouble, const char *text);

/*
 * Virus scanners, indexers and backups open what has just been written, for moments; meanwhile it can't be renamed, removed
 * or opened to write. True: it may be that, a little time has passed, try once more. `tries` begins at 0.
 */
bool dpg_windows_again(DWORD number, int *tries);

/* The absolute form that CreateFileW takes at any length, returned (dpg_free). NULL: `fault` says why. */
wchar_t *dpg_windows_path(const char *path, dpg_os_fault *fault);
char *dpg_windows_utf8(const wchar_t *path, dpg_os_fault *fault); /* with /, without \\?\; returned */
wchar_t *dpg_windows_join(const wchar_t *folder, const char *name, dpg_os_fault *fault);
wchar_t *dpg_windows_final(HANDLE file, const wchar_t *path,
                           dpg_os_fault *fault); /* `path` as the system spells it, or else as it is; returned */

/* Atomically, durably, and with patience. In os_windows_folder.c. */
dpg_os_trouble dpg_windows_move(const wchar_t *from, const wchar_t *to, dpg_os_fault *fault);

/* A regular file's name, with patience; with `ours` of this user's alone. Fills `fault` when it can't. There, too. */
void dpg_windows_remove(const wchar_t *path, bool ours, dpg_os_fault *fault);

/* Symbolic links and junctions; not what a file system does behind the scenes, like files that lie in the cloud. */
bool dpg_windows_is_link(HANDLE file);

/* All of `bytes` at that place; false: GetLastError(). */
bool dpg_windows_write(HANDLE file, const char *bytes, size_t len, int64_t at);
bool dpg_windows_read(HANDLE file, char *to, size_t most, int64_t at, size_t *got);
bool dpg_windows_cut(HANDLE file, int64_t size);

/* --- os_windows_access.c */

/* For what is made: full access for this user, none for anybody else, nothing inherited. */
typedef struct dpg_windows_private {
    SECURITY_ATTRIBUTES attributes;
    SECURITY_DESCRIPTOR descriptor;
    char owner[SECURITY_MAX_SID_SIZE];
    union {
        ACL acl;
        char room[256];
    } list;
} dpg_windows_private;
bool dpg_windows_private_init(dpg_windows_private *out); /* false: GetLastError() */

dpg_os_trouble dpg_windows_check_folder(HANDLE folder,
                                        dpg_os_fault *fault); /* OPEN_TO_OTHERS: others can write there */
dpg_os_trouble dpg_windows_check_file(HANDLE file, bool can_wait, dpg_os_fault *fault); /* NOT_OURS; made private */
bool dpg_windows_is_ours(const wchar_t *path);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
#endif
