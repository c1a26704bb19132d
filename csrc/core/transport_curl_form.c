/*
 * The body of a request that is a form (multipart/form-data, RFC 7578): libcurl frames it, and pulls each part's bytes from
 * here, out of memory, a file or a pipe. Nothing is ever given out twice: a form that was begun is not sent again by
 * libcurl itself. Used by transport_curl.c.
 */
#include "transport_curl_internal.h"

#include <string.h>

struct form_source {
    transfer *owner;
    dpg_str value;    /* these bytes … */
    dpg_os_file file; /* … or this file … */
    dpg_pipe *pipe;   /* … or what is fed */
    int64_t size, given;
};

/* --- opening ------------------------------------------------------------------------------------------------------------ */

static dpg_status changed(dpg_error *err, int64_t size, int64_t now)
{
    return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "file_changed",
                    "the file to be sent has changed: it has %lld bytes now, and had %lld; send it anew",
                    (long long)now, (long long)size);
}

static dpg_status open_source(struct form_source *s, const dpg_part *part, dpg_pipe *fed, dpg_error *err)
{
    dpg_os_fault fault = {DPG_OS_FINE, ""};
    int64_t now = 0;
    char *path;

    s->file = (dpg_os_file)DPG_OS_FILE_NONE;
    s->value = part->value;
    s->size = part->path.len || part->fed ? part->size : (int64_t)part->value.len;
    if (part->fed) s->pipe = fed;
    if (!part->path.len) return DPG_OK;
    if (!(path = dpg_strndup(part->path))) return dpg_fail_nomem(err);
    if (dpg_os_file_open(path, &s->file, &now, &fault) != DPG_OS_FINE)
        dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "file_unreadable", "%s can't be read: %s", path, fault.text);
    dpg_free(path);
    if (fault.trouble != DPG_OS_FINE) return DPG_E_INVALID;
    return now == s->size ? DPG_OK : changed(err, s->size, now);
}

dpg_status dpg_curl_open_form(transfer *t, const dpg_request *request, dpg_error *err)
{
    if (!request->part_count) return DPG_OK;
    t->sources = dpg_calloc(request->part_count, sizeof *t->sources);
    if (!t->sources) return dpg_fail_nomem(err);
    for (size_t i = 0; i < request->part_count; i++) {
        dpg_status status = open_source(&t->sources[i], &request->parts[i], request->fed, err);

        t->source_count = i + 1;
        t->sources[i].owner = t;
        if (status != DPG_OK) return status;
    }
    return DPG_OK;
}

void dpg_curl_free_form(transfer *t)
{
    dpg_os_fault fault;

    curl_mime_free(t->mime); /* takes NULL; after the handle has let go of it, or with it */
    t->mime = NULL;
    for (size_t i = 0; i < t->source_count; i++) dpg_os_file_close(&t->sources[i].file, &fault);
    dpg_free(t->sources);
    t->sources = NULL;
    t->source_count = 0;
}

bool dpg_curl_form_is_whole(const transfer *t)
{
    for (size_t i = 0; i < t->source_count; i++)
        if (t->sources[i].given < t->sources[i].size) return false;
    return true;
}

/* --- giving bytes out --------------------------------------------------------------------------------------------------- */

/* With the last bytes a second look: a file that grew is not the one that was announced. They stay here then. */
static size_t give_file(struct form_source *s, char *to, size_t most)
{
    dpg_error *err = &s->owner->response.error;
    dpg_os_fault fault;
    int64_t now = s->size;
    size_t got = 0;

    if (dpg_os_file_read(&s->file, to, most, s->given, &got, &fault) != DPG_OS_FINE ||
        dpg_os_file_size(&s->file, &now, &fault) != DPG_OS_FINE) {
        dpg_fail(err, DPG_E_SYSTEM, DPG_KIND_STORAGE, "file_unreadable", "the file to be sent can't be read: %s",
                 fault.text);
        return CURL_READFUNC_ABORT;
    }
    if (now != s->size || got == 0) {
        changed(err, s->size, now != s->size ? now : s->given);
        return CURL_READFUNC_ABORT;
    }
    s->given += (int64_t)got;
    return got;
}

static size_t give_fed(struct form_source *s, char *to, size_t most)
{
    dpg_str front = dpg_pipe_front(s->pipe);

    if (!front.len) {
        s->pipe->asked = true;
        atomic_store(&s->pipe->still, true);
        s->owner->send_paused = true;
        return CURL_READFUNC_PAUSE;
    }
    if (front.len < most) most = front.len;
    memcpy(to, front.ptr, most);
    dpg_pipe_drop(s->pipe, most);
    s->given += (int64_t)most;
    return most;
}

static size_t on_read(char *to, size_t one, size_t count, void *self)
{
    struct form_source *s = self;
    size_t most = one * count;

    if ((int64_t)most > s->size - s->given) most = (size_t)(s->size - s->given);
    if (most == 0) return 0;
    if (s->pipe) return give_fed(s, to, most);
    if (s->file.handle >= 0) return give_file(s, to, most);
    memcpy(to, s->value.ptr + s->given, most);
    s->given += (int64_t)most;
    return most;
}

static int on_seek(void *self, curl_off_t offset,
                   int origin) /* to send it again, which is nobody's to decide but the engine's */
{
    struct form_source *s = self;

    return offset == 0 && origin == SEEK_SET && s->given == 0 ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL;
}

/* --- the form as libcurl knows it --------------------------------------------------------------------------------------- */

static CURLcode set_text(curl_mimepart *part, CURLcode (*set)(curl_mimepart *, const char *), dpg_str text)
{
    char *copy;
    CURLcode code;

    if (!text.len) return CURLE_OK;
    if (!(copy = dpg_strndup(text))) return CURLE_OUT_OF_MEMORY;
    code = set(part, copy); /* which copies */
    dpg_free(copy);
    return code;
}

static CURLcode add_part(transfer *t, const dpg_part *from, struct form_source *source)
{
    curl_mimepart *part = curl_mime_addpart(t->mime);
    CURLcode code;

    if (!part) return CURLE_OUT_OF_MEMORY;
    if ((code = set_text(part, curl_mime_name, from->name)) != CURLE_OK) return code;
    if ((code = set_text(part, curl_mime_filename, from->filename)) != CURLE_OK) return code;
    if ((code = set_text(part, curl_mime_type, from->content_type)) != CURLE_OK) return code;
    return curl_mime_data_cb(part, (curl_off_t)source->size, on_read, on_seek, NULL, source);
}

CURLcode dpg_curl_make_form(transfer *t, const dpg_request *request)
{
    CURLcode code = CURLE_OK;

    if (!(t->mime = curl_mime_init(t->easy))) return CURLE_OUT_OF_MEMORY;
    for (size_t i = 0; i < request->part_count && code == CURLE_OK; i++)
        code = add_part(t, &request->parts[i], &t->sources[i]);
    return code;
}
