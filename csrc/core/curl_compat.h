/*
 * What differs between the versions of libcurl that we build with: every check of its version number stands here, for
 * transport_curl.c alone. The oldest that will do is 7.68 (curl_multi_wakeup).
 */
#ifndef DPG_CURL_COMPAT_H
#define DPG_CURL_COMPAT_H

#include <curl/curl.h>
#include <stdbool.h>

#if LIBCURL_VERSION_NUM < 0x074400
#error "dpg needs libcurl 7.68 or later"
#endif

/* 7.80: a callback between "connected" and the first byte of the request. Without it only a failure to connect is proof. */
#if LIBCURL_VERSION_NUM >= 0x075000
#define DPG_CURL_PREREQ 1
#else
#define DPG_CURL_PREREQ 0
#endif

/*
 * 7.70: certificates are checked for having been revoked where somebody can be asked, and taken as they are where not. Of
 * libcurl's TLS libraries only Windows' own asks at all; by itself it refuses those that name nobody, as a company's own.
 */
#if LIBCURL_VERSION_NUM >= 0x074600
#define DPG_CURL_SSL_OPTIONS ((long)CURLSSLOPT_REVOKE_BEST_EFFORT)
#else
#define DPG_CURL_SSL_OPTIONS 0L
#endif

/* 7.87: ending a transfer does not wait for its resolver thread. */
#if LIBCURL_VERSION_NUM >= 0x075700
#define DPG_CURL_QUICK_EXIT 1
#else
#define DPG_CURL_QUICK_EXIT 0
#endif

/* 7.85: protocols by name; the bits that it replaces are deprecated. */
#if LIBCURL_VERSION_NUM >= 0x075500
#define DPG_CURL_PROTOCOLS_OPTION CURLOPT_PROTOCOLS_STR
#define DPG_CURL_PROTOCOLS "http,https"
#else
#define DPG_CURL_PROTOCOLS_OPTION CURLOPT_PROTOCOLS
#define DPG_CURL_PROTOCOLS ((long)(CURLPROTO_HTTP | CURLPROTO_HTTPS))
#endif

/* 7.72: it may be able to decode zstd. By number where the header is too old. */
#ifdef CURL_VERSION_ZSTD
#define DPG_CURL_ZSTD CURL_VERSION_ZSTD
#else
#define DPG_CURL_ZSTD (1 << 26)
#endif

/* Result codes that younger versions know, by number where the header is too old: libcurl.so may be newer than it. */
#if LIBCURL_VERSION_NUM >= 0x074900 /* 7.73 */
#define DPG_CURLE_PROXY CURLE_PROXY
#else
#define DPG_CURLE_PROXY ((CURLcode)97)
#endif
#if LIBCURL_VERSION_NUM >= 0x074d00 /* 7.77 */
#define DPG_CURLE_SSL_CLIENTCERT CURLE_SSL_CLIENTCERT
#else
#define DPG_CURLE_SSL_CLIENTCERT ((CURLcode)98)
#endif
#if LIBCURL_VERSION_NUM >= 0x080600 /* 8.6 */
#define DPG_CURLE_TOO_LARGE CURLE_TOO_LARGE
#else
#define DPG_CURLE_TOO_LARGE ((CURLcode)100)
#endif

/*
 * 7.88.1: whatever is written, TLS too, goes through libcurl's own filters and leaves by send() with MSG_NOSIGNAL, where the
 * system has that. Before it OpenSSL called write() itself, which may raise SIGPIPE.
 */
static inline bool dpg_curl_is_quiet(const curl_version_info_data *info)
{
#ifdef MSG_NOSIGNAL
    return info->version_num >= 0x075801;
#else
    return (void)info, false;
#endif
}

/* The bundle of certificates that this libcurl was built to use; NULL when it has none or doesn't say (before 7.70). */
static inline const char *dpg_curl_default_cainfo(void)
{
#if LIBCURL_VERSION_NUM >= 0x074600
    const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);

    return info->age >= CURLVERSION_SEVENTH ? info->cainfo : NULL;
#else
    return NULL;
#endif
}

#endif
