/*
 * gate.c: nobody passes before it opens, and then one after the other.
 */
#include "check.h"
#include "gate.h"

TEST("lets everybody pass as long as it was never closed")
{
    dpg_gate g = {0};

    for (int i = 0; i < 1000; i++) CHECK_INT(dpg_gate_pass(&g, 1000 + i), 0);
    CHECK(!g.closed);
}

TEST("tells no moment before it opens, and each caller one behind the other")
{
    dpg_gate g = {0};
    int64_t last = 0;

    CHECK(dpg_gate_close(&g, 1000, 5000));
    CHECK(g.closed);
    CHECK_INT(dpg_gate_pass(&g, 1000), 6000);
    for (int i = 0; i < 400; i++) {
        int64_t at = dpg_gate_pass(&g, 5999);

        CHECK(at > 6000 && at > last);
        last = at;
    }
    CHECK_INT(dpg_gate_pass(&g, 6000), 0);
}

TEST("makes nobody wait longer than five seconds for the others")
{
    dpg_gate g = {0};

    dpg_gate_close(&g, 0, 100);
    for (int i = 0; i < 5000; i++) CHECK(dpg_gate_pass(&g, 50) <= 100 + 5000);
}

TEST("is never opened earlier by a shorter wait, and later by a longer one")
{
    dpg_gate g = {0};

    CHECK(dpg_gate_close(&g, 1000, 5000));
    CHECK(!dpg_gate_close(&g, 1000, 200));
    CHECK(!dpg_gate_close(&g, 2000, 4000));
    CHECK_INT(dpg_gate_pass(&g, 5999), 6000);
    CHECK(dpg_gate_close(&g, 2000, 4001));
    CHECK_INT(dpg_gate_pass(&g, 6000), 6001); /* and the count of those behind it begins again */
}

TEST("closes again after it has opened")
{
    dpg_gate g = {0};

    dpg_gate_close(&g, 1000, 1000);
    CHECK_INT(dpg_gate_pass(&g, 2000), 0);
    CHECK(dpg_gate_close(&g, 3000, 1000));
    CHECK_INT(dpg_gate_pass(&g, 3000), 4000);
}

TEST("takes a wait of nothing for a gate that is open")
{
    dpg_gate g = {0};

    dpg_gate_close(&g, 1000, 0);
    CHECK_INT(dpg_gate_pass(&g, 1000), 0);
}

CHECK_MAIN()
