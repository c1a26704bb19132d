/*
 * Any bytes as a URL: what we take, libcurl takes too, and it goes to the host, port and scheme that we said. If those
 * ever differed, a token meant for one origin would leave for another.
 */
#include "must.h"

#include "headers.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <string.h>

static void check_host(dpg_str host, const char *theirs)
{
    char ours[64];
    uint8_t a[16], b[16];
    char *copy;

    if (host.ptr[0] != '[') {
        MUST(dpg_str_eq_nocase(host, dpg_cstr(theirs)));
        return;
    }
    MUST(host.len - 2 < sizeof ours && theirs[0] == '[');
    memcpy(ours, host.ptr + 1, host.len - 2);
    ours[host.len - 2] = '\0';
    MUST((copy = dpg_strndup(dpg_str_of(theirs + 1, strlen(theirs) - 2))));
    MUST(inet_pton(AF_INET6, ours, a) == 1 && inet_pton(AF_INET6, copy, b) == 1);
    MUST(memcmp(a, b, sizeof a) == 0);
    dpg_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    dpg_str text = dpg_str_of((const char *)data, size);
    dpg_url url, again;
    char *copy, *scheme = NULL, *host = NULL, *port = NULL, *user = NULL;
    CURLU *theirs;

    if (!dpg_url_read(text, &url)) return 0;
    MUST(url.port >= 1 && url.port <= 65535 && url.host.len > 0);
    MUST(url.target.ptr + url.target.len == text.ptr + text.len);
    MUST(strncmp(url.origin, url.https ? "https://" : "http://", url.https ? 8 : 7) == 0);
    MUST(dpg_url_read(dpg_cstr(url.origin), &again)); /* an origin is a URL, and its own */
    MUST(strcmp(again.origin, url.origin) == 0 && again.target.len == 0 && again.loopback == url.loopback);

    MUST((copy = dpg_strndup(text)) && (theirs = curl_url()));
    MUST(curl_url_set(theirs, CURLUPART_URL, copy, 0) == CURLUE_OK);
    MUST(curl_url_get(theirs, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK);
    MUST(curl_url_get(theirs, CURLUPART_HOST, &host, 0) == CURLUE_OK);
    MUST(curl_url_get(theirs, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK);
    MUST(curl_url_get(theirs, CURLUPART_USER, &user, 0) == CURLUE_NO_USER);
    MUST(strcmp(scheme, url.https ? "https" : "http") == 0);
    MUST(atoi(port) == url.port);
    check_host(url.host, host);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(theirs);
    dpg_free(copy);
    return 0;
}
