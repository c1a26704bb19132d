/*
 * The core without Lua: one call with a service token, `GET /v1/me`, and how it went.
 *
 *   cc -o status examples/c/status.c $(pkg-config --cflags --libs libdpg)      # after `make install-library`, or with libdpg-dev
 *   DPG_TOKEN=dpg_api_live_… ./status
 *
 * DPG_BASE_URL points it somewhere else than at the real API: at `dpg-sandbox`, say. Retries, Retry-After and deadlines are
 * the core's; this program waits for one thing, the completion.
 */
#include <dpg.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dpg_str text(const char *s)
{
    return (dpg_str){s, strlen(s)};
}

static dpg_status wait_for(dpg_engine *engine, dpg_id id, dpg_completion *out, dpg_error *err)
{
    dpg_status status;

    for (;;) {
        dpg_note note;

        if ((status = dpg_engine_wait(engine, 1000, err)) != DPG_OK) return status;
        for (dpg_engine_next(engine, &note); note.type != DPG_NOTE_NONE; dpg_engine_next(engine, &note))
            if (note.type == DPG_NOTE_DONE && note.id == id) return dpg_engine_take(engine, id, out, err);
    }
}

static dpg_status get(dpg_engine *engine, dpg_credential *credential, const char *url, dpg_completion *out,
                      dpg_error *err)
{
    dpg_spec spec = DPG_SPEC_INIT;
    dpg_id id;
    dpg_status status;

    spec.method = text("GET");
    spec.url = text(url);
    spec.credential = credential;
    if ((status = dpg_engine_start(engine, &spec, &id, err)) != DPG_OK) return status;
    return wait_for(engine, id, out, err);
}

int main(void)
{
    const char *token = getenv("DPG_TOKEN"), *base_url = getenv("DPG_BASE_URL");
    dpg_engine_options options = DPG_ENGINE_OPTIONS_INIT;
    dpg_error err = DPG_ERROR_INIT;
    dpg_engine *engine = NULL;
    dpg_credential *credential = NULL;
    dpg_completion answer = {0};
    char url[512];
    int result = EXIT_FAILURE;

    if (!token || !*token) {
        fputs("status: DPG_TOKEN holds no service token\n", stderr);
        return EXIT_FAILURE;
    }
    if (!base_url) base_url = "https://api.digitalphotogallery.com/v1";
    if (snprintf(url, sizeof url, "%s/me", base_url) >= (int)sizeof url) {
        fputs("status: DPG_BASE_URL is too long\n", stderr);
        return EXIT_FAILURE;
    }

    if (dpg_engine_new(&options, &engine, &err) != DPG_OK ||
        dpg_credential_service(engine, text(base_url), text(token), &credential, &err) != DPG_OK ||
        get(engine, credential, url, &answer, &err) != DPG_OK) {
        fprintf(stderr, "status: %s\n", err.message);
    } else if (answer.error.kind != DPG_KIND_NONE) { /* there was no answer, after all attempts */
        fprintf(stderr, "status: %s: %s\n", dpg_kind_name(answer.error.kind), answer.error.message);
    } else {
        printf("%d, %zu bytes, %d attempt%s\n", answer.status, answer.body.len, answer.attempts,
               answer.attempts == 1 ? "" : "s");
        if (answer.status == 200) result = EXIT_SUCCESS;
    }

    dpg_completion_clear(&answer);
    dpg_credential_free(credential);
    dpg_engine_free(engine, 5000);
    return result;
}
