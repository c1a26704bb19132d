/*
 * Hand-written C over libcurl, the measure of the others: one easy handle that is reused, or N of them on a multi handle.
 * Answers gather in a buffer that is reused, too; nothing is decoded. What it is told on its standard input, and what it
 * answers, stands in bench/peers.lua.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define MOST_AT_ONCE 64

typedef struct {
    CURL *easy;
    char *bytes;
    size_t len, room;
} transfer;

static struct curl_slist *headers;
static const char *ca_file;

static void die(const char *what)
{
    fprintf(stderr, "native: %s\n", what);
    exit(1);
}

static double cpu_s(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static size_t on_bytes(char *bytes, size_t size, size_t count, void *user)
{
    transfer *t = user;
    size_t len = size * count;

    if (t->len + len > t->room) {
        t->room = 2 * (t->len + len);
        if (!(t->bytes = realloc(t->bytes, t->room))) die("out of memory");
    }
    memcpy(t->bytes + t->len, bytes, len);
    t->len += len;
    return len;
}

static void set_up(transfer *t, const char *url, const char *protocol)
{
    int is_h2 = strcmp(protocol, "h2") == 0;
    CURL *easy = t->easy;

    curl_easy_reset(easy); /* connections stay */
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CAINFO, ca_file);
    curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, is_h2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, is_h2 ? 1L : 0L);
}

static void ended(transfer *t, CURLcode result)
{
    long status = 0;

    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (result != CURLE_OK) die(curl_easy_strerror(result));
    if (status != 200 || t->len == 0) die("an answer that was not meant");
}

static void one_at_a_time(transfer *t, long count)
{
    while (count-- > 0) {
        t->len = 0;
        ended(t, curl_easy_perform(t->easy));
    }
}

static void begin(CURLM *multi, transfer *t)
{
    t->len = 0;
    if (curl_multi_add_handle(multi, t->easy) != CURLM_OK) die("curl_multi_add_handle");
}

static void many_at_once(CURLM *multi, transfer *transfers, int at_once, long count)
{
    long begun = 0, done = 0;
    int running, left;
    CURLMsg *message;

    while (begun < at_once && begun < count) begin(multi, &transfers[begun++]);
    while (done < count) {
        if (curl_multi_perform(multi, &running) != CURLM_OK) die("curl_multi_perform");
        while ((message = curl_multi_info_read(multi, &left))) {
            CURLcode result = message->data.result;
            transfer *t = NULL;

            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &t);
            curl_multi_remove_handle(multi, t->easy);
            ended(t, result);
            done++;
            if (begun < count) {
                begun++;
                begin(multi, t);
            }
        }
        if (done < count && curl_multi_poll(multi, NULL, 0, 1000, NULL) != CURLM_OK) die("curl_multi_poll");
    }
}

int main(int argc, char **argv)
{
    static transfer transfers[MOST_AT_ONCE];
    char line[512], protocol[16], what[16], url[256];
    CURLM *multi;
    long count;
    int at_once;

    if (argc != 3) die("usage: native easy|multi CA_FILE");
    ca_file = argv[2];
    curl_global_init(CURL_GLOBAL_DEFAULT);
    if (!(multi = curl_multi_init())) die("curl_multi_init");
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)MOST_AT_ONCE);
    for (int i = 0; i < MOST_AT_ONCE; i++) transfers[i].easy = curl_easy_init();
    headers = curl_slist_append(headers, "Authorization: Bearer dpg_api_live_bench");
    headers = curl_slist_append(headers, "Accept: application/json");
    printf("ready libcurl %s\n", curl_version_info(CURLVERSION_NOW)->version);
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "%ld %d %15s %15s %255s", &count, &at_once, protocol, what, url) != 5) die("what?");
        if (strcmp(what, "bare") != 0 || at_once > MOST_AT_ONCE || (at_once > 1 && strcmp(argv[1], "easy") == 0)) {
            puts("no");
        } else {
            double from;

            for (int i = 0; i < at_once; i++) set_up(&transfers[i], url, protocol);
            from = cpu_s();
            if (strcmp(argv[1], "easy") == 0) {
                one_at_a_time(&transfers[0], count);
            } else {
                many_at_once(multi, transfers, at_once, count);
            }
            printf("%.9f\n", cpu_s() - from);
        }
        fflush(stdout);
    }
    return 0;
}
