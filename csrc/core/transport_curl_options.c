/*
 * What the options of a transport over libcurl ask for, checked before anything is sent: certificates, a proxy, who we are
 * and what we can decode. Used by transport_curl.c.
 */
#include "transport_curl_internal.h"

#include <stdio.h>
#include <string.h>

/* An unreadable file would be noticed with the first connection, and by libcurl's words then. */
static dpg_status check_ca_file(const char *path, dpg_error *err)
{
    dpg_os_fault fault = {DPG_OS_FAILED, "it is empty"};
    dpg_os_file file = DPG_OS_FILE_NONE;
    int64_t size;
    size_t got = 0;
    char byte;

    if (dpg_os_file_open(path, &file, &size, &fault) == DPG_OS_FINE) {
        dpg_os_fault closing;

        dpg_os_file_read(&file, &byte, 1, 0, &got, &fault);
        dpg_os_file_close(&file, &closing);
    }
    if (got) return DPG_OK;
    return dpg_fail(err, DPG_E_INVALID, DPG_KIND_TLS, "ca_file_unreadable", "the ca_file %s can't be read: %s", path,
                    fault.text);
}

static dpg_status copy(char **to, dpg_str from, const char *what, dpg_error *err)
{
    if (from.len && memchr(from.ptr, '\0', from.len))
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "invalid_option", "the %s has a NUL in it", what);
    *to = dpg_strndup(from);
    return *to ? DPG_OK : dpg_fail_nomem(err);
}

/* libcurl would find out with each connection, and go without the proxy when it can't decode a password. */
static bool is_proxy(CURLU *url)
{
    static const char *const schemes[] = {"http", "https", "socks4", "socks4a", "socks5", "socks5h"};
    static const CURLUPart decoded[] = {CURLUPART_USER, CURLUPART_PASSWORD};
    char *part = NULL;
    bool known = false;

    if (curl_url_get(url, CURLUPART_SCHEME, &part, 0) != CURLUE_OK) return false;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) known = known || strcmp(part, schemes[i]) == 0;
    curl_free(part);
    for (size_t i = 0; known && i < sizeof decoded / sizeof *decoded; i++) {
        CURLUcode got = curl_url_get(url, decoded[i], &part, CURLU_URLDECODE);

        known = got == CURLUE_OK || got == CURLUE_NO_USER || got == CURLUE_NO_PASSWORD;
        if (got != CURLUE_OK) continue;
        dpg_wipe(part, strlen(part));
        curl_free(part);
    }
    return known;
}

static dpg_status check_proxy(const char *text, dpg_error *err)
{
    CURLU *url;
    CURLUcode code;
    bool good;

    if (!*text) return DPG_OK; /* none */
    url = curl_url();
    if (!url) return dpg_fail_nomem(err);
    code = curl_url_set(url, CURLUPART_URL, text, CURLU_GUESS_SCHEME | CURLU_NON_SUPPORT_SCHEME);
    good = code == CURLUE_OK && is_proxy(url);
    curl_url_cleanup(url);
    if (good) return DPG_OK;
    if (code == CURLUE_OUT_OF_MEMORY) return dpg_fail_nomem(err);
    return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "invalid_option",
                    "the proxy is no URL like http://user:password@host:port (http, https, socks4, socks4a, socks5, "
                    "socks5h; what is special in a password is written as %%40)");
}

static dpg_status make_agent(curl_transport *c, dpg_str agent, dpg_error *err)
{
    static const char name[] = "User-Agent: ";
    dpg_buf line;

    if (!agent.len) return DPG_OK;
    if (!dpg_header_value_ok(agent))
        return dpg_fail(err, DPG_E_INVALID, DPG_KIND_USAGE, "invalid_option", "the user agent has CR, LF or NUL in it");
    dpg_buf_init(&line, agent.len + sizeof name);
    if (!dpg_buf_puts(&line, name) || !dpg_buf_put_str(&line, agent)) {
        dpg_buf_clear(&line);
        return dpg_fail_nomem(err);
    }
    c->agent_line = c->agent.data = line.ptr;
    return DPG_OK;
}

/* Not "deflate", which has been two formats. */
static void make_encoding(curl_transport *c, int features)
{
    static const struct {
        int feature;
        const char *name;
    } known[] = {{CURL_VERSION_LIBZ, "gzip"}, {CURL_VERSION_BROTLI, "br"}, {DPG_CURL_ZSTD, "zstd"}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t at = strlen(c->encoding_line);

        if (features & known[i].feature)
            snprintf(c->encoding_line + at, sizeof c->encoding_line - at, "%s%s",
                     at ? ", " : "Accept-Encoding: ", known[i].name);
    }
}

/* The caller's ca_file; else the bundle that libcurl was built for, if it is there; else whatever libcurl does by itself. */
static dpg_status choose_ca_file(curl_transport *c, dpg_str asked, dpg_error *err)
{
    const char *usual = dpg_curl_default_cainfo();
    dpg_status status;

    if (asked.len) {
        if ((status = copy(&c->ca_file, asked, "ca_file", err)) != DPG_OK) return status;
        return check_ca_file(c->ca_file, err);
    }
    if (!usual || check_ca_file(usual, NULL) != DPG_OK) return DPG_OK;
    return copy(&c->ca_file, dpg_cstr(usual), "ca_file", err);
}

dpg_status dpg_curl_read_options(curl_transport *c, const dpg_transport_options *options, dpg_error *err)
{
    dpg_status status = make_agent(c, options->user_agent, err);

    if (status != DPG_OK) return status;
    if (options->proxy_set && ((status = copy(&c->proxy, options->proxy, "proxy", err)) != DPG_OK ||
                               (status = check_proxy(c->proxy, err)) != DPG_OK))
        return status;
    make_encoding(c, curl_version_info(CURLVERSION_NOW)->features);
    return choose_ca_file(c, options->ca_file, err);
}
