/*
 * The transport when memory runs out at its 1st, 2nd, 3rd … allocation, from its making to its end: each is refused or ends
 * in an error, nothing crashes or leaks, and the next transport works.
 */
#include "check.h"
#include "drivers.h"
#include "server.h"

static const server_step script[] = {READ, SEND("HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 200\r\n\r\n"),
                                     SEND_TIMES(20, "0123456789"), HOLD};

/* Two transfers, as far as memory lets them; true when nothing was refused. */
static bool play(server *s)
{
    dpg_transport_options options = {.user_agent = DPG_LIT("torture"), .proxy_set = true};
    dpg_header header = {DPG_LIT("Authorization"), DPG_LIT("Bearer secret")};
    dpg_request request = {
        .method = DPG_LIT("POST"), .headers = &header, .header_count = 1, .body = DPG_LIT("x"), .has_body = true};
    dpg_error err = DPG_ERROR_INIT;
    dpg_transport t;
    int started = 0, fine = 0;

    if (dpg_transport_curl_new(&options, &t, &err) != DPG_OK) {
        CHECK_INT(err.status, DPG_E_NOMEM);
        return false;
    }
    request.url = dpg_cstr(server_url(s, "/"));
    for (uint64_t id = 1; id <= 2; id++) {
        request.once = id == 2;
        if (t.start(t.self, id, &request, &err) == DPG_OK) started++;
        else CHECK_INT(err.status, DPG_E_NOMEM);
    }
    for (int ended = 0; ended < started;) {
        dpg_response response;

        CHECK_INT(t.step(t.self, 1000, &err), DPG_OK);
        while (t.next(t.self, &response)) {
            ended++;
            if (response.error.kind == DPG_KIND_NONE && response.status == 200 && response.body.len == 200) fine++;
            else CHECK_STR(response.error.code, "out_of_memory");
            dpg_response_clear(&response);
        }
    }
    t.free(t.self);
    return fine == 2;
}

TEST("each allocation that fails is refused or ends in an error, and leaves nothing behind")
{
    server *s = server_new((const server_step *[]){script, NULL});
    int refused = 0;

    for (uint64_t n = 1;; n++) {
        bool fine;

        dpg_alloc_fail(n);
        fine = play(s);
        if (!dpg_alloc_failed()) {
            CHECK(fine);
            break;
        }
        CHECK(!fine);
        refused++;
    }
    CHECK(refused >= 10);
    server_free(s);
}

CHECK_MAIN()
