/*
 * Threads, monitors, what wakes an event loop, and what libcurl leaves to its user, for Windows: the part of os.h that
 * os_windows.c leaves to this file.
 */
#ifdef _WIN32

#include "os_windows_internal.h"

#include <process.h>
#include <stdio.h>
#include <string.h>
#include <ws2tcpip.h>

/* --- monitors ----------------------------------------------------------------------------------------------------- */

struct dpg_os_monitor {
    SRWLOCK lock;
    CONDITION_VARIABLE condition;
};

dpg_os_monitor *dpg_os_monitor_new(void)
{
    return dpg_calloc(1, sizeof(dpg_os_monitor)); /* zero is what both begin with */
}

void dpg_os_monitor_free(dpg_os_monitor *m)
{
    dpg_free(m);
}

void dpg_os_monitor_lock(dpg_os_monitor *m)
{
    AcquireSRWLockExclusive(&m->lock);
}

void dpg_os_monitor_unlock(dpg_os_monitor *m)
{
    ReleaseSRWLockExclusive(&m->lock);
}

void dpg_os_monitor_wait(dpg_os_monitor *m, int64_t ms)
{
    if (ms > 0) SleepConditionVariableSRW(&m->condition, &m->lock, ms < 0x7fffffff ? (DWORD)ms : 0x7fffffff, 0);
}

void dpg_os_monitor_notify(dpg_os_monitor *m)
{
    WakeAllConditionVariable(&m->condition);
}

dpg_os_monitor *dpg_os_global(void)
{
    static dpg_os_monitor global = {SRWLOCK_INIT, CONDITION_VARIABLE_INIT};

    return &global;
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

struct dpg_os_thread {
    HANDLE handle;
    void (*run)(void *self);
    void *self;
};

static unsigned __stdcall run_thread(void *arg)
{
    dpg_os_thread *t = arg;

    t->run(t->self);
    return 0;
}

dpg_status dpg_os_thread_start(void (*run)(void *self), void *self, dpg_os_thread **out, dpg_error *err)
{
    dpg_os_thread *t = dpg_calloc(1, sizeof *t);

    if (!t) return dpg_fail_nomem(err);
    t->run = run;
    t->self = self;
    t->handle = (HANDLE)_beginthreadex(NULL, 0, run_thread, t, 0, NULL);
    if (!t->handle) {
        dpg_os_fault fault;

        dpg_windows_fault(&fault, GetLastError());
        dpg_free(t);
        return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_USAGE, "no_thread", "the system gives no thread: %s", fault.text);
    }
    *out = t;
    return DPG_OK;
}

void dpg_os_thread_join(dpg_os_thread *thread)
{
    if (!thread) return;
    WaitForSingleObject(thread->handle, INFINITE);
    CloseHandle(thread->handle);
    dpg_free(thread);
}

/* --- the end of the process --------------------------------------------------------------------------------------- */

static void (*at_exit)(void);

/*
 * A C library may call this a second time when it is unloaded; by then Windows has ended all other threads, in whatever they
 * were doing, and there is nothing left to wait for.
 */
static void __cdecl run_at_exit(void)
{
    void (*run)(void) = at_exit;
    BOOLEAN(NTAPI * ending)(void) = NULL;
    HMODULE ntdll = GetModuleHandleW(L"ntdll.dll");
    FARPROC address = ntdll ? GetProcAddress(ntdll, "RtlDllShutdownInProgress") : NULL;

    memcpy(&ending, &address, sizeof ending);
    at_exit = NULL;
    if (run && !(ending && ending())) run();
}

/*
 * The handlers of a DLL's own run when it is unloaded, too late. So it is the C library of the host, whichever it is, that is
 * asked, and of those that are loaded each: the one whose exit() is called runs it. A host with a C library of its own inside
 * (/MT) can't be asked; its engine ends with its Lua state, or with the process.
 */
bool dpg_os_at_exit(void (*run)(void))
{
    static const struct {
        const wchar_t *library;
        const char *name;
    } known[] = {{L"ucrtbase.dll", "_crt_atexit"}, {L"msvcrt.dll", "_onexit"}};
    HMODULE self;

    GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN,
                       (LPCWSTR)(uintptr_t)&run_at_exit, &self); /* it stays loaded */
    at_exit = run;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        HMODULE module = GetModuleHandleW(known[i].library);
        FARPROC address = module ? GetProcAddress(module, known[i].name) : NULL;
        intptr_t(__cdecl * add)(void(__cdecl *)(void)); /* an int, or the function itself: nobody looks at it */

        memcpy(&add, &address, sizeof add);
        if (add) add(run_at_exit);
    }
    return true;
}

/* --- sockets ------------------------------------------------------------------------------------------------------ */

int dpg_os_pipe_hold(void)
{
    return 0; /* there are no signals */
}

void dpg_os_pipe_release(int held)
{
    (void)held;
}

intptr_t dpg_os_socket(int family, int type, int protocol)
{
    return (intptr_t)WSASocketW(family, type, protocol, NULL, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
}

static dpg_status no_wake(dpg_error *err, int number)
{
    dpg_os_fault fault;

    dpg_windows_fault(&fault, (DWORD)number);
    return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_USAGE, "no_wake",
                    "the system gives no socket to wake an event loop: %s", fault.text);
}

/*
 * A UDP socket that is connected to itself: readable when it has been written to, and nobody else can write to it. Windows'
 * event loops wait for sockets, not for descriptors.
 */
static bool loop_back(SOCKET s)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    int len = sizeof address, yes = 1;
    u_long nonblocking = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return setsockopt(s, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, (const char *)&yes, sizeof yes) == 0 &&
           bind(s, (struct sockaddr *)&address, len) == 0 && getsockname(s, (struct sockaddr *)&address, &len) == 0 &&
           connect(s, (struct sockaddr *)&address, len) == 0 && ioctlsocket(s, (long)FIONBIO, &nonblocking) == 0;
}

dpg_status dpg_os_event_open(dpg_os_event *out, dpg_error *err)
{
    WSADATA data;
    dpg_status status;
    int problem = WSAStartup(MAKEWORD(2, 2), &data);
    intptr_t s;

    if (problem) return no_wake(err, problem);
    s = dpg_os_socket(AF_INET, SOCK_DGRAM, 0);
    if (s != -1 && loop_back((SOCKET)s)) {
        out->read = out->write = s;
        return DPG_OK;
    }
    status = no_wake(err, WSAGetLastError());
    if (s != -1) closesocket((SOCKET)s);
    WSACleanup();
    return status;
}

void dpg_os_event_set(const dpg_os_event *event)
{
    send((SOCKET)event->write, "!", 1, 0); /* full: then it is readable, too */
}

void dpg_os_event_clear(const dpg_os_event *event)
{
    char bytes[8];

    while (recv((SOCKET)event->read, bytes, sizeof bytes, 0) > 0) continue;
}

void dpg_os_event_close(dpg_os_event *event)
{
    if (event->read == -1) return;
    closesocket((SOCKET)event->read);
    event->read = event->write = -1;
    WSACleanup();
}

/* Nobody who runs on Windows waits for a unix socket: nginx's workers there have no cosockets for one. */
dpg_status dpg_os_listener_open(dpg_os_listener *out, dpg_error *err)
{
    (void)out;
    return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_USAGE, "no_wake",
                    "there are no unix sockets on Windows: use a descriptor");
}

intptr_t dpg_os_listener_accept(const dpg_os_listener *listener)
{
    (void)listener;
    return -1;
}

void dpg_os_listener_close(dpg_os_listener *listener)
{
    (void)listener;
}

bool dpg_os_peer_tell(intptr_t peer)
{
    (void)peer;
    return false;
}

bool dpg_os_peer_is_here(intptr_t peer)
{
    (void)peer;
    return false;
}

void dpg_os_peer_close(intptr_t peer)
{
    (void)peer;
}

#else
#include "os.h" /* a file without a declaration is no C */
#endif
