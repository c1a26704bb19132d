/*
 * pipe.c: bytes come out as they went in, however the ring turns.
 */
#include "check.h"
#include "pipe.h"

TEST("gives bytes out in the order in which they came, in pieces of any size")
{
    static const size_t caps[] = {1, 2, 7, 64, 1000};
    uint64_t x = 88172645463325252u;

    for (size_t c = 0; c < sizeof caps / sizeof *caps; c++) {
        unsigned char in = 0, out = 0;
        size_t held = 0;
        dpg_pipe p;

        REQUIRE(dpg_pipe_init(&p, caps[c]));
        for (int i = 0; i < 20000; i++) {
            char bytes[1000];
            dpg_str front;
            size_t n;

            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            CHECK_INT(dpg_pipe_room(&p), caps[c] - held);
            n = (size_t)x % (dpg_pipe_room(&p) + 1);
            for (size_t k = 0; k < n; k++) bytes[k] = (char)in++;
            dpg_pipe_put(&p, bytes, n);
            held += n;
            front = dpg_pipe_front(&p);
            CHECK((front.len > 0) == (held > 0) && front.len <= held);
            n = (size_t)(x >> 32) % (front.len + 1);
            for (size_t k = 0; k < n; k++)
                if ((unsigned char)front.ptr[k] != out++) CHECK_FAIL("byte %zu of round %d", k, i);
            dpg_pipe_drop(&p, n);
            held -= n;
            CHECK_INT(p.in - p.out, held);
            if (check_faults) break;
        }
        dpg_pipe_clear(&p);
        dpg_pipe_clear(&p);
        CHECK_NULL(p.bytes);
    }
}

TEST("has nothing in front and no room when it is none")
{
    dpg_pipe p = {0};

    CHECK_INT(dpg_pipe_front(&p).len, 0);
    CHECK_INT(dpg_pipe_room(&p), 0);
    dpg_pipe_put(&p, NULL, 0);
    dpg_pipe_drop(&p, 0);
}

CHECK_MAIN()
