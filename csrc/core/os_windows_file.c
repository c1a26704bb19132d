/*
 * The caller's own files, for Windows: what is read while it is uploaded, and what a download is written to.
 */
#ifdef _WIN32

#include "os_windows_internal.h"

#include <stdio.h>
#include <string.h>

static HANDLE handle_of(const dpg_os_file *file)
{
    return (HANDLE)file->handle;
}

static dpg_os_trouble open_file(const char *path, DWORD access, DWORD disposition, DWORD flags, dpg_os_file *out,
                                int64_t *size, dpg_os_fault *fault)
{
    wchar_t *wide = dpg_windows_path(path, fault);
    BY_HANDLE_FILE_INFORMATION info;
    DWORD attributes;
    int tries = 0;
    HANDLE h;

    if (!wide) return fault->trouble;
    do
        h = CreateFileW(wide, access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, disposition,
                        FILE_ATTRIBUTE_NORMAL | flags, NULL);
    while (h == INVALID_HANDLE_VALUE && dpg_windows_again(GetLastError(), &tries));
    if (h == INVALID_HANDLE_VALUE) {
        dpg_windows_fault(fault, GetLastError());
        attributes = fault->trouble == DPG_OS_DENIED ? GetFileAttributesW(wide) : INVALID_FILE_ATTRIBUTES;
        if (attributes != INVALID_FILE_ATTRIBUTES && (attributes & FILE_ATTRIBUTE_DIRECTORY))
            dpg_windows_fault_of(fault, DPG_OS_NOT_A_FILE, "it is a folder");
        dpg_free(wide);
        return fault->trouble;
    }
    dpg_free(wide);
    fault->trouble = DPG_OS_FINE;
    if (GetFileType(h) != FILE_TYPE_DISK) dpg_windows_fault_of(fault, DPG_OS_NOT_A_FILE, "it is not a regular file");
    else if ((flags & FILE_FLAG_OPEN_REPARSE_POINT) && dpg_windows_is_link(h))
        dpg_windows_fault_of(fault, DPG_OS_SYMLINK, "it is a symbolic link or a junction");
    else if (!GetFileInformationByHandle(h, &info)) dpg_windows_fault(fault, GetLastError());
    if (fault->trouble != DPG_OS_FINE) {
        CloseHandle(h);
        return fault->trouble;
    }
    out->handle = (intptr_t)h;
    *size = (int64_t)((uint64_t)info.nFileSizeHigh << 32 | info.nFileSizeLow);
    return DPG_OS_FINE;
}

dpg_os_trouble dpg_os_file_open(const char *path, dpg_os_file *out, int64_t *size, dpg_os_fault *fault)
{
    return open_file(path, GENERIC_READ, OPEN_EXISTING, FILE_FLAG_SEQUENTIAL_SCAN, out, size, fault);
}

dpg_os_trouble dpg_os_file_make(const char *path, dpg_os_file *out, int64_t *size, dpg_os_fault *fault)
{
    return open_file(path, GENERIC_READ | GENERIC_WRITE, OPEN_ALWAYS, FILE_FLAG_OPEN_REPARSE_POINT, out, size, fault);
}

dpg_os_trouble dpg_os_file_size(const dpg_os_file *file, int64_t *size, dpg_os_fault *fault)
{
    LARGE_INTEGER n;

    if (!GetFileSizeEx(handle_of(file), &n)) return dpg_windows_fault(fault, GetLastError());
    *size = n.QuadPart;
    return DPG_OS_FINE;
}

dpg_os_trouble dpg_os_file_read(const dpg_os_file *file, char *to, size_t most, int64_t at, size_t *got,
                                dpg_os_fault *fault)
{
    return dpg_windows_read(handle_of(file), to, most, at, got) ? DPG_OS_FINE
                                                                : dpg_windows_fault(fault, GetLastError());
}

dpg_os_trouble dpg_os_file_write(const dpg_os_file *file, const char *bytes, size_t len, int64_t at,
                                 dpg_os_fault *fault)
{
    return dpg_windows_write(handle_of(file), bytes, len, at) ? DPG_OS_FINE : dpg_windows_fault(fault, GetLastError());
}

dpg_os_trouble dpg_os_file_cut(const dpg_os_file *file, int64_t size, dpg_os_fault *fault)
{
    return dpg_windows_cut(handle_of(file), size) ? DPG_OS_FINE : dpg_windows_fault(fault, GetLastError());
}

dpg_os_trouble dpg_os_file_sync(const dpg_os_file *file, dpg_os_fault *fault)
{
    return FlushFileBuffers(handle_of(file)) ? DPG_OS_FINE : dpg_windows_fault(fault, GetLastError());
}

/* Far beyond what is in it, which others can read. */
static OVERLAPPED locked_byte(void)
{
    OVERLAPPED o = {0};

    o.OffsetHigh = 0x40000000;
    return o;
}

static bool is_at(HANDLE file, const char *path)
{
    dpg_os_fault fault;
    dpg_os_file other = DPG_OS_FILE_NONE;
    BY_HANDLE_FILE_INFORMATION a, b;
    int64_t size;
    bool same;

    if (open_file(path, 0, OPEN_EXISTING, FILE_FLAG_OPEN_REPARSE_POINT, &other, &size, &fault) != DPG_OS_FINE)
        return false;
    same = GetFileInformationByHandle(file, &a) && GetFileInformationByHandle(handle_of(&other), &b) &&
           a.dwVolumeSerialNumber == b.dwVolumeSerialNumber && a.nFileIndexHigh == b.nFileIndexHigh &&
           a.nFileIndexLow == b.nFileIndexLow;
    CloseHandle(handle_of(&other));
    return same;
}

dpg_os_trouble dpg_os_file_lock(const dpg_os_file *file, const char *path, dpg_os_fault *fault)
{
    OVERLAPPED o = locked_byte();
    DWORD why;

    if (!LockFileEx(handle_of(file), LOCKFILE_EXCLUSIVE_LOCK | LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &o)) {
        why = GetLastError();
        if (why == ERROR_LOCK_VIOLATION || why == ERROR_IO_PENDING)
            return dpg_windows_fault_of(fault, DPG_OS_BUSY, "locked");
        if (why != ERROR_NOT_SUPPORTED) return dpg_windows_fault(fault, why);
    }
    return is_at(handle_of(file), path)
               ? DPG_OS_FINE
               : dpg_windows_fault_of(fault, DPG_OS_EXISTS, "another file has come under its name");
}

void dpg_os_file_unlock(const dpg_os_file *file)
{
    OVERLAPPED o = locked_byte();

    UnlockFileEx(handle_of(file), 0, 1, 0, &o);
}

dpg_os_trouble dpg_os_file_close(dpg_os_file *file, dpg_os_fault *fault)
{
    bool fine = file->handle == -1 || CloseHandle(handle_of(file));

    file->handle = -1;
    return fine ? DPG_OS_FINE : dpg_windows_fault(fault, GetLastError());
}

void dpg_os_io_path(const char *path, char *out, size_t room)
{
    size_t len = strlen(path);
    wchar_t *wide = len < 32000 ? dpg_calloc(len + 1, sizeof *wide) : NULL;
    BOOL lossy = FALSE, *told = GetACP() == CP_UTF8 ? NULL : &lossy;
    int written = 0;

    if (wide && MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, (int)len, wide, (int)len) > 0)
        written = WideCharToMultiByte(CP_ACP, told ? WC_NO_BEST_FIT_CHARS : 0, wide, -1, out, (int)room, NULL, told);
    if (written <= 0 || lossy) snprintf(out, room, "%s", path);
    dpg_free(wide);
}

dpg_os_kind dpg_os_kind_of(const char *path)
{
    dpg_os_fault fault;
    wchar_t *wide = dpg_windows_path(path, &fault);
    DWORD attributes = wide ? GetFileAttributesW(wide) : INVALID_FILE_ATTRIBUTES;

    dpg_free(wide);
    if (attributes == INVALID_FILE_ATTRIBUTES) return DPG_OS_NOTHING;
    if (attributes & FILE_ATTRIBUTE_DIRECTORY) return DPG_OS_FOLDER;
    return attributes & FILE_ATTRIBUTE_DEVICE ? DPG_OS_OTHER : DPG_OS_FILE;
}

dpg_os_trouble dpg_os_file_remove(const char *path, dpg_os_fault *fault)
{
    wchar_t *wide = dpg_windows_path(path, fault);

    if (!wide) return fault->trouble;
    fault->trouble = DPG_OS_FINE;
    dpg_windows_remove(wide, false, fault);
    dpg_free(wide);
    return fault->trouble;
}

dpg_os_trouble dpg_os_file_move(const char *from, const char *to, dpg_os_fault *fault)
{
    wchar_t *source = dpg_windows_path(from, fault);
    wchar_t *target = source ? dpg_windows_path(to, fault) : NULL;

    if (target) {
        fault->trouble = DPG_OS_FINE;
        dpg_windows_move(source, target, fault);
    }
    dpg_free(source);
    dpg_free(target);
    return fault->trouble;
}

#else
#include "os.h" /* a file without a declaration is no C */
#endif
