/*
 * What is Windows' own: paths, access lists, locks, renames over files that others have open, processes that are ended in
 * the middle of a save, and what wakes an event loop. Built and run by `make windows` alone.
 */
#include <winsock2.h>

#include <windows.h>

#include <aclapi.h>
#include <process.h>
#include <sddl.h>

#include "check.h"
#include "drivers.h"
#include "engine.h"
#include "files.h"
#include "os.h"
#include "store_kit.h"
#include "web.h"

static const char *program;

/* --- other processes ---------------------------------------------------------------------------------------------- */

/* This program again, to do `what` with a path. */
static HANDLE start_child(const char *what, const char *path, DWORD *id)
{
    char line[1024];
    STARTUPINFOA begin = {.cb = sizeof begin};
    PROCESS_INFORMATION info;

    snprintf(line, sizeof line, "\"%s\" --child %s \"%s\"", program, what, path);
    if (!CreateProcessA(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &begin, &info)) {
        printf("# no process: error %lu\n", (unsigned long)GetLastError());
        abort();
    }
    CloseHandle(info.hThread);
    if (id) *id = info.dwProcessId;
    return info.hProcess;
}

static DWORD wait_for(HANDLE child)
{
    DWORD code = 0;

    if (WaitForSingleObject(child, 120000) != WAIT_OBJECT_0) CHECK_FAIL("a child hangs");
    GetExitCodeProcess(child, &code);
    CloseHandle(child);
    return code;
}

static bool wait_until_there(const char *path)
{
    for (int i = 0; i < 3000; i++) {
        if (files_mode(path) >= 0) return true;
        Sleep(10);
    }
    return false;
}

/* What somebody was promised, in memory that outlives a killed child. */
typedef struct promises {
    volatile LONG64 marked, saved, rotations;
} promises;

static promises *map_promises(bool make)
{
    HANDLE map =
        make ? CreateFileMappingA(INVALID_HANDLE_VALUE, NULL, PAGE_READWRITE, 0, sizeof(promises), "Local\\dpg-test")
             : OpenFileMappingA(FILE_MAP_ALL_ACCESS, FALSE, "Local\\dpg-test");
    promises *p = map ? MapViewOfFile(map, FILE_MAP_ALL_ACCESS, 0, 0, sizeof(promises)) : NULL;

    if (!p) abort();
    return p;
}

/* Lock, load, mark, save, unlock, as the engine does. False at the first refusal. */
static bool rotate(dpg_store *store, promises *p, dpg_store_reply *refused)
{
    dpg_buf marked, next, was;
    char family[DPG_FAMILY_SIZE];
    int64_t generation = 0;
    bool fine;

    *refused = kit_ask(store, DPG_STORE_LOCK);
    if (refused->outcome != DPG_STORE_DONE) return false;
    *refused = kit_ask(store, DPG_STORE_LOAD);
    if (refused->outcome != DPG_STORE_DONE || !refused->found) return false;
    was = refused->bytes;
    if (dpg_record_peek(dpg_buf_str(&was), &generation, family) != DPG_RECORD_WHOLE) return false;
    if (generation < p->saved) {
        printf("# generation %lld, after %lld was promised\n", (long long)generation, (long long)p->saved);
        return false;
    }
    marked = kit_record(KIT_A, generation, true);
    next = kit_record(KIT_A, generation + 1, false);
    *refused = kit_save(store, &marked, &was, true);
    fine = refused->outcome == DPG_STORE_DONE;
    if (fine) {
        p->marked = generation;
        *refused = kit_save(store, &next, &marked, false);
        fine = refused->outcome == DPG_STORE_DONE;
    }
    if (fine) {
        p->saved = generation + 1;
        p->rotations++;
    }
    kit_unlock(store);
    dpg_buf_clear(&was);
    dpg_buf_clear(&marked);
    dpg_buf_clear(&next);
    return fine;
}

static int child_rotate(const char *path, int times) /* 0: until it is killed */
{
    dpg_store *store = kit_file(path);
    promises *p = map_promises(false);

    for (int n = 0; times == 0 || n < times;) {
        dpg_store_reply refused;

        if (rotate(store, p, &refused)) {
            n++;
        } else if (refused.outcome == DPG_STORE_BUSY) {
            Sleep(1);
        } else {
            printf("# %s: %s\n", refused.error.code, refused.error.message);
            return 1;
        }
    }
    return 0;
}

static int child_lock(const char *path) /* takes it, says so, and waits for its end */
{
    dpg_store *store = kit_file(path);
    char ready[1024];

    if (kit_lock(store) != DPG_STORE_DONE) return 1;
    snprintf(ready, sizeof ready, "%s.ready", path);
    files_put(ready, "", 0, 0600);
    Sleep(60000);
    return 2;
}

/* Quits by exit() while an engine with a thread of its own has transfers under way. */
static int child_exit(const char *base)
{
    dpg_engine_options options = DPG_ENGINE_OPTIONS_INIT;
    dpg_engine *engine;
    dpg_error err = DPG_ERROR_INIT;
    char url[300];

    options.proxy_set = true;
    if (dpg_engine_new(&options, &engine, &err) != DPG_OK || dpg_engine_thread(engine, NULL, &err) != DPG_OK) return 1;
    snprintf(url, sizeof url, "%s/hold", base);
    for (int i = 0; i < 4; i++) {
        dpg_spec spec = DPG_SPEC_INIT;
        dpg_id id;

        spec.method = DPG_LIT("GET");
        spec.url = dpg_cstr(url);
        if (dpg_engine_start(engine, &spec, &id, &err) != DPG_OK) return 1;
    }
    exit(7);
}

static int child(const char *what, const char *path)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (strcmp(what, "lock") == 0) return child_lock(path);
    if (strcmp(what, "rotate") == 0) return child_rotate(path, 40);
    if (strcmp(what, "rotate-on") == 0) return child_rotate(path, 0);
    if (strcmp(what, "exit") == 0) return child_exit(path);
    return 99;
}

/* --- the world of a test ------------------------------------------------------------------------------------------- */

static char *scratch, path[600];
static dpg_store *store;
static dpg_buf one, one_marked, two;

static void begin(void)
{
    scratch = files_scratch();
    snprintf(path, sizeof path, "%s/keep/session", scratch);
    store = kit_file(path);
    one = kit_record(KIT_A, 1, false);
    one_marked = kit_record(KIT_A, 1, true);
    two = kit_record(KIT_A, 2, false);
}

static void end(void)
{
    dpg_buf_clear(&one);
    dpg_buf_clear(&one_marked);
    dpg_buf_clear(&two);
    dpg_store_free(store);
    store = NULL;
    files_remove(scratch);
}

static void keep(const char *tail, const dpg_buf *bytes)
{
    char name[700];

    mkdir(files_at(scratch, "keep"), 0700);
    snprintf(name, sizeof name, "%s%s", path, tail);
    CHECK(files_put(name, bytes->ptr, bytes->len, 0600));
}

static void set_list(const char *of, const char *sddl)
{
    PSECURITY_DESCRIPTOR descriptor;

    REQUIRE(ConvertStringSecurityDescriptorToSecurityDescriptorA(sddl, SDDL_REVISION_1, &descriptor, NULL));
    if (!SetFileSecurityA(of, DACL_SECURITY_INFORMATION | PROTECTED_DACL_SECURITY_INFORMATION, descriptor))
        CHECK_FAIL("no access list: error %lu", (unsigned long)GetLastError());
    LocalFree(descriptor);
}

/* Full access for us, and what `others` says for everybody. */
static void open_to(const char *of, const char *others)
{
    char room[sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE], sddl[300], *me;
    HANDLE token;
    DWORD len;

    REQUIRE(OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token));
    REQUIRE(GetTokenInformation(token, TokenUser, room, sizeof room, &len));
    CloseHandle(token);
    REQUIRE(ConvertSidToStringSidA(((TOKEN_USER *)(void *)room)->User.Sid, &me));
    snprintf(sddl, sizeof sddl, "D:P(A;;FA;;;%s)(A;;%s;;;WD)", me, others);
    LocalFree(me);
    set_list(of, sddl);
}

static void check_refused(dpg_store_reply reply, const char *code)
{
    CHECK_INT(reply.outcome, DPG_STORE_FAILED);
    CHECK_STR(reply.error.code, code);
    CHECK_STR(dpg_kind_name(reply.error.kind), "storage");
    CHECK(!strchr(reply.error.message, '\n') && !strchr(reply.error.message, '\r'));
    dpg_buf_clear(&reply.bytes);
}

/* --- clock, random, paths ------------------------------------------------------------------------------------------ */

TEST("the clock runs forward in small steps, and the boot has a name")
{
    const dpg_clock *c = &dpg_clock_os;
    int64_t before = c->boot_ms(c->self), now = before, steps = 0;
    const char *id = c->boot_id(c->self);

    for (int i = 0; i < 1000 && now < before + 200; i++) {
        int64_t next;

        Sleep(1);
        next = c->boot_ms(c->self);

        if (next < now) CHECK_FAIL("the clock went back by %lld ms", (long long)(now - next));
        steps += next > now;
        now = next;
    }
    CHECK(before > 0);
    CHECK(steps >= 10); /* those of GetTickCount64 are of 16 ms */
    CHECK(c->unix_ms(c->self) > INT64_C(1700000000000));
    CHECK(strncmp(id, "windows-", 8) == 0 && strlen(id) == 24);
    CHECK_STR(c->boot_id(c->self), id);
    CHECK_INT(dpg_os_pid(), (int)GetCurrentProcessId());
}

TEST("random numbers use every bit and do not repeat")
{
    uint64_t ones = 0, zeros = 0, last = 0;

    for (int i = 0; i < 200; i++) {
        uint64_t n = dpg_random_os.u64(dpg_random_os.self);

        CHECK(n != last);
        ones |= n;
        zeros |= ~n;
        last = n;
    }
    CHECK(ones == UINT64_MAX && zeros == UINT64_MAX);
}

TEST("paths become absolute and real, as far as they exist, with one kind of slash")
{
    dpg_os_fault fault;
    char here[MAX_PATH], *absolute, *real;
    size_t len;

    begin();
    REQUIRE(GetCurrentDirectoryA(sizeof here, here));
    CHECK(mkdir(files_at(scratch, "Folder"), 0700) == 0);
    REQUIRE(SetCurrentDirectoryA(scratch));
    absolute = dpg_os_absolute(".\\Folder/../Folder\\x", &fault);
    len = strlen(absolute);
    CHECK(strchr(absolute, '\\') == NULL && absolute[1] == ':' && strcmp(absolute + len - 9, "/Folder/x") == 0);
    dpg_free(absolute);
    real = dpg_os_real("FOLDER/none\\deep", &fault);
    len = strlen(real);
    if (strcmp(real + len - 17, "/Folder/none/deep") != 0) CHECK_FAIL("%s", real);
    dpg_free(real);
    real = dpg_os_real("C:/", &fault);
    CHECK_STR(real, "C:");
    dpg_free(real);
    REQUIRE(SetCurrentDirectoryA(here));
    absolute = dpg_os_absolute("\\\\server\\share\\a", &fault);
    CHECK_STR(absolute, "//server/share/a");
    dpg_free(absolute);
    absolute = dpg_os_absolute("C:\\J\xfcrgen", &fault); /* where it isn't UTF-8, it is what getenv() gives */
    if (GetACP() == 1252 || GetACP() == 28591) CHECK_STR(absolute, "C:/J\xc3\xbcrgen");
    else printf("# not tried here: the code page is %u\n", GetACP());
    dpg_free(absolute);
    end();
}

TEST("names that can't be a file's are refused at once")
{
    static const char *const names[] = {"a:b",      "nul",     "NUL.txt",      "com1",        "LPT9.session",
                                        "aux ",     "con",     "a.",           "a ",          "what?",
                                        "a*",       "\"",      "a|b",          "<",           "tab\t",
                                        "folder\\", "C:/x/..", "session.LOCK", "COM\xc2\xb2", "x\\session.Spare"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        dpg_store *s = NULL;
        dpg_error err = DPG_ERROR_INIT;

        if (dpg_store_file_new(dpg_cstr(names[i]), &s, &err) != DPG_E_INVALID) CHECK_FAIL("%s passes", names[i]);
        CHECK_STR(err.code, "store_path");
        dpg_store_free(s);
    }
    for (size_t i = 0; i < 3; i++) {
        static const char *const fine[] = {"console", "com10", "sitzung-\xc3\xa4\xc3\xb6\xc3\xbc"};

        if (dpg_os_name_objection(dpg_cstr(fine[i]))) CHECK_FAIL("%s does not pass", fine[i]);
    }
}

TEST("a store lies at any depth, and under any name in UTF-8")
{
    char deep[600];
    int n;

    begin();
    n = snprintf(deep, sizeof deep, "%s/J\xc3\xbcrgen \xf0\x9f\x93\xb7", scratch);
    while (n < 350) n += snprintf(deep + n, sizeof deep - (size_t)n, "/a folder with a long name");
    snprintf(deep + n, sizeof deep - (size_t)n, "/sitzung \xe2\x82\xac");
    dpg_store_free(store);
    store = kit_file(deep);
    REQUIRE(store);
    CHECK_INT(kit_lock(store), DPG_STORE_DONE);
    CHECK_INT(kit_save(store, &one, NULL, true).outcome, DPG_STORE_DONE);
    CHECK_INT(kit_save(store, &two, &one, false).outcome, DPG_STORE_DONE);
    kit_unlock(store);
    CHECK_INT(files_mode(deep), 0600);
    end();
}

/* --- who may do what ------------------------------------------------------------------------------------------------ */

TEST("what is made is for its owner alone")
{
    begin();
    CHECK_INT(kit_lock(store), DPG_STORE_DONE);
    CHECK_INT(kit_save(store, &one, NULL, true).outcome, DPG_STORE_DONE);
    CHECK_INT(files_mode(files_at(scratch, "keep")), 0700);
    CHECK_INT(files_mode(path), 0600);
    CHECK_INT(files_mode(files_at(scratch, "keep/session.lock")), 0600);
    CHECK_INT(files_mode(files_at(scratch, "keep/session.spare")), 0600);
    end();
}

TEST("a folder that others can write to is refused, one that they can read is not")
{
    begin();
    keep("", &one);
    open_to(files_at(scratch, "keep"), "FA");
    check_refused(kit_ask(store, DPG_STORE_LOCK), "store_folder_writable_by_others");
    check_refused(kit_ask(store, DPG_STORE_LOAD), "store_folder_writable_by_others");
    CHECK_INT(files_count(files_at(scratch, "keep"), ""), 1);
    open_to(files_at(scratch, "keep"), "FR");
    CHECK_INT(kit_lock(store), DPG_STORE_DONE);
    end();
}

TEST("a record that others could read is made private when it is read")
{
    dpg_store_reply reply;

    begin();
    keep("", &one);
    open_to(path, "FR");
    CHECK_INT(files_mode(path), 0644);
    reply = kit_ask(store, DPG_STORE_LOAD);
    CHECK(reply.found && kit_same(&reply.bytes, &one));
    dpg_buf_clear(&reply.bytes);
    CHECK_INT(files_mode(path), 0600);
    end();
}

TEST("folders in the place of its files are refused, and files in the place of its folders")
{
    static const char *const tails[] = {"", ".lock", ".mark", ".spare"};

    for (size_t i = 0; i < 4; i++) {
        dpg_store_reply reply;
        char name[700];

        begin();
        mkdir(files_at(scratch, "keep"), 0700);
        if (i > 0) keep("", &one);
        snprintf(name, sizeof name, "%s%s", path, tails[i]);
        CHECK(mkdir(name, 0700) == 0);
        reply = kit_ask(store, DPG_STORE_LOCK);
        if (reply.outcome == DPG_STORE_DONE) reply = kit_ask(store, DPG_STORE_LOAD);
        if (reply.outcome == DPG_STORE_DONE) {
            dpg_buf_clear(&reply.bytes);
            reply = kit_save(store, &one_marked, &one, true);
        }
        check_refused(reply, "store_not_a_file");
        kit_unlock(store);
        end();
    }
    begin();
    CHECK(files_put(files_at(scratch, "keep"), "", 0, 0600));
    check_refused(kit_ask(store, DPG_STORE_LOCK), "store_not_a_folder");
    check_refused(kit_ask(store, DPG_STORE_LOAD), "store_not_a_folder");
    dpg_store_free(store);
    store = kit_file(files_at(scratch, "keep/deeper/session"));
    check_refused(kit_ask(store, DPG_STORE_LOCK), "store_not_a_folder");
    end();
}

TEST("symbolic links are not followed")
{
    begin();
    keep("", &one);
    CHECK(files_put(files_at(scratch, "victim"), "precious", 8, 0600));
    DeleteFileA(path);
    if (CreateSymbolicLinkA(path, files_at(scratch, "victim"), 0) && files_mode(path) >= 0) {
        check_refused(kit_ask(store, DPG_STORE_LOAD), "store_symlink");
        CHECK(files_is(files_at(scratch, "victim"), "precious", 8));
    } else {
        printf("# not tried here: there are no symbolic links to be had\n");
    }
    end();
}

/* --- files that others have open ------------------------------------------------------------------------------------- */

TEST("a record that can't be replaced is found out by the mark, before anything is spent")
{
    begin();
    keep("", &one);
    kit_lock(store);
    CHECK(files_put(files_at(scratch, "a"), "a", 1, 0600) && files_put(files_at(scratch, "b"), "b", 1, 0600));
    CHECK(SetFileAttributesA(files_at(scratch, "b"), FILE_ATTRIBUTE_READONLY));
    if (MoveFileExA(files_at(scratch, "a"), files_at(scratch, "b"), MOVEFILE_REPLACE_EXISTING)) {
        printf("# not tried here: what is read-only can be replaced (wine)\n");
    } else {
        CHECK(SetFileAttributesA(path, FILE_ATTRIBUTE_READONLY));
        check_refused(kit_save(store, &one_marked, &one, true), "store_denied");
        CHECK(SetFileAttributesA(path, FILE_ATTRIBUTE_NORMAL));
    }
    CHECK_INT(kit_save(store, &one_marked, &one, true).outcome, DPG_STORE_DONE);
    end();
}

static unsigned __stdcall hold_for_a_moment(void *self)
{
    Sleep(150);
    CloseHandle((HANDLE)self);
    return 0;
}

TEST("a scanner that holds a file for a moment is waited for; one that holds it for good is told of")
{
    HANDLE held, thread;

    begin();
    keep("", &one);
    kit_lock(store);
    held = CreateFileA(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    REQUIRE(held != INVALID_HANDLE_VALUE);
    thread = (HANDLE)_beginthreadex(NULL, 0, hold_for_a_moment, held, 0, NULL);
    CHECK_INT(kit_save(store, &one_marked, &one, true).outcome, DPG_STORE_DONE);
    WaitForSingleObject(thread, INFINITE);
    CloseHandle(thread);

    held = CreateFileA(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, 0, NULL);
    REQUIRE(held != INVALID_HANDLE_VALUE);
    check_refused(kit_save(store, &two, &one_marked, false), "store_denied");
    CloseHandle(held);
    CHECK_INT(kit_save(store, &two, &one_marked, false).outcome, DPG_STORE_DONE);
    end();
}

/* --- locks, and processes that end ------------------------------------------------------------------------------------ */

TEST("a lock is busy for a second holder, who learns the first one's process, and can't take the file away")
{
    dpg_store *again;
    dpg_store_reply reply;
    char want[32];

    begin();
    again = kit_file(path);
    CHECK_INT(kit_lock(store), DPG_STORE_DONE);
    reply = kit_ask(again, DPG_STORE_LOCK);
    snprintf(want, sizeof want, "process %lu", (unsigned long)GetCurrentProcessId());
    CHECK_INT(reply.outcome, DPG_STORE_BUSY);
    CHECK_STR(reply.holder, want);
    CHECK(!DeleteFileA(files_at(scratch, "keep/session.lock")));
    CHECK(!MoveFileA(files_at(scratch, "keep"), files_at(scratch, "elsewhere")));
    kit_unlock(store);
    CHECK_INT(kit_lock(again), DPG_STORE_DONE);
    dpg_store_free(again);
    CHECK_INT(kit_lock(store), DPG_STORE_DONE);
    end();
}

TEST("a lock ends with its holder")
{
    char want[32];
    dpg_store_reply reply;
    HANDLE holder;
    DWORD id;

    begin();
    keep("", &one);
    holder = start_child("lock", path, &id);
    REQUIRE(wait_until_there(files_at(scratch, "keep/session.ready")));
    reply = kit_ask(store, DPG_STORE_LOCK);
    snprintf(want, sizeof want, "process %lu", (unsigned long)id);
    CHECK_INT(reply.outcome, DPG_STORE_BUSY);
    CHECK_STR(reply.holder, want);
    CHECK(TerminateProcess(holder, 33));
    CHECK_INT(wait_for(holder), 33);
    for (int i = 0; i < 1000 && kit_lock(store) != DPG_STORE_DONE; i++) Sleep(1); /* Windows frees it "soon" */
    CHECK_INT(kit_lock(store), DPG_STORE_BUSY);                                   /* ours now */
    end();
}

TEST("processes that fight for the lock lose no generation and spend none twice")
{
    HANDLE children[4];
    promises *p = map_promises(true);
    dpg_store_reply reply;
    dpg_buf last;

    begin();
    keep("", &one);
    memset(p, 0, sizeof *p);
    for (int i = 0; i < 4; i++) children[i] = start_child("rotate", path, NULL);
    for (int i = 0; i < 4; i++) CHECK_INT(wait_for(children[i]), 0);
    CHECK_INT(p->saved, 1 + 4 * 40);
    last = kit_record(KIT_A, 1 + 4 * 40, false);
    reply = kit_ask(store, DPG_STORE_LOAD);
    CHECK(reply.found && kit_same(&reply.bytes, &last));
    dpg_buf_clear(&reply.bytes);
    dpg_buf_clear(&last);
    end();
}

/* Whole, and none that is older than what was promised. Without the lock, as a sibling would see it at any moment. */
static int64_t inspect(const promises *p, int round)
{
    char family[DPG_FAMILY_SIZE];
    int64_t generation = 0;
    dpg_buf bytes;

    dpg_buf_init(&bytes, DPG_RECORD_MAX);
    CHECK(files_get(path, &bytes));
    if (dpg_record_peek(dpg_buf_str(&bytes), &generation, family) != DPG_RECORD_WHOLE)
        CHECK_FAIL("round %d: the record is torn", round);
    dpg_buf_clear(&bytes);
    /* a successor that was promised stands in the record; one that was not may also stand in the spare alone */
    if (generation < p->saved)
        CHECK_FAIL("round %d: generation %lld, not %lld", round, (long long)generation, (long long)p->saved);
    return generation;
}

TEST("ended at random moments of rotating on and on, two processes lose no generation, and the lock is free")
{
    const char *given = getenv("SEED"), *wanted = getenv("KILL_ROUNDS");
    unsigned seed = given ? (unsigned)atoi(given) : (unsigned)GetCurrentProcessId() ^ (unsigned)GetTickCount();
    int rounds = wanted ? atoi(wanted) : 40, in_middle = 0;
    promises *p = map_promises(true);
    dpg_store_reply refused;

    printf("# SEED=%u\n", seed);
    begin();
    keep("", &one);
    memset(p, 0, sizeof *p);
    for (int round = 0; round < rounds && !check_faults; round++) {
        LONG64 before = p->rotations;
        HANDLE children[2];

        for (int i = 0; i < 2; i++) children[i] = start_child("rotate-on", path, NULL);
        while (p->rotations == before && WaitForSingleObject(children[0], 0) == WAIT_TIMEOUT &&
               WaitForSingleObject(children[1], 0) == WAIT_TIMEOUT)
            Sleep(1); /* they are at it */
        for (int i = 0; i < 2; i++) {
            seed = seed * 1103515245u + 12345u;
            Sleep(seed / 65536 % 30);
            TerminateProcess(children[i], 33);
            CHECK_INT(wait_for(children[i]), 33);
        }
        inspect(p, round);
        in_middle += p->marked == p->saved;
        /* whoever comes next has the lock within a moment, and goes on where they were */
        for (int i = 0; i < 2000 && !rotate(store, p, &refused); i++) {
            if (refused.outcome != DPG_STORE_BUSY) {
                CHECK_FAIL("round %d: %s", round, refused.error.message);
                break;
            }
            Sleep(1);
        }
        if (refused.outcome == DPG_STORE_BUSY) CHECK_FAIL("round %d: the lock is not free", round);
    }
    printf("# %d kills, %d of them between mark and save, %lld rotations\n", 2 * rounds, in_middle,
           (long long)p->rotations);
    CHECK(p->rotations >= 2 * rounds);
    end();
}

/* --- threads ---------------------------------------------------------------------------------------------------------- */

static bool readable(SOCKET s, int ms)
{
    struct timeval wait = {ms / 1000, ms % 1000 * 1000};
    fd_set set;

    FD_ZERO(&set);
    FD_SET(s, &set);
    return select(0, &set, NULL, NULL, &wait) == 1;
}

TEST("an event is readable while it is set, however often")
{
    dpg_os_event event = DPG_OS_EVENT_NONE;
    dpg_error err = DPG_ERROR_INIT;

    REQUIRE(dpg_os_event_open(&event, &err) == DPG_OK);
    CHECK(!readable((SOCKET)event.read, 0));
    for (int i = 0; i < 5000; i++) dpg_os_event_set(&event);
    CHECK(readable((SOCKET)event.read, 5000));
    CHECK(readable((SOCKET)event.read, 0));
    dpg_os_event_clear(&event);
    CHECK(!readable((SOCKET)event.read, 0));
    dpg_os_event_close(&event);
    dpg_os_event_close(&event);
    CHECK_INT(event.read, -1);
}

TEST("an engine with a thread answers calls, and wakes who waits for its socket")
{
    dpg_engine_options options = DPG_ENGINE_OPTIONS_INIT;
    world *w = world_new();
    web *server = web_new(w);
    dpg_engine *engine = NULL;
    dpg_wake *wake = NULL;
    dpg_error err = DPG_ERROR_INIT;
    int started = 0, ended = 0;
    char url[200];

    options.proxy_set = true;
    snprintf(url, sizeof url, "%s/me", web_base(server));
    REQUIRE(dpg_engine_new(&options, &engine, &err) == DPG_OK);
    CHECK_INT(dpg_wake_new(DPG_WAKE_SOCKET, &wake, &err), DPG_E_SYSTEM);
    CHECK_STR(err.code, "no_wake");
    REQUIRE(dpg_wake_new(DPG_WAKE_FD, &wake, &err) == DPG_OK);
    REQUIRE(dpg_engine_thread(engine, wake, &err) == DPG_OK);
    while (ended < 300) {
        dpg_note note;

        for (; started < 300 && started - ended < 16; started++) {
            dpg_spec spec = DPG_SPEC_INIT;
            dpg_id id;

            spec.method = DPG_LIT("GET");
            spec.url = dpg_cstr(url);
            REQUIRE(dpg_engine_start(engine, &spec, &id, &err) == DPG_OK);
        }
        if (!readable((SOCKET)dpg_wake_fd(wake), 30000)) {
            CHECK_FAIL("nobody woke us");
            break;
        }
        dpg_wake_lower(wake);
        for (dpg_engine_next(engine, &note); note.type == DPG_NOTE_DONE; dpg_engine_next(engine, &note), ended++) {
            dpg_completion done;

            REQUIRE(dpg_engine_take(engine, note.id, &done, NULL) == DPG_OK);
            CHECK_INT(done.status, 200);
            dpg_completion_clear(&done);
        }
    }
    dpg_engine_free(engine, 5000);
    dpg_wake_free(wake);
    web_free(server);
    world_free(w);
}

TEST("a program may quit while its engine's thread has transfers under way")
{
    world *w = world_new();
    web *server = web_new(w);

    for (int i = 0; i < 10; i++) CHECK_INT(wait_for(start_child("exit", web_base(server), NULL)), 7);
    web_free(server);
    world_free(w);
}

int main(int argc, char **argv)
{
    program = argv[0];
    if (argc == 4 && strcmp(argv[1], "--child") == 0) return child(argv[2], argv[3]);
    return check_main(argc, argv);
}
