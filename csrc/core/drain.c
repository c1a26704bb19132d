/*
 * Bodies into files, chunks and memory, as drain.h says. A file holds nothing but bytes of the right answer in the right
 * place, whatever happens and whenever: so one that was cut short can be gone on with.
 */
#include "drain.h"
#include "headers.h"
#include "wire.h"

#include <string.h>

#define NOTE_MAX ((size_t)64 * 1024)

static char *note_path(dpg_str path)
{
    static const char ending[] = ".json";
    char *note = dpg_malloc(path.len + sizeof ending);

    if (!note) return NULL;
    memcpy(note, path.ptr, path.len);
    memcpy(note + path.len, ending, sizeof ending);
    return note;
}

dpg_status dpg_drain_init(dpg_drain *d, const dpg_sink *sink, dpg_pipe *chunks, dpg_error *err)
{
    memset(d, 0, sizeof *d);
    d->file = (dpg_os_file)DPG_OS_FILE_NONE;
    d->sink = sink;
    d->chunks = chunks;
    d->length = -1;
    d->to = sink && sink->type != DPG_SINK_MEMORY ? DPG_TO_EXCERPT : DPG_TO_MEMORY;
    if (!sink || sink->type != DPG_SINK_FILE) return DPG_OK;
    if (!(d->path = dpg_strndup(sink->path)) ||
        (sink->rename_to.len && !(d->rename_to = dpg_strndup(sink->rename_to))) ||
        (sink->note.len && !(d->note = note_path(sink->path)))) {
        dpg_drain_clear(d);
        return dpg_fail_nomem(err);
    }
    return DPG_OK;
}

/* A child made by fork has the file open, too: it keeps no lock of ours, and does not give it away. */
static dpg_os_trouble close_file(dpg_drain *d, dpg_os_fault *fault)
{
    if (d->locked_in == dpg_os_process()) dpg_os_file_unlock(&d->file);
    d->locked_in = 0;
    return dpg_os_file_close(&d->file, fault);
}

void dpg_drain_clear(dpg_drain *d)
{
    dpg_os_fault fault;

    close_file(d, &fault); /* of one that ended early: what the disk says now changes nothing */
    dpg_free(d->path);
    dpg_free(d->rename_to);
    dpg_free(d->note);
    d->path = d->rename_to = d->note = NULL;
}

/* --- a disk that refuses ------------------------------------------------------------------------------------------------ */

static dpg_status disk(const char *path, const char *doing, const dpg_os_fault *fault, dpg_error *err)
{
    static const struct {
        const char *code, *advice;
    } words[] = {
        [DPG_OS_MISSING] = {"file_missing", "is its folder there?"},
        [DPG_OS_FULL] = {"disk_full", "make room; what has come so far is kept"},
        [DPG_OS_READ_ONLY] = {"file_denied", "the disk can only be read"},
        [DPG_OS_DENIED] = {"file_denied", "check the permissions of the file and its folder"},
        [DPG_OS_SYMLINK] = {"file_denied", "symbolic links are not followed here"},
        [DPG_OS_NOT_A_FILE] = {"file_denied", "something that is no regular file is in its place"},
        [DPG_OS_NOT_A_FOLDER] = {"file_missing", "a part of its path is no folder"},
        [DPG_OS_FAILED] = {"disk_failed", "check the disk"},
    };
    size_t n = (size_t)fault->trouble;

    if (fault->trouble == DPG_OS_NO_MEMORY) return dpg_fail_nomem(err);
    if (n >= sizeof words / sizeof *words || !words[n].code) n = DPG_OS_FAILED;
    return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_STORAGE, words[n].code, "%s can't be %s: %s (%s)", path, doing,
                    fault->text, words[n].advice);
}

/* --- the head ----------------------------------------------------------------------------------------------------------- */

/* Content-Length, where it counts; -1: not said. */
static int64_t said_length(const dpg_header *headers, size_t count)
{
    const dpg_header *h = dpg_headers_find(headers, count, "content-length", NULL);
    int64_t length = -1;

    if (dpg_headers_find(headers, count, "transfer-encoding", NULL)) return -1;
    return h && dpg_header_number(h->value, INT64_MAX, &length) ? length : -1;
}

static dpg_status mismatch(dpg_error *err, const char *code, const char *what, int64_t got, int64_t wanted)
{
    return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_PROTOCOL, code, "the answer's %s is %lld where %lld was expected", what,
                    (long long)got, (long long)wanted);
}

/* Empty: there is none that vouches for bytes (RFC 9110 section 8.8.1). */
static dpg_str strong_etag(const dpg_header *headers, size_t count)
{
    size_t times = 0;
    const dpg_header *h = dpg_headers_find(headers, count, "etag", &times);
    dpg_str none = {"", 0}, v;

    if (!h || times != 1) return none;
    v = h->value;
    return v.len > 2 && v.ptr[0] == '"' && memchr(v.ptr + 1, '"', v.len - 1) == v.ptr + v.len - 1 ? v : none;
}

/* A part of the whole: just the one that is missing? */
static dpg_status part_head(dpg_drain *d, const dpg_header *headers, size_t count, dpg_error *err)
{
    const dpg_sink *sink = d->sink;
    size_t times = 0;
    const dpg_header *h = dpg_headers_find(headers, count, "content-range", &times);
    int64_t first, last, whole;
    dpg_str etag;

    if (!h || times != 1 || !dpg_header_range(h->value, &first, &last, &whole))
        return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_PROTOCOL, "range_mismatch",
                        "a part was sent (206) that does not say, or not in one way, which part it is");
    if (first != sink->offset) return mismatch(err, "range_mismatch", "first byte", first, sink->offset);
    etag = strong_etag(headers, count);
    if (sink->etag.len && etag.len && !dpg_str_eq(etag, sink->etag))
        return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_PROTOCOL, "range_mismatch",
                        "a part of another version of the file was sent (206)");
    if (sink->expected && whole != sink->expected)
        return mismatch(err, "range_mismatch", "whole length", whole, sink->expected);
    if (d->rename_to && whole >= 0 && last + 1 != whole) /* it would be given its name without its end */
        return mismatch(err, "range_mismatch", "last byte", last, whole - 1);
    d->at = first;
    d->length = last - first + 1;
    return DPG_OK;
}

/* The whole: what was there already counts for nothing. After an offset it may be another whole than the one before. */
static dpg_status whole_head(dpg_drain *d, const dpg_header *headers, size_t count, dpg_error *err)
{
    int64_t expected = d->sink->offset ? 0 : d->sink->expected;

    d->at = 0;
    d->length = said_length(headers, count);
    if (expected && d->length >= 0 && d->length != expected)
        return mismatch(err, "length_mismatch", "length", d->length, expected);
    if (expected) d->length = expected;
    return DPG_OK;
}

/* --- the file, and the note beside it ------------------------------------------------------------------------------------ */

static bool write_note(const dpg_drain *d, dpg_str etag)
{
    dpg_os_file file = DPG_OS_FILE_NONE;
    dpg_os_fault fault;
    dpg_buf text;
    int64_t size;
    bool done;

    dpg_buf_init(&text, NOTE_MAX);
    dpg_buf_puts(&text, "{\"dpg_part\":1,\"what\":");
    dpg_buf_put_json(&text, d->sink->note);
    dpg_buf_puts(&text, ",\"etag\":");
    dpg_buf_put_json(&text, etag);
    if (d->length >= 0) dpg_buf_printf(&text, ",\"length\":%lld", (long long)d->length);
    done = dpg_buf_puts(&text, "}\n") && dpg_os_file_make(d->note, &file, &size, &fault) == DPG_OS_FINE &&
           dpg_os_file_cut(&file, 0, &fault) == DPG_OS_FINE &&
           dpg_os_file_write(&file, text.ptr, text.len, 0, &fault) == DPG_OS_FINE;
    if (dpg_os_file_close(&file, &fault) != DPG_OS_FINE) done = false;
    dpg_buf_clear(&text);
    return done;
}

/* A disk that takes none costs whoever comes next the bytes alone. One that keeps an older one would have them mixed. */
static dpg_status put_note(const dpg_drain *d, dpg_str etag, dpg_error *err)
{
    dpg_os_fault fault;

    if (etag.len && write_note(d, etag)) return DPG_OK;
    switch (dpg_os_file_remove(d->note, &fault)) {
    case DPG_OS_FINE:
    case DPG_OS_MISSING: return DPG_OK;
    default: return disk(d->note, "removed", &fault, err);
    }
}

/*
 * What is there is of another answer, or was never said to be there. It goes before the head is told, and the note after it:
 * whoever knows this answer's ETag, by either, finds none but its bytes.
 */
static dpg_status start_over(dpg_drain *d, dpg_str etag, dpg_error *err)
{
    dpg_os_fault fault;

    if (dpg_os_file_cut(&d->file, 0, &fault) != DPG_OS_FINE) return disk(d->path, "cut", &fault, err);
    return d->note ? put_note(d, etag, err) : DPG_OK;
}

/* Two that write to one file, each at a place of its own, would make one of both; be they two processes. */
static dpg_status open_locked(dpg_drain *d, int64_t *size, dpg_error *err)
{
    dpg_os_fault fault;
    dpg_os_trouble trouble = DPG_OS_EXISTS;

    for (int i = 0; i < 8 && trouble == DPG_OS_EXISTS; i++) {
        close_file(d, &fault); /* one that has been given its name since it was opened */
        trouble = dpg_os_file_make(d->path, &d->file, size, &fault);
        if (trouble == DPG_OS_FINE) trouble = dpg_os_file_lock(&d->file, d->path, &fault);
    }
    /* on a disk that numbers its files anew for each look no name can be compared with what is open: the lock is ours */
    if (trouble == DPG_OS_EXISTS) trouble = DPG_OS_FINE;
    if (trouble == DPG_OS_BUSY)
        return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_USAGE, "busy",
                        "%s is being written to by another download: wait for it, or choose another path", d->path);
    if (trouble != DPG_OS_FINE) return disk(d->path, "opened", &fault, err);
    d->locked_in = dpg_os_process();
    return DPG_OK;
}

static dpg_status open_file(dpg_drain *d, dpg_str etag, dpg_error *err)
{
    int64_t size = 0;
    dpg_status status = open_locked(d, &size, err);

    if (status != DPG_OK) return status;
    if (size < d->at) /* somebody cut it: what comes would stand behind a hole */
        return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_STORAGE, "file_changed",
                        "%s has %lld bytes, where %lld were said to be there already", d->path, (long long)size,
                        (long long)d->at);
    if (d->at) return DPG_OK;
    d->begun = size > 0;
    return start_over(d, etag, err);
}

dpg_status dpg_drain_head(dpg_drain *d, int status, const dpg_header *headers, size_t count, dpg_error *err)
{
    dpg_status result;

    if (d->to != DPG_TO_EXCERPT || (status != 200 && status != 206)) return DPG_OK;
    if (dpg_wire_is_page(headers, count))
        return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_PROTOCOL, "unreadable",
                        "a web page came where a file is expected: does a proxy answer, or a portal?");
    result = status == 206 ? part_head(d, headers, count, err) : whole_head(d, headers, count, err);
    if (result != DPG_OK) return result;
    d->to = d->sink->type == DPG_SINK_FILE ? DPG_TO_FILE : DPG_TO_CHUNKS;
    if (d->to != DPG_TO_FILE) return DPG_OK;
    return open_file(d, status == 200 ? strong_etag(headers, count) : (dpg_str){"", 0}, err);
}

/* --- the body ----------------------------------------------------------------------------------------------------------- */

/* What lies behind the place where a part begins was never said to be there. A whole was cut with its head. */
static dpg_status begin(dpg_drain *d, dpg_error *err)
{
    dpg_os_fault fault;

    d->begun = true;
    if (d->at && dpg_os_file_cut(&d->file, d->at, &fault) != DPG_OS_FINE) return disk(d->path, "cut", &fault, err);
    return DPG_OK;
}

static dpg_drained put_file(dpg_drain *d, const char *bytes, size_t len, dpg_error *err)
{
    dpg_os_fault fault;

    if (!d->begun && begin(d, err) != DPG_OK) return DPG_DRAIN_FAILED;
    if (dpg_os_file_write(&d->file, bytes, len, d->at + d->received, &fault) != DPG_OS_FINE) {
        disk(d->path, "written", &fault, err);
        return DPG_DRAIN_FAILED;
    }
    d->received += (int64_t)len;
    return DPG_DRAINED;
}

static dpg_drained put_excerpt(dpg_drain *d, const char *bytes, size_t len, dpg_buf *memory)
{
    size_t room = DPG_EXCERPT_MAX > memory->len ? DPG_EXCERPT_MAX - memory->len : 0;

    d->enough = len > room;
    if (!dpg_buf_put(memory, bytes, len < room ? len : room)) return DPG_DRAIN_FAILED;
    d->received = (int64_t)memory->len;
    return d->enough ? DPG_DRAIN_FAILED : DPG_DRAINED;
}

static dpg_status too_long(dpg_drain *d, dpg_error *err)
{
    return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_PROTOCOL, "length_mismatch",
                    "more came than the %lld bytes that were expected", (long long)d->length);
}

dpg_drained dpg_drain_put(dpg_drain *d, const char *bytes, size_t len, dpg_buf *memory, dpg_error *err)
{
    if (d->to == DPG_TO_EXCERPT) return put_excerpt(d, bytes, len, memory);
    if (d->to == DPG_TO_MEMORY) {
        if (!dpg_buf_put(memory, bytes, len)) return DPG_DRAIN_FAILED;
        d->received += (int64_t)len;
        return DPG_DRAINED;
    }
    if (d->length >= 0 && (int64_t)len > d->length - d->received) {
        too_long(d, err);
        return DPG_DRAIN_FAILED;
    }
    if (d->to == DPG_TO_FILE) return put_file(d, bytes, len, err);
    if (len > dpg_pipe_room(d->chunks)) return DPG_DRAIN_FULL;
    d->begun = true;
    dpg_pipe_put(d->chunks, bytes, len);
    d->received += (int64_t)len;
    return DPG_DRAINED;
}

/* --- the end ------------------------------------------------------------------------------------------------------------ */

/*
 * Its bytes first, then its name: whoever finds the name finds the whole file, after a power cut too. All of it before the lock
 * goes: nobody else has the file in hand when it gets its name.
 */
static dpg_status name_file(dpg_drain *d, dpg_error *err)
{
    dpg_os_fault fault;

    if (!d->rename_to) return close_file(d, &fault) == DPG_OS_FINE ? DPG_OK : disk(d->path, "written", &fault, err);
    if (dpg_os_file_sync(&d->file, &fault) != DPG_OS_FINE) return disk(d->path, "written", &fault, err);
    if (dpg_os_file_move(d->path, d->rename_to, &fault) != DPG_OS_FINE)
        return disk(d->path, "given its name", &fault, err);
    if (d->note) dpg_os_file_remove(d->note, &fault); /* one beside nothing is none */
    close_file(d, &fault);
    return DPG_OK;
}

dpg_status dpg_drain_finish(dpg_drain *d, dpg_error *err)
{
    dpg_status status;

    if (d->to != DPG_TO_FILE && d->to != DPG_TO_CHUNKS) return DPG_OK;
    if (d->length >= 0 && d->received < d->length)
        return dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_NETWORK, "answer_cut",
                        "the connection was cut: only %lld of %lld bytes came", (long long)d->received,
                        (long long)d->length);
    if (d->to != DPG_TO_FILE) return DPG_OK;
    if (!d->begun && (status = begin(d, err)) != DPG_OK) return status; /* an empty one */
    return name_file(d, err);
}
