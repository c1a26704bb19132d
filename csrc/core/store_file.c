/*
 * A person's record in a file, for all processes of one machine. What is on disk under PATH is always one whole record,
 * whenever the process is killed. Beside it:
 *
 *   PATH.lock         who holds the lock (flock), never removed; the holder's process id stands in it, for people
 *   PATH.mark         a marked record, before it is renamed over PATH
 *   PATH.spare        room for the successor, made before its mark; then the successor, before it is renamed over PATH
 *   PATH.damaged-T-N  a PATH that was no whole record, as it was found
 *
 * The successor of a spent token is the one thing that exists nowhere else, so it is written into room that is there
 * already, and a spare that a killed process left whole is taken over by the next one, see settle().
 */
#include "drivers.h"
#include "os.h"
#include "record.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define AGAIN_MS 25
#define SPARE_MIN 16384  /* and at least twice the marked record */
#define NAME_LONGEST 200 /* leaves room for .damaged-T-N in the 255 bytes of most file systems */
#define PATH_LONGEST 3800
#define SHOWN 120 /* of a path in a message */

typedef struct file_store {
    dpg_store base;
    char *folder, *name; /* PATH, cut at its last slash */
    char *lock_name, *mark_name, *spare_name;
    dpg_os_lock lock;
    dpg_os_folder held; /* the lock's folder, open while the lock is held */
    bool plain;         /* what is stored need not be a record of ours, and then is neither damaged nor newer */
    bool settled;       /* since the lock was taken: leftovers were looked at */
    bool save_failed;   /* since the lock was taken: the spare may hold what is being saved again */
} file_store;

/* --- errors ------------------------------------------------------------------------------------------------------- */

/* The end of a path, from a whole character on. */
static const char *shown(const char *path)
{
    size_t len = strlen(path);

    if (len <= SHOWN) return path;
    path += len - SHOWN;
    while (((unsigned char)*path & 0xc0) == 0x80) path++;
    return path;
}

static bool failed(dpg_store_reply *reply)
{
    return reply->outcome == DPG_STORE_FAILED;
}

static void refuse(dpg_store_reply *reply, const char *code, const char *format, ...) DPG_PRINTF(3, 4);
static void refuse(dpg_store_reply *reply, const char *code, const char *format, ...)
{
    char message[sizeof reply->error.message];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    reply->outcome = DPG_STORE_FAILED;
    dpg_fail(&reply->error, DPG_E_SYSTEM, DPG_KIND_STORAGE, code, "%s", message);
}

typedef struct place {
    char text[SHOWN + 8];
} place;

/* The path of a file beside PATH, as it fits into a message. `name` NULL: the folder itself. */
static place place_of(const file_store *f, const char *name)
{
    char path[PATH_LONGEST + NAME_LONGEST + 64];
    place p;

    snprintf(path, sizeof path, "%s%s%s", f->folder, !name || !f->folder[1] ? "" : "/", name ? name : "");
    snprintf(p.text, sizeof p.text, "%s%.*s", strlen(path) > SHOWN ? "…" : "", SHOWN, shown(path));
    for (char *c = p.text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?'; /* a message is one line */
    return p;
}

/* "cannot write …/session.spare: No space left on device; make room there". `name` NULL: the folder itself. */
static void fail(const file_store *f, dpg_store_reply *reply, const char *doing, const char *name,
                 const dpg_os_fault *fault)
{
    static const struct {
        const char *code, *advice;
    } known[] = {
        [DPG_OS_MISSING] = {"store_missing", "it was there a moment ago: is somebody moving the folder?"},
        [DPG_OS_EXISTS] = {"store_io", "it is in the way"},
        [DPG_OS_FULL] = {"store_full", "make room there"},
        [DPG_OS_READ_ONLY] = {"store_read_only", "a session needs a place that can be written to"},
        [DPG_OS_DENIED] = {"store_denied", "check the permissions of the file and its folder, and file attributes"},
        [DPG_OS_SYMLINK] = {"store_symlink", "symbolic links are not followed here: name the file itself"},
        [DPG_OS_NOT_A_FILE] = {"store_not_a_file", "move it away, or use another path"},
        [DPG_OS_NOT_A_FOLDER] = {"store_not_a_folder", "a part of the path is no folder: use another path"},
        [DPG_OS_NOT_OURS] = {"store_not_ours", "give it to the user that this program runs as, or use another path"},
        [DPG_OS_OPEN_TO_OTHERS] =
            {"store_folder_writable_by_others",
             "others could put a file there: let them not write to it, or use a folder of your own"},
        [DPG_OS_NO_MEMORY] = {"out_of_memory", "nothing was changed"},
        [DPG_OS_FAILED] = {"store_io", "check the disk"},
    };
    size_t i = (size_t)fault->trouble;
    bool listed = i < sizeof known / sizeof *known && known[i].code;

    refuse(reply, listed ? known[i].code : "store_io", "cannot %s %s: %s; %s", doing, place_of(f, name).text,
           fault->text, listed ? known[i].advice : "check the disk");
    if (fault->trouble == DPG_OS_NO_MEMORY) reply->error.status = DPG_E_NOMEM;
}

/* --- what is there ------------------------------------------------------------------------------------------------ */

typedef struct seen {
    dpg_buf bytes;
    bool found, too_long;
    dpg_record_state state;
    int64_t generation;
    char family[DPG_FAMILY_SIZE];
} seen;

/* Read a file of ours and say what it is; `s` is to be cleared in any case. On failure reply->outcome says so. */
static void see(const file_store *f, const dpg_os_folder *folder, const char *name, seen *s, dpg_store_reply *reply)
{
    dpg_os_fault fault = {DPG_OS_FINE, ""};
    dpg_record whole = {0};
    dpg_status status;

    memset(s, 0, sizeof *s);
    dpg_buf_init_secret(&s->bytes, DPG_RECORD_MAX);
    switch (dpg_os_read(folder, name, DPG_RECORD_MAX, &s->bytes, &fault)) {
    case DPG_OS_FINE: break;
    case DPG_OS_MISSING: return;
    case DPG_OS_TOO_LONG:
        s->found = s->too_long = true;
        s->state = DPG_RECORD_DAMAGED;
        return;
    default: fail(f, reply, "read", name, &fault); return;
    }
    s->found = true;
    s->state = dpg_record_peek(dpg_buf_str(&s->bytes), &s->generation, s->family);
    if (f->plain && s->state != DPG_RECORD_WHOLE) {
        s->state = DPG_RECORD_WHOLE;
        s->family[0] = '\0';
    }
    if (s->state != DPG_RECORD_DAMAGED) return;
    /* Reading a record takes memory: the lack of it must not pass for damage. */
    status = dpg_record_read(dpg_buf_str(&s->bytes), &whole);
    if (status == DPG_E_INVALID) return;
    dpg_record_clear(&whole);
    fault.trouble = DPG_OS_NO_MEMORY;
    snprintf(fault.text, sizeof fault.text, "out of memory");
    fail(f, reply, "read", name, &fault);
}

/*
 * May the spare take PATH's place? Where PATH is damaged, any whole one. Else only a later generation of the same
 * session: it was written by somebody who was killed before the rename. A tombstone belongs to no session, and a PATH
 * that somebody took away is gone on purpose: neither is undone by a spare.
 */
static bool is_successor(const seen *spare, const seen *path)
{
    if (!spare->found || spare->state != DPG_RECORD_WHOLE || !path->found) return false;
    if (path->state == DPG_RECORD_DAMAGED) return true;
    return path->family[0] && strcmp(path->family, spare->family) == 0 && spare->generation > path->generation;
}

/* --- putting right what a crash or a bad disk left ---------------------------------------------------------------- */

/* Give the damaged PATH a second name that nothing has had before. */
static void keep_damaged(const file_store *f, const dpg_os_folder *folder, const seen *path, char *kept, size_t size,
                         dpg_store_reply *reply)
{
    int64_t now_s = dpg_clock_os.unix_ms(dpg_clock_os.self) / 1000;
    dpg_str bytes = path->too_long ? dpg_str_of(NULL, 0) : dpg_buf_str(&path->bytes);
    dpg_os_fault fault = {DPG_OS_EXISTS, "too many of them"};

    for (int n = 1; n <= 1000 && fault.trouble == DPG_OS_EXISTS; n++) {
        snprintf(kept, size, "%s.damaged-%" PRId64 "-%d", f->name, now_s, n);
        if (dpg_os_keep(folder, f->name, kept, bytes, &fault) == DPG_OS_FINE) return;
    }
    fail(f, reply, "keep the damaged record as", kept, &fault);
}

/* Make the spare, whose bytes are whole, the record. */
static void adopt(const file_store *f, const dpg_os_folder *folder, const seen *path, dpg_store_reply *reply)
{
    char kept[NAME_LONGEST + 56];
    dpg_os_fault fault;

    /* whole for who reads it now, perhaps not yet on the disk itself */
    if (dpg_os_sync(folder, f->spare_name, &fault) != DPG_OS_FINE) {
        fail(f, reply, "sync", f->spare_name, &fault);
        return;
    }
    if (path->state == DPG_RECORD_DAMAGED) {
        keep_damaged(f, folder, path, kept, sizeof kept, reply);
        if (failed(reply)) return;
    }
    if (dpg_os_replace(folder, f->spare_name, f->name, &fault) != DPG_OS_FINE)
        fail(f, reply, "replace", f->name, &fault);
    else if (dpg_os_folder_sync(folder, &fault) != DPG_OS_FINE) fail(f, reply, "sync", NULL, &fault);
}

/* Set the damaged PATH aside, with nothing to put in its place. */
static void set_aside(const file_store *f, const dpg_os_folder *folder, const seen *path, dpg_store_reply *reply)
{
    char kept[NAME_LONGEST + 56];
    dpg_os_fault fault;

    keep_damaged(f, folder, path, kept, sizeof kept, reply);
    if (failed(reply)) return;
    if (dpg_os_remove(folder, f->name, &fault) != DPG_OS_FINE || dpg_os_folder_sync(folder, &fault) != DPG_OS_FINE) {
        fail(f, reply, "set aside", f->name, &fault);
        return;
    }
    refuse(reply, "store_damaged",
           "the stored session was damaged, and no token can be read out of it; the file was kept as "
           "%s: sign in again",
           place_of(f, kept).text);
}

static void fail_newer(const file_store *f, const char *name, dpg_store_reply *reply)
{
    refuse(reply, "store_newer",
           "%s was written by a newer version of dpg and is left as it is: update this program, or use "
           "another path",
           place_of(f, name).text);
}

/*
 * Look at PATH and at what a killed process may have left, and say what the record is now. With `repair` (and the
 * lock) a successor is adopted and damage set aside; without, *wanted says that there is something of the kind to do,
 * and the record is told as PATH has it.
 */
static void settle(const file_store *f, const dpg_os_folder *folder, bool repair, bool *wanted, seen *path,
                   dpg_store_reply *reply)
{
    seen spare;

    *wanted = false;
    see(f, folder, f->name, path, reply);
    if (failed(reply) || !path->found) return;
    if (path->state == DPG_RECORD_NEWER) {
        fail_newer(f, f->name, reply);
        return;
    }
    see(f, folder, f->spare_name, &spare, reply);
    if (!failed(reply) && spare.found && spare.state == DPG_RECORD_NEWER) fail_newer(f, f->spare_name, reply);
    if (!failed(reply)) {
        bool successor = is_successor(&spare, path);

        *wanted = successor || path->state == DPG_RECORD_DAMAGED;
        if (repair && successor) {
            adopt(f, folder, path, reply);
            if (!failed(reply)) {
                seen old = *path;

                *path = spare;
                spare = old;
            }
        } else if (repair && path->state == DPG_RECORD_DAMAGED) {
            set_aside(f, folder, path, reply);
        }
    }
    dpg_buf_clear(&spare.bytes);
}

/* --- lock --------------------------------------------------------------------------------------------------------- */

/* In a child made by fork nothing of this is ours: the lock is its parent's. */
static void drop_if_lost(file_store *f)
{
    if (dpg_os_lock_is_held(&f->lock)) return;
    dpg_os_lock_give(&f->lock);
    dpg_os_folder_close(&f->held);
}

static void unlock(file_store *f)
{
    dpg_os_lock_give(&f->lock);
    dpg_os_folder_close(&f->held);
}

static void lock(file_store *f, dpg_store_reply *reply)
{
    char holder[32];
    dpg_os_fault fault;

    if (dpg_os_lock_is_held(&f->lock)) {
        reply->outcome = DPG_STORE_BUSY;
        reply->again_ms = AGAIN_MS;
        snprintf(reply->holder, sizeof reply->holder, "process %" PRId64, dpg_os_pid());
        return;
    }
    if (dpg_os_folder_open(f->folder, true, &f->held, &fault) != DPG_OS_FINE) {
        fail(f, reply, "use the folder", NULL, &fault);
        return;
    }
    switch (dpg_os_lock_take(&f->held, f->lock_name, &f->lock, holder, &fault)) {
    case DPG_OS_FINE: f->settled = f->save_failed = false; return;
    case DPG_OS_BUSY:
        reply->outcome = DPG_STORE_BUSY;
        reply->again_ms = AGAIN_MS;
        snprintf(reply->holder, sizeof reply->holder, "%s", holder);
        break;
    default: fail(f, reply, "lock", f->lock_name, &fault); break;
    }
    dpg_os_folder_close(&f->held);
}

/* --- load --------------------------------------------------------------------------------------------------------- */

/* Under the lock, leftovers are put right. Without it PATH is told as it is, or the lock had for a moment. */
static void load(file_store *f, dpg_store_reply *reply)
{
    bool held = dpg_os_lock_is_held(&f->lock), wanted;
    dpg_os_folder folder = DPG_OS_FOLDER_NONE;
    dpg_os_fault fault;
    seen path;

    if (!held) {
        switch (dpg_os_folder_open(f->folder, false, &folder, &fault)) {
        case DPG_OS_FINE: break;
        case DPG_OS_MISSING: return; /* nothing is stored where there is no folder */
        default: fail(f, reply, "use the folder", NULL, &fault); return;
        }
    }
    settle(f, held ? &f->held : &folder, held, &wanted, &path, reply);
    dpg_os_folder_close(&folder);
    if (held) f->settled = !failed(reply);
    if (!failed(reply) && wanted && !held) {
        dpg_store_reply locking = {0};

        lock(f, &locking);
        if (locking.outcome == DPG_STORE_DONE) {
            dpg_buf_clear(&path.bytes);
            settle(f, &f->held, true, &wanted, &path, reply);
            unlock(f);
        } else if (path.state == DPG_RECORD_DAMAGED) {
            if (failed(&locking)) *reply = locking;
            else
                refuse(reply, "store_damaged",
                       "%s is damaged; it is left as it is while another process holds the lock",
                       place_of(f, f->name).text);
        }
    }
    if (failed(reply) || !path.found) {
        dpg_buf_clear(&path.bytes);
        return;
    }
    reply->found = true;
    reply->bytes = path.bytes;
}

/* --- save --------------------------------------------------------------------------------------------------------- */

/*
 * The record with its mark, by the very path that its successor will take; but first the successor's room. Whatever
 * fails, PATH is afterwards what it was, and no room is left taken.
 */
static void save_reserving(file_store *f, const dpg_store_request *request, dpg_store_reply *reply)
{
    size_t room = request->bytes.len > SPARE_MIN / 2 ? request->bytes.len * 2 : SPARE_MIN;
    dpg_os_fault fault, ignored;

    if (dpg_os_write(&f->held, f->spare_name, dpg_str_of("", 0), room, &fault) != DPG_OS_FINE) {
        fail(f, reply, "keep room in", f->spare_name, &fault);
    } else if (dpg_os_write(&f->held, f->mark_name, request->bytes, 0, &fault) != DPG_OS_FINE) {
        fail(f, reply, "write", f->mark_name, &fault);
    } else if (dpg_os_replace(&f->held, f->mark_name, f->name, &fault) != DPG_OS_FINE) {
        fail(f, reply, "replace", f->name, &fault);
    } else if (dpg_os_folder_sync(&f->held, &fault) != DPG_OS_FINE) {
        fail(f, reply, "sync", NULL, &fault);
        if (!request->had) dpg_os_remove(&f->held, f->name, &ignored);
        else if (dpg_os_write(&f->held, f->mark_name, request->expected, 0, &ignored) == DPG_OS_FINE)
            dpg_os_replace(&f->held, f->mark_name, f->name, &ignored);
    }
    if (!failed(reply)) return;
    dpg_os_remove(&f->held, f->mark_name, &ignored);
    dpg_os_remove(&f->held, f->spare_name, &ignored);
}

/*
 * A record that is not followed by another: written into the spare, where there may be room for it, and renamed. On
 * failure the spare stays: if it is whole, it is all that is left of a session whose process dies now.
 */
static void save_last(file_store *f, const dpg_store_request *request, dpg_store_reply *reply)
{
    dpg_os_fault fault, ignored;
    bool written = false;

    if (f->save_failed) { /* it may be there since the last try; writing over it would risk the one copy */
        seen spare;
        dpg_store_reply looking = {0};

        see(f, &f->held, f->spare_name, &spare, &looking);
        written = !failed(&looking) && spare.found && dpg_str_eq_secret(dpg_buf_str(&spare.bytes), request->bytes);
        dpg_buf_clear(&spare.bytes);
    }
    if (written) {
        if (dpg_os_sync(&f->held, f->spare_name, &fault) != DPG_OS_FINE) fail(f, reply, "sync", f->spare_name, &fault);
    } else if (dpg_os_write(&f->held, f->spare_name, request->bytes, 0, &fault) != DPG_OS_FINE) {
        fail(f, reply, "write", f->spare_name, &fault);
    }
    if (failed(reply)) return;
    if (dpg_os_replace(&f->held, f->spare_name, f->name, &fault) != DPG_OS_FINE)
        fail(f, reply, "replace", f->name, &fault);
    else if (dpg_os_folder_sync(&f->held, &fault) != DPG_OS_FINE) fail(f, reply, "sync", NULL, &fault);
    else dpg_os_remove(&f->held, f->mark_name, &ignored); /* a killed process may have left one; mostly there is none */
}

static void save(file_store *f, const dpg_store_request *request, dpg_store_reply *reply)
{
    bool wanted, expected, there_already;
    dpg_os_fault fault;
    seen path;

    if (!dpg_os_lock_is_held(&f->lock)) {
        refuse(reply, "store_not_locked", "a record is saved only under the store's lock");
        return;
    }
    if (request->bytes.len > DPG_RECORD_MAX) {
        refuse(reply, "store_too_large", "a record of %zu bytes is too large: %zu at most", request->bytes.len,
               DPG_RECORD_MAX);
        return;
    }
    if (f->settled) see(f, &f->held, f->name, &path, reply);
    else settle(f, &f->held, true, &wanted, &path, reply);
    f->settled = f->settled || !failed(reply);
    expected =
        path.found == request->had && (!path.found || dpg_str_eq_secret(dpg_buf_str(&path.bytes), request->expected));
    there_already = path.found && !path.too_long && dpg_str_eq_secret(dpg_buf_str(&path.bytes), request->bytes);
    dpg_buf_clear(&path.bytes);
    if (failed(reply)) return;
    if (!expected && !there_already) {
        reply->outcome = DPG_STORE_CHANGED;
        return;
    }
    if (request->reserve) {
        save_reserving(f, request, reply);
    } else if (!expected) {
        /* an earlier try came as far as the rename: what is missing is that the disk has it */
        if (dpg_os_sync(&f->held, f->name, &fault) != DPG_OS_FINE) fail(f, reply, "sync", f->name, &fault);
        else if (dpg_os_folder_sync(&f->held, &fault) != DPG_OS_FINE) fail(f, reply, "sync", NULL, &fault);
    } else {
        save_last(f, request, reply);
    }
    f->save_failed = failed(reply);
}

/* --- the store ---------------------------------------------------------------------------------------------------- */

static bool file_ask(dpg_store *store, const dpg_store_request *request, dpg_store_reply *reply)
{
    file_store *f = (file_store *)store;

    reply->outcome = DPG_STORE_DONE;
    drop_if_lost(f);
    switch (request->op) {
    case DPG_STORE_LOCK: lock(f, reply); break;
    case DPG_STORE_LOAD: load(f, reply); break;
    case DPG_STORE_SAVE: save(f, request, reply); break;
    case DPG_STORE_UNLOCK: unlock(f); break;
    }
    return true;
}

static void file_free(dpg_store *store)
{
    file_store *f = (file_store *)store;

    unlock(f);
    dpg_free(f->folder);
    dpg_free(f->name);
    dpg_free(f->lock_name);
    dpg_free(f->mark_name);
    dpg_free(f->spare_name);
    dpg_free(f->base.identity);
    dpg_free(f);
}

/* `a` and `b` joined, returned; NULL without memory. */
static char *joined(const char *a, const char *b)
{
    dpg_buf text;

    dpg_buf_init(&text, (size_t)PATH_LONGEST * 3);
    dpg_buf_puts(&text, a);
    dpg_buf_puts(&text, b);
    if (text.failed) dpg_buf_clear(&text);
    return text.ptr;
}

/* In any case: many a file system takes session.LOCK for session.lock. */
static bool ends_in(dpg_str name, const char *tail)
{
    size_t len = strlen(tail);

    return name.len >= len && dpg_str_eq_nocase(dpg_str_of(name.ptr + name.len - len, len), dpg_str_of(tail, len));
}

/* What is wrong with a path, or NULL. */
static const char *objection(dpg_str path)
{
    static const char *const taken[] = {".lock", ".mark", ".spare"};
    dpg_str name = dpg_os_path_name(path);
    const char *why;

    if (path.len == 0) return "it is empty";
    if (memchr(path.ptr, '\0', path.len)) return "it holds a NUL byte";
    if (path.len > PATH_LONGEST) return "it is too long";
    if (name.len == 0) return "it names a folder, not a file";
    if ((why = dpg_os_name_objection(name)) != NULL) return why;
    if (name.len > NAME_LONGEST) return "the file's name is too long";
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (ends_in(name, taken[i]))
            return "names in .lock, .mark and .spare are taken by the files beside a store's own";
    return NULL;
}

static dpg_status refuse_path(const char *why, dpg_error *err)
{
    return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "store_path", "this is no path for a file store: %s", why);
}

/* Everything of `f` that comes from its path. */
static dpg_status read_path(file_store *f, const char *path, dpg_error *err)
{
    dpg_os_fault fault;
    char *absolute = dpg_os_absolute(path, &fault), *real, *slash;

    if (!absolute) return fault.trouble == DPG_OS_NO_MEMORY ? dpg_fail_nomem(err) : refuse_path(fault.text, err);
    slash = strrchr(absolute, '/');
    f->name = dpg_strndup(dpg_cstr(slash + 1));
    slash[slash == absolute] = '\0'; /* of "/name" the slash stays */
    f->folder = absolute;
    if (strlen(f->folder) > PATH_LONGEST) return refuse_path("it is too long", err);
    if (!f->name) return dpg_fail_nomem(err);
    f->lock_name = joined(f->name, ".lock");
    f->mark_name = joined(f->name, ".mark");
    f->spare_name = joined(f->name, ".spare");
    real = dpg_os_real(f->folder, &fault);
    if (real) {
        char *with_slash = joined(real, real[1] ? "/" : "");
        char *whole = with_slash ? joined(with_slash, f->name) : NULL;

        f->base.identity = whole ? joined("file:", whole) : NULL;
        dpg_free(with_slash);
        dpg_free(whole);
        dpg_free(real);
    } else if (fault.trouble != DPG_OS_NO_MEMORY) {
        return refuse_path(fault.text, err);
    }
    if (!f->lock_name || !f->mark_name || !f->spare_name || !f->base.identity) return dpg_fail_nomem(err);
    return DPG_OK;
}

static dpg_status new_store(dpg_str path, bool plain, dpg_store **out, dpg_error *err)
{
    const char *why = objection(path);
    file_store *f;
    char *text;
    dpg_status status;

    if (why) return refuse_path(why, err);
    f = dpg_calloc(1, sizeof *f);
    text = dpg_strndup(path);
    if (!f || !text) {
        dpg_free(f);
        dpg_free(text);
        return dpg_fail_nomem(err);
    }
    atomic_init(&f->base.refs, 1);
    f->base.process = dpg_os_process();
    f->base.ask = file_ask;
    f->base.free = file_free;
    f->plain = plain;
    f->lock.handle = f->held.handle = -1;
    status = read_path(f, text, err);
    dpg_free(text);
    if (status == DPG_OK && !(f->base.monitor = dpg_os_monitor_new())) status = dpg_fail_nomem(err);
    if (status != DPG_OK) {
        dpg_store_free(&f->base);
        return status;
    }
    *out = &f->base;
    return DPG_OK;
}

dpg_status dpg_store_file_new(dpg_str path, dpg_store **out, dpg_error *err)
{
    return new_store(path, false, out, err);
}

dpg_status dpg_store_file_new_plain(dpg_str path, dpg_store **out, dpg_error *err)
{
    return new_store(path, true, out, err);
}
