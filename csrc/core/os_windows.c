/*
 * os.h, and the engine's clock and random numbers, for Windows 8 and later. Everything of the system that the core touches is
 * called from here and from the files beside it (but for libcurl's own calls): os_windows_folder.c has folders, the files of
 * ours in them and the lock, _access.c who may do what with these, _file.c the caller's files, _thread.c threads, what wakes
 * an event loop and what libcurl leaves to us.
 */
#ifdef _WIN32

#include "os_windows_internal.h"

#include <bcrypt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <winternl.h>

#include "drivers.h"

/* --- process ------------------------------------------------------------------------------------------------------ */

uint64_t dpg_os_process(void)
{
    return GetCurrentProcessId(); /* there is no fork here */
}

int64_t dpg_os_pid(void)
{
    return (int64_t)GetCurrentProcessId();
}

void dpg_os_host(char *out, size_t size)
{
    char name[256] = "";
    DWORD room = sizeof name;
    size_t n = 0;

    if (!GetComputerNameExA(ComputerNameDnsHostname, name, &room)) name[0] = '\0';
    for (const char *c = name; *c && n + 1 < size; c++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_", *c)) out[n++] = *c;
    out[n] = '\0';
}

/* --- clock -------------------------------------------------------------------------------------------------------- */

/* Functions that older systems lack are looked up, once. */
static struct {
    void(WINAPI *interrupt_time)(PULONGLONG);
    char boot_id[40];
} found;

static FARPROC look_up(const wchar_t *library, const char *name)
{
    HMODULE module = GetModuleHandleW(library);

    return module ? GetProcAddress(module, name) : NULL;
}

/*
 * Windows has no name for a boot. What it knows is when the boot was, by a clock that may be set; and by how much it has
 * been set since. The difference stays what it is until the next boot.
 */
static void find_boot_id(void)
{
    struct {
        LARGE_INTEGER boot, now, zone_bias;
        ULONG zone, reserved;
        ULONGLONG boot_bias, sleep_bias;
    } day = {0};
    LONG(WINAPI * query)(int, void *, ULONG, ULONG *);
    FARPROC address = look_up(L"ntdll.dll", "NtQuerySystemInformation");

    memcpy(&query, &address, sizeof query);
    if (!query || query(3 /* SystemTimeOfDayInformation */, &day, sizeof day, NULL) != 0 || day.boot.QuadPart == 0)
        return;
    snprintf(found.boot_id, sizeof found.boot_id, "windows-%016" PRIx64, (uint64_t)day.boot.QuadPart - day.boot_bias);
}

static BOOL CALLBACK find_all(INIT_ONCE *once, void *unused, void **context)
{
    FARPROC address = look_up(L"kernelbase.dll", "QueryInterruptTimePrecise"); /* Windows 10 */

    (void)once, (void)unused, (void)context;
    memcpy(&found.interrupt_time, &address, sizeof address);
    find_boot_id();
    return TRUE;
}

/* Not under the lock of the process: who joins a thread at its end holds that, and the thread asks for the time. */
static void find(void)
{
    static INIT_ONCE once = INIT_ONCE_STATIC_INIT;

    InitOnceExecuteOnce(&once, find_all, NULL, NULL);
}

/*
 * The time since the boot, with that spent in sleep: the interrupt time, and not the "unbiased" one, which stands still
 * then. GetTickCount64 is the same in steps of 16 ms, for systems before 10.
 */
static int64_t os_boot_ms(void *self)
{
    ULONGLONG now;

    (void)self;
    find();
    if (!found.interrupt_time) return (int64_t)GetTickCount64();
    found.interrupt_time(&now);
    return (int64_t)(now / 10000);
}

static int64_t os_unix_ms(void *self)
{
    FILETIME time;

    (void)self;
    GetSystemTimePreciseAsFileTime(&time);
    /* 100 ns since 1601 */
    return (int64_t)(((uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime) / 10000) - INT64_C(11644473600000);
}

static const char *os_boot_id(void *self)
{
    (void)self;
    find();
    return found.boot_id;
}

int64_t dpg_os_now_us(void)
{
    LARGE_INTEGER now, each_second;

    QueryPerformanceCounter(&now);
    QueryPerformanceFrequency(&each_second);
    return now.QuadPart / each_second.QuadPart * 1000000 +
           now.QuadPart % each_second.QuadPart * 1000000 / each_second.QuadPart;
}

const dpg_clock dpg_clock_os = {NULL, os_boot_ms, os_unix_ms, os_boot_id};

/* --- random ------------------------------------------------------------------------------------------------------- */

dpg_status dpg_os_random(void *out, size_t len, dpg_error *err)
{
    unsigned char *p = out;

    while (len) {
        ULONG part = len < 4096 ? (ULONG)len : 4096;

        if (BCryptGenRandom(NULL, p, part, BCRYPT_USE_SYSTEM_PREFERRED_RNG) != 0)
            return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_USAGE, "no_random",
                            "the system gives no random bytes: BCryptGenRandom does not work here");
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
        /* Two equal idempotency keys would make one of two writes vanish: better to stop here. */
        fprintf(stderr, "dpg: %s\n", err.message);
        abort();
    }
    return n;
}

const dpg_random dpg_random_os = {NULL, os_u64};

/* --- what can go wrong -------------------------------------------------------------------------------------------- */

static dpg_os_trouble trouble_of(DWORD number)
{
    switch (number) {
    case ERROR_FILE_NOT_FOUND:
    case ERROR_PATH_NOT_FOUND:
    case ERROR_INVALID_DRIVE:
    case ERROR_BAD_NETPATH:
    case ERROR_BAD_NET_NAME: return DPG_OS_MISSING;
    case ERROR_FILE_EXISTS:
    case ERROR_ALREADY_EXISTS: return DPG_OS_EXISTS;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
    case 1295: /* ERROR_DISK_QUOTA_EXCEEDED: not in every header */
    case ERROR_FILE_TOO_LARGE: return DPG_OS_FULL;
    case ERROR_WRITE_PROTECT: return DPG_OS_READ_ONLY;
    case ERROR_ACCESS_DENIED:
    case ERROR_SHARING_VIOLATION: return DPG_OS_DENIED;
    case 681: /* ERROR_STOPPED_ON_SYMLINK */
    case ERROR_CANT_RESOLVE_FILENAME: return DPG_OS_SYMLINK;
    case ERROR_DIRECTORY: return DPG_OS_NOT_A_FOLDER;
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_COMMITMENT_LIMIT: return DPG_OS_NO_MEMORY;
    default: return DPG_OS_FAILED;
    }
}

/* The system's words, in UTF-8, on one line and without the full stop. */
static void put_text(DWORD number, char *out, size_t size)
{
    wchar_t wide[256];
    char text[768];
    DWORD flags = FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS | FORMAT_MESSAGE_MAX_WIDTH_MASK;
    DWORD n = FormatMessageW(flags, NULL, number, 0, wide, sizeof wide / sizeof *wide, NULL);
    int len = n ? WideCharToMultiByte(CP_UTF8, 0, wide, (int)n, text, sizeof text - 1, NULL, NULL) : 0;

    while (len && (text[len - 1] == ' ' || text[len - 1] == '.' || text[len - 1] == '\r' || text[len - 1] == '\n'))
        len--;
    if (len >= (int)size) len = (int)size - 1;
    while (len && ((unsigned char)text[len] & 0xc0) == 0x80) len--; /* not within a character */
    text[len] = '\0';
    if (len) snprintf(out, size, "%s", text);
    else snprintf(out, size, "error %lu", (unsigned long)number);
}

dpg_os_trouble dpg_windows_fault(dpg_os_fault *fault, DWORD number)
{
    fault->trouble = trouble_of(number);
    put_text(number, fault->text, sizeof fault->text);
    return fault->trouble;
}

dpg_os_trouble dpg_windows_fault_of(dpg_os_fault *fault, dpg_os_trouble trouble, const char *text)
{
    fault->trouble = trouble;
    snprintf(fault->text, sizeof fault->text, "%s", text);
    return trouble;
}

bool dpg_windows_again(DWORD number, int *tries)
{
    /* "denied" is mostly meant, but it is also what is said of a file that is about to vanish, and of a rename over one
     * that is open */
    int most = number == ERROR_SHARING_VIOLATION || number == ERROR_LOCK_VIOLATION || number == ERROR_USER_MAPPED_FILE
                   ? 24
               : number == ERROR_ACCESS_DENIED ? 7
                                               : 0;

    if (*tries >= most) return false;
    Sleep(*tries < 5 ? 1u << *tries : 40);
    ++*tries;
    return true;
}

/* --- paths -------------------------------------------------------------------------------------------------------- */

dpg_str dpg_os_path_name(dpg_str path)
{
    size_t at = path.len;

    while (at && path.ptr[at - 1] != '/' && path.ptr[at - 1] != '\\') at--;
    return dpg_str_of(path.ptr + at, path.len - at);
}

/* Devices have these names in each folder, with any extension. */
static bool is_device(dpg_str name)
{
    static const char *const names[] = {"con", "prn", "aux", "nul", "conin$", "conout$"};
    dpg_str stem = name;

    for (stem.len = 0; stem.len < name.len && name.ptr[stem.len] != '.'; stem.len++) continue;
    while (stem.len && stem.ptr[stem.len - 1] == ' ') stem.len--;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (dpg_str_eq_nocase(stem, dpg_cstr(names[i]))) return true;
    /* 1 to 9, and the superscripts of Latin-1: ¹ ² ³ */
    return stem.len >= 4 &&
           (dpg_str_eq_nocase(dpg_str_of(stem.ptr, 3), DPG_LIT("com")) ||
            dpg_str_eq_nocase(dpg_str_of(stem.ptr, 3), DPG_LIT("lpt"))) &&
           ((stem.len == 4 && stem.ptr[3] >= '0' && stem.ptr[3] <= '9') || (stem.len == 5 && stem.ptr[3] == '\xc2'));
}

const char *dpg_os_name_objection(dpg_str name)
{
    if (dpg_str_eq(name, DPG_LIT(".")) || dpg_str_eq(name, DPG_LIT(".."))) return "it names a folder, not a file";
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] < 0x20 || strchr("<>:\"|?*", name.ptr[i]))
            return "a file's name can't hold < > : \" | ? * or control characters here";
    if (name.ptr[name.len - 1] == '.' || name.ptr[name.len - 1] == ' ')
        return "a file's name can't end in a dot or a space here";
    return is_device(name) ? "it names a device" : NULL;
}

/*
 * UTF-8; or else what comes from getenv() and the like, which is in the code page of the system: that hardly ever happens to
 * be UTF-8, too. False: it is neither.
 */
static bool widen(const char *path, size_t len, wchar_t *out)
{
    return len == 0 || MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, path, (int)len, out, (int)len) > 0 ||
           MultiByteToWideChar(CP_ACP, MB_ERR_INVALID_CHARS, path, (int)len, out, (int)len) > 0;
}

/* `path` in UTF-16, made absolute by the system: with the current folder, without . and .. */
static wchar_t *absolute_wide(const char *path, dpg_os_fault *fault)
{
    size_t len = strlen(path), room;
    wchar_t *wide = NULL, *whole = NULL;
    DWORD need;

    if (len > 32000) {
        dpg_windows_fault(fault, ERROR_FILENAME_EXCED_RANGE);
        return NULL;
    }
    wide = dpg_calloc(len + 2, sizeof *wide);
    if (!wide) goto no_memory;
    if (!widen(path, len, wide)) {
        dpg_windows_fault_of(fault, DPG_OS_FAILED, "it is not UTF-8");
        goto end;
    }
    if (len == 2 && wide[1] == L':') wide[2] = L'\\'; /* the drive's top, not the folder that was current there last */
    need = GetFullPathNameW(wide, 0, NULL, NULL);
    room = (size_t)need + 1;
    if (need == 0) {
        dpg_windows_fault(fault, GetLastError());
        goto end;
    }
    if (!(whole = dpg_calloc(room, sizeof *whole))) goto no_memory;
    need = GetFullPathNameW(wide, (DWORD)room, whole, NULL);
    if (need == 0 || need >= room) { /* somebody has changed the current folder at this moment */
        dpg_windows_fault(fault, need ? ERROR_FILENAME_EXCED_RANGE : GetLastError());
        dpg_free(whole);
        whole = NULL;
    }
end:
    dpg_free(wide);
    return whole;

no_memory:
    dpg_windows_fault(fault, ERROR_NOT_ENOUGH_MEMORY);
    goto end;
}

wchar_t *dpg_windows_path(const char *path, dpg_os_fault *fault)
{
    wchar_t *whole = absolute_wide(path, fault), *out;
    const wchar_t *prefix = L"\\\\?\\", *rest = whole;

    if (!whole) return NULL;
    if (wcsncmp(whole, L"\\\\?\\", 4) == 0 || wcsncmp(whole, L"\\\\.\\", 4) == 0) return whole;
    if (wcsncmp(whole, L"\\\\", 2) == 0) {
        prefix = L"\\\\?\\UNC\\";
        rest = whole + 2;
    }
    out = dpg_calloc(wcslen(prefix) + wcslen(rest) + 1, sizeof *out);
    if (out) {
        wcscpy(out, prefix);
        wcscat(out, rest);
    } else {
        dpg_windows_fault(fault, ERROR_NOT_ENOUGH_MEMORY);
    }
    dpg_free(whole);
    return out;
}

char *dpg_windows_utf8(const wchar_t *path, dpg_os_fault *fault)
{
    bool network = wcsncmp(path, L"\\\\?\\UNC\\", 8) == 0;
    int len;
    char *out;

    if (network) path += 6;
    else if (wcsncmp(path, L"\\\\?\\", 4) == 0 && path[4] && path[5] == L':') path += 4;
    len = WideCharToMultiByte(CP_UTF8, WC_ERR_INVALID_CHARS, path, -1, NULL, 0, NULL, NULL);
    if (len <= 0) {
        dpg_windows_fault(fault, GetLastError());
        return NULL;
    }
    out = dpg_calloc(1, (size_t)len + 1);
    if (!out) {
        dpg_windows_fault(fault, ERROR_NOT_ENOUGH_MEMORY);
        return NULL;
    }
    WideCharToMultiByte(CP_UTF8, 0, path, -1, out, len, NULL, NULL);
    if (network) out[0] = '\\';
    for (char *c = out; *c; c++)
        if (*c == '\\') *c = '/';
    return out;
}

wchar_t *dpg_windows_join(const wchar_t *folder, const char *name, dpg_os_fault *fault)
{
    size_t start = wcslen(folder), len = strlen(name);
    wchar_t *out = dpg_calloc(start + len + 2, sizeof *out);

    if (!out) {
        dpg_windows_fault(fault, ERROR_NOT_ENOUGH_MEMORY);
        return NULL;
    }
    wcscpy(out, folder);
    if (start && out[start - 1] != L'\\') out[start++] = L'\\';
    if (len && MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, name, (int)len, out + start, (int)len) == 0) {
        dpg_windows_fault_of(fault, DPG_OS_FAILED, "it is not UTF-8");
        dpg_free(out);
        return NULL;
    }
    return out;
}

wchar_t *dpg_windows_final(HANDLE file, const wchar_t *path, dpg_os_fault *fault)
{
    DWORD need = GetFinalPathNameByHandleW(file, NULL, 0, VOLUME_NAME_DOS), got;
    wchar_t *out = dpg_calloc((size_t)need + wcslen(path) + 2, sizeof *out);

    if (!out) {
        dpg_windows_fault(fault, ERROR_NOT_ENOUGH_MEMORY);
        return NULL;
    }
    got = need ? GetFinalPathNameByHandleW(file, out, need + 1, VOLUME_NAME_DOS) : 0;
    if (got == 0 || got > need) wcscpy(out, path); /* a volume without a letter; and wine knows no long ones */
    return out;
}

char *dpg_os_absolute(const char *path, dpg_os_fault *fault)
{
    wchar_t *whole = absolute_wide(path, fault);
    char *out = whole ? dpg_windows_utf8(whole, fault) : NULL;

    dpg_free(whole);
    return out;
}

/* The part of `path` that exists, as the system spells it. `cut` is where that part ends. NULL: nothing of it exists. */
static wchar_t *existing_part(wchar_t *path, size_t *cut, dpg_os_fault *fault)
{
    wchar_t *real = NULL;

    for (*cut = wcslen(path); *cut && !real;) {
        wchar_t kept = path[*cut];
        HANDLE folder;

        path[*cut] = L'\0';
        folder = CreateFileW(path, 0, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE, NULL, OPEN_EXISTING,
                             FILE_FLAG_BACKUP_SEMANTICS, NULL);
        if (folder != INVALID_HANDLE_VALUE) {
            real = dpg_windows_final(folder, path, fault);
            CloseHandle(folder);
        }
        path[*cut] = kept;
        if (real || path[*cut - 1] == L'\\') break; /* a drive's top, of which the slash is a part */
        do --*cut;
        while (*cut && path[*cut] != L'\\');
        if (*cut && path[*cut - 1] == L':') ++*cut;
    }
    return real;
}

char *dpg_os_real(const char *path, dpg_os_fault *fault)
{
    wchar_t *wide = dpg_windows_path(path, fault), *part;
    char *out = NULL, *rest = NULL, *real = NULL;
    size_t cut, len;
    dpg_buf b;

    if (!wide) return NULL;
    part = existing_part(wide, &cut, fault);
    if (part) {
        dpg_buf_init(&b, 200000);
        real = dpg_windows_utf8(part, fault);
        rest = dpg_windows_utf8(wide + cut, fault);
        if (real && rest) {
            len = strlen(real);
            while (len && real[len - 1] == '/') len--; /* a drive's top has one */
            dpg_buf_put(&b, real, len);
            if (rest[0] && rest[0] != '/') dpg_buf_puts(&b, "/");
            dpg_buf_puts(&b, rest);
            if (b.failed) dpg_windows_fault(fault, ERROR_NOT_ENOUGH_MEMORY);
            else out = b.ptr;
        }
        dpg_free(real);
        dpg_free(rest);
        dpg_free(part);
    } else {
        out = dpg_windows_utf8(wide, fault);
    }
    dpg_free(wide);
    return out;
}

/* --- open files --------------------------------------------------------------------------------------------------- */

bool dpg_windows_is_link(HANDLE file)
{
    FILE_ATTRIBUTE_TAG_INFO info;

    return GetFileInformationByHandleEx(file, FileAttributeTagInfo, &info, sizeof info) &&
           (info.FileAttributes & FILE_ATTRIBUTE_REPARSE_POINT) && IsReparseTagNameSurrogate(info.ReparseTag);
}

static OVERLAPPED place(int64_t at)
{
    OVERLAPPED o = {0};

    o.Offset = (DWORD)((uint64_t)at & 0xffffffffu);
    o.OffsetHigh = (DWORD)((uint64_t)at >> 32);
    return o;
}

bool dpg_windows_write(HANDLE file, const char *bytes, size_t len, int64_t at)
{
    while (len) {
        OVERLAPPED o = place(at);
        DWORD part = len < (1u << 30) ? (DWORD)len : 1u << 30, n = 0;

        if (!WriteFile(file, bytes, part, &n, &o)) return false;
        if (n == 0) { /* never seen on a regular file; an endless loop would be worse than an error */
            SetLastError(ERROR_WRITE_FAULT);
            return false;
        }
        bytes += n;
        at += n;
        len -= n;
    }
    return true;
}

bool dpg_windows_read(HANDLE file, char *to, size_t most, int64_t at, size_t *got)
{
    OVERLAPPED o = place(at);
    DWORD n = 0;

    if (!ReadFile(file, to, most < (1u << 30) ? (DWORD)most : 1u << 30, &n, &o) && GetLastError() != ERROR_HANDLE_EOF)
        return false;
    *got = n;
    return true;
}

bool dpg_windows_cut(HANDLE file, int64_t size)
{
    FILE_END_OF_FILE_INFO info;

    info.EndOfFile.QuadPart = size;
    return SetFileInformationByHandle(file, FileEndOfFileInfo, &info, sizeof info);
}

#else
#include "os.h" /* a file without a declaration is no C */
#endif
