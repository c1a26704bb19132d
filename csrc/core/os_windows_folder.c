/*
 * The folders and files of a store, and its lock, for Windows: the part of os.h that test_store.c looks at. Modes are access
 * control lists here (os_windows_access.c).
 */
#ifdef _WIN32

#include "os_windows_internal.h"

#include <stdio.h>
#include <string.h>

enum {
    SHARE_ALL = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
    SHARE_NO_REMOVE =
        FILE_SHARE_READ | FILE_SHARE_WRITE /* who has it open so keeps others from renaming and removing it */
};

/* What a dpg_os_folder's handle points to. */
typedef struct open_folder {
    HANDLE
    handle; /* while it is open, Windows lets nobody rename the folder or one above it: so its path stays right */
    wchar_t *path;
} open_folder;

static open_folder *of(const dpg_os_folder *folder)
{
    return (open_folder *)folder->handle;
}

/* --- folders ------------------------------------------------------------------------------------------------------ */

/* Is there a file where `path` wants a folder? */
static bool is_blocked(wchar_t *path)
{
    bool blocked = false;

    for (size_t cut = wcslen(path); cut > 6 && !blocked; cut--) {
        wchar_t kept = path[cut];
        DWORD attributes;

        if (kept != L'\\' && kept != L'\0') continue;
        path[cut] = L'\0';
        attributes = GetFileAttributesW(path);
        path[cut] = kept;
        if (attributes == INVALID_FILE_ATTRIBUTES) continue;
        blocked = !(attributes & FILE_ATTRIBUTE_DIRECTORY);
        break;
    }
    return blocked;
}

/* Make what is missing of it. False: GetLastError(). Durable with the first file in it that is synced: one journal has both. */
static bool make_folders(wchar_t *path)
{
    dpg_windows_private mine;
    wchar_t *slash;
    bool fine;

    if (!dpg_windows_private_init(&mine)) return false;
    if (CreateDirectoryW(path, &mine.attributes) || GetLastError() == ERROR_ALREADY_EXISTS) return true;
    if (GetLastError() != ERROR_PATH_NOT_FOUND) return false;
    slash = wcsrchr(path, L'\\');
    if (!slash || slash < path + 6) return false;
    *slash = L'\0';
    fine = make_folders(path);
    *slash = L'\\';
    return fine && (CreateDirectoryW(path, &mine.attributes) || GetLastError() == ERROR_ALREADY_EXISTS);
}

/* With the right to sync it where we have that; listing is what makes the sharing mode count. */
static HANDLE open_handle(const wchar_t *path)
{
    DWORD access = FILE_LIST_DIRECTORY | FILE_READ_ATTRIBUTES | READ_CONTROL | SYNCHRONIZE;
    int tries = 0;
    HANDLE h;

    do {
        h = CreateFileW(path, access | FILE_ADD_FILE, SHARE_NO_REMOVE, NULL, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS,
                        NULL);
        if (h == INVALID_HANDLE_VALUE &&
            (GetLastError() == ERROR_ACCESS_DENIED || GetLastError() == ERROR_WRITE_PROTECT))
            h = CreateFileW(path, access, SHARE_NO_REMOVE, NULL, OPEN_EXISTING, FILE_FLAG_BACKUP_SEMANTICS, NULL);
    } while (h == INVALID_HANDLE_VALUE && GetLastError() != ERROR_ACCESS_DENIED &&
             dpg_windows_again(GetLastError(), &tries));
    return h;
}

static bool is_folder(HANDLE h)
{
    BY_HANDLE_FILE_INFORMATION info;

    return GetFileInformationByHandle(h, &info) && (info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY);
}

dpg_os_trouble dpg_os_folder_open(const char *path, bool make, dpg_os_folder *out, dpg_os_fault *fault)
{
    wchar_t *wide = dpg_windows_path(path, fault);
    open_folder *f = NULL;
    HANDLE h = INVALID_HANDLE_VALUE;

    if (!wide) return fault->trouble;
    if (!(f = dpg_calloc(1, sizeof *f))) {
        dpg_windows_fault(fault, ERROR_NOT_ENOUGH_MEMORY);
        goto end;
    }
    h = open_handle(wide);
    if (h == INVALID_HANDLE_VALUE && make &&
        (GetLastError() == ERROR_FILE_NOT_FOUND || GetLastError() == ERROR_PATH_NOT_FOUND) && make_folders(wide))
        h = open_handle(wide);
    if (h == INVALID_HANDLE_VALUE) {
        dpg_windows_fault(fault, GetLastError());
        if (is_blocked(wide))
            dpg_windows_fault_of(fault, DPG_OS_NOT_A_FOLDER, "there is a file in the place of a folder");
    } else if (!is_folder(h)) {
        dpg_windows_fault_of(fault, DPG_OS_NOT_A_FOLDER, "it is a file");
    } else if (dpg_windows_check_folder(h, fault) == DPG_OS_FINE &&
               (f->path = dpg_windows_final(h, wide, fault)) != NULL) {
        f->handle = h;
        out->handle = (intptr_t)f;
        f = NULL;
        h = INVALID_HANDLE_VALUE;
        fault->trouble = DPG_OS_FINE;
    }
end:
    if (h != INVALID_HANDLE_VALUE) CloseHandle(h);
    dpg_free(f);
    dpg_free(wide);
    return fault->trouble;
}

void dpg_os_folder_close(dpg_os_folder *folder)
{
    open_folder *f = of(folder);

    if (folder->handle == -1) return;
    CloseHandle(f->handle);
    dpg_free(f->path);
    dpg_free(f);
    folder->handle = -1;
}

/*
 * A rename with MOVEFILE_WRITE_THROUGH is in NTFS's journal when it returns, so this has nothing left to do there; it is for
 * removals and links. Some file systems, and folders that we may not write to, sync no folders.
 */
dpg_os_trouble dpg_os_folder_sync(const dpg_os_folder *folder, dpg_os_fault *fault)
{
    if (FlushFileBuffers(of(folder)->handle)) return DPG_OS_FINE;
    switch (GetLastError()) {
    case ERROR_ACCESS_DENIED:
    case ERROR_INVALID_FUNCTION:
    case ERROR_INVALID_PARAMETER:
    case ERROR_INVALID_HANDLE:
    case ERROR_NOT_SUPPORTED: return DPG_OS_FINE;
    default: return dpg_windows_fault(fault, GetLastError());
    }
}

/* --- files -------------------------------------------------------------------------------------------------------- */

/* Why there is no opening it, better than CreateFileW says. */
static dpg_os_trouble open_trouble(const wchar_t *path, DWORD number, dpg_os_fault *fault)
{
    DWORD attributes = number == ERROR_FILE_NOT_FOUND ? INVALID_FILE_ATTRIBUTES : GetFileAttributesW(path);

    if (attributes != INVALID_FILE_ATTRIBUTES) {
        if (attributes & FILE_ATTRIBUTE_REPARSE_POINT)
            return dpg_windows_fault_of(fault, DPG_OS_SYMLINK, "it is a symbolic link or a junction");
        if (attributes & FILE_ATTRIBUTE_DIRECTORY)
            return dpg_windows_fault_of(fault, DPG_OS_NOT_A_FILE, "it is a folder");
        if (number == ERROR_ACCESS_DENIED && !dpg_windows_is_ours(path))
            return dpg_windows_fault_of(fault, DPG_OS_NOT_OURS, "it belongs to another user");
    }
    return dpg_windows_fault(fault, number);
}

static dpg_os_trouble check_ours(HANDLE h, bool reading, dpg_os_fault *fault)
{
    BY_HANDLE_FILE_INFORMATION info;

    if (dpg_windows_is_link(h))
        return dpg_windows_fault_of(fault, DPG_OS_SYMLINK, "it is a symbolic link or a junction");
    if (GetFileType(h) != FILE_TYPE_DISK || !GetFileInformationByHandle(h, &info) ||
        (info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY))
        return dpg_windows_fault_of(fault, DPG_OS_NOT_A_FILE, "it is not a regular file");
    return dpg_windows_check_file(h, reading, fault);
}

/*
 * Open a regular file of ours; `access` is GENERIC_READ and the like. Never follows a link: it is opened itself, and seen to
 * be one. Reparse points that are no links (deduplicated files, such that lie in the cloud) are then opened as what they stand for.
 */
static dpg_os_trouble open_ours(const wchar_t *path, DWORD access, DWORD share, DWORD disposition, HANDLE *out,
                                dpg_os_fault *fault)
{
    DWORD flags = FILE_ATTRIBUTE_NORMAL | FILE_FLAG_OPEN_REPARSE_POINT, rights = access | READ_CONTROL;
    bool reading = !(access & GENERIC_WRITE);
    dpg_windows_private mine;
    FILE_ATTRIBUTE_TAG_INFO info;
    int tries = 0;
    HANDLE h;

    if (!dpg_windows_private_init(&mine)) return dpg_windows_fault(fault, GetLastError());
    do {
        h = CreateFileW(path, rights | WRITE_DAC, share, &mine.attributes, disposition, flags, NULL);
        /* what may not be made private may be so already */
        if (h == INVALID_HANDLE_VALUE &&
            (GetLastError() == ERROR_WRITE_PROTECT || GetLastError() == ERROR_ACCESS_DENIED))
            h = CreateFileW(path, rights, share, &mine.attributes, disposition, flags, NULL);
    } while (h == INVALID_HANDLE_VALUE && dpg_windows_again(GetLastError(), &tries));
    if (h == INVALID_HANDLE_VALUE) return open_trouble(path, GetLastError(), fault);
    if (check_ours(h, reading, fault) != DPG_OS_FINE) {
        CloseHandle(h);
        return fault->trouble;
    }
    if (GetFileInformationByHandleEx(h, FileAttributeTagInfo, &info, sizeof info) &&
        (info.FileAttributes & FILE_ATTRIBUTE_REPARSE_POINT)) {
        CloseHandle(h);
        h = CreateFileW(path, access, share, NULL, OPEN_EXISTING, FILE_ATTRIBUTE_NORMAL, NULL);
        if (h == INVALID_HANDLE_VALUE) return open_trouble(path, GetLastError(), fault);
    }
    *out = h;
    return DPG_OS_FINE;
}

static dpg_os_trouble open_in(const dpg_os_folder *folder, const char *name, DWORD access, DWORD disposition,
                              HANDLE *out, dpg_os_fault *fault)
{
    wchar_t *path = dpg_windows_join(of(folder)->path, name, fault);

    if (!path) return fault->trouble;
    open_ours(path, access, SHARE_ALL, disposition, out, fault);
    dpg_free(path);
    return fault->trouble;
}

dpg_os_trouble dpg_os_read(const dpg_os_folder *folder, const char *name, size_t max, dpg_buf *out, dpg_os_fault *fault)
{
    char part[4096];
    size_t total = 0, n;
    HANDLE h;

    fault->trouble = DPG_OS_FINE;
    if (open_in(folder, name, GENERIC_READ, OPEN_EXISTING, &h, fault) != DPG_OS_FINE) return fault->trouble;
    for (;;) {
        if (!dpg_windows_read(h, part, sizeof part, (int64_t)total, &n)) {
            dpg_windows_fault(fault, GetLastError());
            break;
        }
        if (n == 0) break;
        total += n;
        if (total > max) {
            dpg_windows_fault_of(fault, DPG_OS_TOO_LONG, "the file is too large");
            break;
        }
        if (!dpg_buf_put(out, part, n)) {
            dpg_windows_fault(fault, ERROR_NOT_ENOUGH_MEMORY);
            break;
        }
    }
    dpg_wipe(part, sizeof part);
    CloseHandle(h);
    return fault->trouble;
}

static bool write_zeros(HANDLE h, size_t len, size_t at)
{
    static const char zeros[4096];

    while (len) {
        size_t part = len < sizeof zeros ? len : sizeof zeros;

        if (!dpg_windows_write(h, zeros, part, (int64_t)at)) return false;
        at += part;
        len -= part;
    }
    return true;
}

dpg_os_trouble dpg_os_write(const dpg_os_folder *folder, const char *name, dpg_str bytes, size_t zeros,
                            dpg_os_fault *fault)
{
    HANDLE h;

    fault->trouble = DPG_OS_FINE;
    if (open_in(folder, name, GENERIC_READ | GENERIC_WRITE, OPEN_ALWAYS, &h, fault) != DPG_OS_FINE)
        return fault->trouble;
    if (!dpg_windows_write(h, bytes.ptr, bytes.len, 0) || !write_zeros(h, zeros, bytes.len) ||
        !dpg_windows_cut(h, (int64_t)(bytes.len + zeros)) || !FlushFileBuffers(h))
        dpg_windows_fault(fault, GetLastError());
    if (!CloseHandle(h) && fault->trouble == DPG_OS_FINE) dpg_windows_fault(fault, GetLastError());
    return fault->trouble;
}

dpg_os_trouble dpg_os_sync(const dpg_os_folder *folder, const char *name, dpg_os_fault *fault)
{
    HANDLE h;

    fault->trouble = DPG_OS_FINE;
    if (open_in(folder, name, GENERIC_READ | GENERIC_WRITE, OPEN_EXISTING, &h, fault) != DPG_OS_FINE)
        return fault->trouble;
    if (!FlushFileBuffers(h)) dpg_windows_fault(fault, GetLastError());
    CloseHandle(h);
    return fault->trouble;
}

dpg_os_trouble dpg_windows_move(const wchar_t *from, const wchar_t *to, dpg_os_fault *fault)
{
    int tries = 0;

    while (!MoveFileExW(from, to, MOVEFILE_REPLACE_EXISTING | MOVEFILE_WRITE_THROUGH)) {
        DWORD number = GetLastError(), attributes = GetFileAttributesW(to);
        bool meant = attributes != INVALID_FILE_ATTRIBUTES &&
                     (attributes & (FILE_ATTRIBUTE_READONLY | FILE_ATTRIBUTE_DIRECTORY));
        /* over a file that somebody has open, a rename is "denied": a matter of moments, as is a sharing violation */
        bool moments = number == ERROR_ACCESS_DENIED && !meant;

        if (!dpg_windows_again(moments ? ERROR_SHARING_VIOLATION : number, &tries))
            return dpg_windows_fault(fault, number);
    }
    return DPG_OS_FINE;
}

dpg_os_trouble dpg_os_replace(const dpg_os_folder *folder, const char *from, const char *to, dpg_os_fault *fault)
{
    wchar_t *source = dpg_windows_join(of(folder)->path, from, fault);
    wchar_t *target = source ? dpg_windows_join(of(folder)->path, to, fault) : NULL;

    if (target) {
        fault->trouble = DPG_OS_FINE;
        dpg_windows_move(source, target, fault);
    }
    dpg_free(source);
    dpg_free(target);
    return fault->trouble;
}

void dpg_windows_remove(const wchar_t *path, bool ours, dpg_os_fault *fault)
{
    DWORD attributes = GetFileAttributesW(path);
    int tries = 0;

    if (attributes == INVALID_FILE_ATTRIBUTES) dpg_windows_fault(fault, GetLastError());
    else if (attributes & (FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_REPARSE_POINT | FILE_ATTRIBUTE_DEVICE))
        dpg_windows_fault_of(fault, DPG_OS_NOT_A_FILE, "it is not a regular file");
    else if (ours && !dpg_windows_is_ours(path))
        dpg_windows_fault_of(fault, DPG_OS_NOT_OURS, "it belongs to another user");
    else
        while (!DeleteFileW(path))
            if (!dpg_windows_again(GetLastError(), &tries)) {
                dpg_windows_fault(fault, GetLastError());
                break;
            }
}

dpg_os_trouble dpg_os_remove(const dpg_os_folder *folder, const char *name, dpg_os_fault *fault)
{
    wchar_t *path = dpg_windows_join(of(folder)->path, name, fault);

    if (!path) return fault->trouble;
    fault->trouble = DPG_OS_FINE;
    dpg_windows_remove(path, true, fault);
    dpg_free(path);
    return fault->trouble;
}

dpg_os_trouble dpg_os_keep(const dpg_os_folder *folder, const char *name, const char *as, dpg_str bytes,
                           dpg_os_fault *fault)
{
    wchar_t *source = dpg_windows_join(of(folder)->path, name, fault);
    wchar_t *target = source ? dpg_windows_join(of(folder)->path, as, fault) : NULL;
    HANDLE h;

    if (!target) goto end;
    fault->trouble = DPG_OS_FINE;
    if (CreateHardLinkW(target, source, NULL)) goto end;
    if (dpg_windows_fault(fault, GetLastError()) == DPG_OS_EXISTS || !bytes.ptr) goto end;
    if (open_in(folder, as, GENERIC_READ | GENERIC_WRITE, CREATE_NEW, &h, fault) != DPG_OS_FINE) goto end;
    fault->trouble = DPG_OS_FINE;
    if (!dpg_windows_write(h, bytes.ptr, bytes.len, 0) || !FlushFileBuffers(h))
        dpg_windows_fault(fault, GetLastError());
    CloseHandle(h);
    if (fault->trouble != DPG_OS_FINE) DeleteFileW(target);
end:
    dpg_free(source);
    dpg_free(target);
    return fault->trouble;
}

/* --- the lock ----------------------------------------------------------------------------------------------------- */

/*
 * LockFileEx, which ends with its process. What it locks can't be read by others, so that is one byte far beyond the end:
 * what stands in the file is the holder's process id. While anybody has the file open, nobody can remove it, so the one that
 * is locked is the one that others will find. A program that we start inherits none of it.
 */
static OVERLAPPED far_beyond(void)
{
    OVERLAPPED o = {0};

    o.OffsetHigh = 0x40000000;
    return o;
}

/* "process 4711" from what the holder wrote; empty when that isn't a process id. */
static void read_holder(HANDLE h, char holder[32])
{
    char text[16];
    size_t n = 0, digits = 0;

    holder[0] = '\0';
    if (!dpg_windows_read(h, text, sizeof text, 0, &n)) return;
    while (digits < n && text[digits] >= '0' && text[digits] <= '9') digits++;
    if (digits == 0 || digits > 10 || digits + 1 != n || text[digits] != '\n') return;
    snprintf(holder, 32, "process %.*s", (int)digits, text);
}

/* For people, and for the error of whoever finds it locked. A full disk is no reason not to lock. */
static void write_holder(HANDLE h)
{
    char text[16], old[16];
    int len = snprintf(text, sizeof text, "%lu\n", (unsigned long)GetCurrentProcessId());
    size_t n = 0;

    if (dpg_windows_read(h, old, sizeof old, 0, &n) && n == (size_t)len && memcmp(text, old, n) == 0) return;
    if (!dpg_windows_cut(h, 0) || !dpg_windows_write(h, text, (size_t)len, 0)) dpg_windows_cut(h, 0);
}

dpg_os_trouble dpg_os_lock_take(const dpg_os_folder *folder, const char *name, dpg_os_lock *lock, char holder[32],
                                dpg_os_fault *fault)
{
    wchar_t *path = dpg_windows_join(of(folder)->path, name, fault);
    OVERLAPPED o = far_beyond();
    HANDLE h;

    holder[0] = '\0';
    if (!path) return fault->trouble;
    fault->trouble = DPG_OS_FINE;
    open_ours(path, GENERIC_READ | GENERIC_WRITE, SHARE_NO_REMOVE, OPEN_ALWAYS, &h, fault);
    dpg_free(path);
    if (fault->trouble != DPG_OS_FINE) return fault->trouble;
    if (LockFileEx(h, LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &o)) {
        lock->handle = (intptr_t)h;
        lock->process = dpg_os_process();
        write_holder(h);
        return DPG_OS_FINE;
    }
    if (GetLastError() == ERROR_LOCK_VIOLATION || GetLastError() == ERROR_IO_PENDING) {
        read_holder(h, holder);
        dpg_windows_fault_of(fault, DPG_OS_BUSY, "locked");
    } else {
        dpg_windows_fault(fault, GetLastError());
    }
    CloseHandle(h);
    return fault->trouble;
}

bool dpg_os_lock_is_held(const dpg_os_lock *lock)
{
    return lock->handle != -1;
}

void dpg_os_lock_give(dpg_os_lock *lock)
{
    OVERLAPPED o = far_beyond();

    if (lock->handle == -1) return;
    /* Said aloud, and not left to closing: after that, Windows unlocks when it gets around to it. */
    UnlockFileEx((HANDLE)lock->handle, 0, 1, 0, &o);
    CloseHandle((HANDLE)lock->handle);
    lock->handle = -1;
}

#else
#include "os.h" /* a file without a declaration is no C */
#endif
