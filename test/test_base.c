/*
 * base.c: growing buffers, views, errors and digests.
 */
#include "base.h"
#include "check.h"

/* --- buffers ------------------------------------------------------------------------------------------------------- */

TEST("a buffer grows piece by piece and stays terminated")
{
    dpg_buf b;

    dpg_buf_init(&b, 1000);
    for (int i = 0; i < 100; i++) REQUIRE(dpg_buf_puts(&b, "0123456789"));
    CHECK_INT(b.len, 1000);
    CHECK_INT(b.ptr[1000], 0);
    CHECK_MEM(b.ptr + 990, 10, "0123456789", 10);
    CHECK(b.cap <= 1001);
    dpg_buf_clear(&b);
    CHECK_NULL(b.ptr);
}

TEST("a buffer takes its maximum and not one byte more")
{
    dpg_buf b;

    dpg_buf_init(&b, 4);
    CHECK(dpg_buf_put(&b, "abcd", 4));
    CHECK(dpg_buf_put(&b, "", 0));
    CHECK(!dpg_buf_put(&b, "e", 1));
    CHECK_INT(b.failed, DPG_BUF_TOO_LONG);
    CHECK_STR(b.ptr, "abcd");
    dpg_buf_clear(&b);
}

TEST("a failure sticks: what would fit afterwards is not appended either")
{
    dpg_buf b;

    dpg_buf_init(&b, 8);
    CHECK(dpg_buf_puts(&b, "abc"));
    CHECK(!dpg_buf_puts(&b, "too long for it"));
    CHECK(!dpg_buf_puts(&b, "d"));
    CHECK(!dpg_buf_printf(&b, "%d", 1));
    CHECK(!dpg_buf_put_json(&b, DPG_LIT("")));
    CHECK_MEM(b.ptr, b.len, "abc", 3);
    dpg_buf_clear(&b);
    CHECK_INT(b.failed, DPG_BUF_FINE);
    CHECK(dpg_buf_puts(&b, "again"));
    CHECK_INT(b.max, 8);
    dpg_buf_clear(&b);
}

TEST("lengths that overflow are too long")
{
    dpg_buf b;

    dpg_buf_init(&b, 100);
    CHECK(dpg_buf_puts(&b, "a"));
    CHECK(!dpg_buf_put(&b, "", SIZE_MAX));
    CHECK_INT(b.failed, DPG_BUF_TOO_LONG);
    dpg_buf_clear(&b);
}

TEST("an empty buffer is an empty view")
{
    dpg_buf b;

    dpg_buf_init(&b, 0);
    CHECK_INT(dpg_buf_str(&b).len, 0);
    CHECK(dpg_buf_str(&b).ptr != NULL);
    CHECK(dpg_buf_put(&b, NULL, 0));
    CHECK(!dpg_buf_put(&b, "x", 1));
    dpg_buf_clear(&b);
}

TEST("a buffer that is told at first how much will come has room for just that, and knows what of it was written")
{
    dpg_buf b;

    dpg_buf_init_secret(&b, 1 << 20);
    REQUIRE(dpg_buf_reserve(&b, 100000));
    CHECK_INT(b.cap, 100001);
    CHECK_INT(b.touched, 0);
    REQUIRE(dpg_buf_puts(&b, "0123456789"));
    CHECK_INT(b.touched, 11);
    b.len = 0; /* what stood there is still to be wiped */
    REQUIRE(dpg_buf_printf(&b, "%d", 7));
    CHECK_INT(b.touched, 11);
    CHECK_INT(b.cap, 100001);
    dpg_buf_clear(&b);
    CHECK_INT(b.touched, 0);
}

TEST("a secret buffer keeps its bytes while it moves")
{
    dpg_buf b;

    dpg_buf_init_secret(&b, 100000);
    for (int i = 0; i < 10000; i++) REQUIRE(dpg_buf_printf(&b, "%04d,", i));
    CHECK_INT(b.len, 50000);
    CHECK_MEM(b.ptr, 10, "0000,0001,", 10);
    CHECK_MEM(b.ptr + 49995, 6, "9999,", 6);
    dpg_buf_clear(&b);
    CHECK(b.secret);
}

TEST("printf appends behind what is there")
{
    dpg_buf b;

    dpg_buf_init(&b, 64);
    CHECK(dpg_buf_puts(&b, "a "));
    CHECK(dpg_buf_printf(&b, "%s %d", "b", 7));
    CHECK(dpg_buf_put_str(&b, DPG_LIT(" c\0d")));
    CHECK_MEM(b.ptr, b.len, "a b 7 c\0d", 9);
    dpg_buf_clear(&b);
}

TEST("a JSON string escapes quotes, backslashes and controls, and leaves UTF-8 alone")
{
    static const struct {
        const char *in;
        size_t len;
        const char *out;
    } cases[] = {
        {"", 0, "\"\""},
        {"plain", 5, "\"plain\""},
        {"\"", 1, "\"\\u0022\""},
        {"\\", 1, "\"\\u005c\""},
        {"a\nb", 3, "\"a\\u000ab\""},
        {"\0", 1, "\"\\u0000\""},
        {"\x1f\x20\x7f", 3, "\"\\u001f \\u007f\""},
        {"caf\xc3\xa9", 5, "\"caf\xc3\xa9\""},
        {"/", 1, "\"/\""},
        {"\n\n", 2, "\"\\u000a\\u000a\""},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dpg_buf b;

        dpg_buf_init(&b, 100);
        CHECK(dpg_buf_put_json(&b, dpg_str_of(cases[i].in, cases[i].len)));
        CHECK_STR(b.ptr, cases[i].out);
        dpg_buf_clear(&b);
    }
}

TEST("a NULL view is written as an empty JSON string")
{
    dpg_buf b;

    dpg_buf_init(&b, 100);
    CHECK(dpg_buf_put_json(&b, dpg_str_of(NULL, 0)));
    CHECK_STR(b.ptr, "\"\"");
    dpg_buf_clear(&b);
}

/* --- memory -------------------------------------------------------------------------------------------------------- */

TEST("a product that overflows is refused")
{
    volatile size_t huge = SIZE_MAX / 2; /* volatile: or the compiler says so first */

    CHECK_NULL(dpg_calloc(huge, 3));
    CHECK_NULL(dpg_calloc(3, huge));
}

TEST("nothing at all can be allocated, wiped and freed")
{
    void *p = dpg_malloc(0);

    CHECK(p != NULL);
    dpg_free(p);
    dpg_free(NULL);
    dpg_free_secret(NULL, 0);
    dpg_wipe(NULL, 0);
}

TEST("wiping leaves zeroes")
{
    char secret[] = "hunter2", zeroes[sizeof secret] = {0};

    dpg_wipe(secret, sizeof secret);
    CHECK_MEM(secret, sizeof secret, zeroes, sizeof zeroes);
}

TEST("a copy is terminated and keeps its NULs")
{
    char *copy = dpg_strndup(DPG_LIT("a\0b"));

    REQUIRE(copy);
    CHECK_MEM(copy, 4, "a\0b", 4);
    dpg_free(copy);
    copy = dpg_strndup(dpg_str_of(NULL, 0));
    CHECK_STR(copy, "");
    dpg_free(copy);
    CHECK_NULL(dpg_strndup(dpg_str_of("", SIZE_MAX)));
}

/* --- views --------------------------------------------------------------------------------------------------------- */

TEST("views are equal by their bytes")
{
    static const struct {
        dpg_str a, b;
        bool same, nocase;
    } cases[] = {
        {{"", 0}, {NULL, 0}, true, true},
        {{"a", 1}, {"a", 1}, true, true},
        {{"a", 1}, {"A", 1}, false, true},
        {{"a", 1}, {"ab", 2}, false, false},
        {{"a\0b", 3}, {"a\0b", 3}, true, true},
        {{"a\0b", 3}, {"a\0c", 3}, false, false},
        {{"Retry-After", 11}, {"retry-aFTER", 11}, false, true},
        {{"[", 1}, {"{", 1}, false, false}, /* 0x20 apart, and no letters */
        {{"@", 1}, {"`", 1}, false, false},
        {{"\xc4", 1}, {"\xe4", 1}, false, false}, /* ASCII only */
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_INT(dpg_str_eq(cases[i].a, cases[i].b), cases[i].same);
        CHECK_INT(dpg_str_eq_secret(cases[i].a, cases[i].b), cases[i].same);
        CHECK_INT(dpg_str_eq_nocase(cases[i].a, cases[i].b), cases[i].nocase);
    }
}

TEST("secrets that differ in any one bit are told apart")
{
    char a[33], b[33];

    memset(a, 'k', sizeof a);
    for (size_t bit = 0; bit < 8 * sizeof a; bit++) {
        memcpy(b, a, sizeof b);
        b[bit / 8] = (char)(b[bit / 8] ^ 1 << bit % 8);
        CHECK(!dpg_str_eq_secret(dpg_str_of(a, sizeof a), dpg_str_of(b, sizeof b)));
    }
    CHECK(dpg_str_eq_secret(dpg_str_of(a, sizeof a), dpg_str_of(a, sizeof a)));
}

TEST("the view of a C string, and of none")
{
    CHECK_INT(dpg_cstr("abc").len, 3);
    CHECK_INT(dpg_cstr(NULL).len, 0);
    CHECK(dpg_cstr(NULL).ptr != NULL);
}

/* --- errors -------------------------------------------------------------------------------------------------------- */

TEST("failing fills the error and returns its status")
{
    dpg_error err;

    memset(&err, 'x', sizeof err);
    CHECK_INT(dpg_fail(&err, DPG_E_CLOSED, DPG_KIND_USAGE, "closed", "the engine %s is closed", "E"), DPG_E_CLOSED);
    CHECK_INT(err.status, DPG_E_CLOSED);
    CHECK_INT(err.kind, DPG_KIND_USAGE);
    CHECK_STR(err.code, "closed");
    CHECK_STR(err.message, "the engine E is closed");
    CHECK_STR(err.reason, "");
    CHECK_INT(err.retry_after_ms, -1);
    CHECK_INT(dpg_fail(NULL, DPG_E_INVALID, DPG_KIND_USAGE, "x", "y"), DPG_E_INVALID);
}

TEST("a message that is too long is cut off")
{
    char text[1000];
    dpg_error err;

    memset(text, 'm', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    dpg_fail(&err, DPG_E_SYSTEM, DPG_KIND_NETWORK, text, "%s", text);
    CHECK_INT(strlen(err.message), sizeof err.message - 1);
    CHECK_INT(strlen(err.code), sizeof err.code - 1);
}

TEST("each kind and each event has a name")
{
    CHECK_STR(dpg_kind_name(DPG_KIND_USAGE), "usage");
    CHECK_STR(dpg_kind_name(DPG_KIND_STORAGE), "storage");
    CHECK_STR(dpg_kind_name((dpg_kind)99), "unknown");
    CHECK_STR(dpg_event_name(DPG_EVENT_START), "start");
    CHECK_STR(dpg_event_name(DPG_EVENT_SIGNED_OUT), "signed_out");
    CHECK_STR(dpg_event_name((dpg_event)99), "unknown");
}

/* --- digests ------------------------------------------------------------------------------------------------------- */

static void hex_of(const void *bytes, size_t len, char out[65])
{
    uint8_t digest[32];

    dpg_sha256(bytes, len, digest);
    for (size_t i = 0; i < 32; i++) snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

TEST("SHA-256 agrees with the examples of FIPS 180-4")
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
        {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrst"
         "nopqrstu",
         "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    };
    char out[65], *million;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hex_of(cases[i].in, strlen(cases[i].in), out);
        CHECK_STR(out, cases[i].out);
    }
    REQUIRE((million = malloc(1000000)));
    memset(million, 'a', 1000000);
    hex_of(million, 1000000, out);
    CHECK_STR(out, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

TEST("SHA-256 is right around the ends of its blocks")
{
    static const struct {
        size_t len;
        const char *out;
    } cases[] = {
        {1, "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"},
        {54, "45f316e10b2c99abf374b22bda893cf3300d77263f1e272349ed414680522952"},
        {55, "d5e285683cd4efc02d021a5c62014694958901005d6f71e89e0989fac77e4072"},
        {56, "04c26261370ee7541549d16dee320c723e3fd14671e66a099afe0a377c16888e"},
        {57, "ae14a2563ccf969d99aca69ce6bb74981f734bbf9f655f73b8f06db68cab5217"},
        {63, "75220b47218278e656f2013bb8f0c455a25eaf01e86c64924e9d48d89776d6f2"},
        {64, "7ce100971f64e7001e8fe5a51973ecdfe1ced42befe7ee8d5fd6219506b5393c"},
        {65, "9537c5fdf120482f7d58d25e9ed583f52c02b4e304ea814db1633ad565aed7e9"},
        {119, "000b48d4edf0fa7bee3c6236ecd2785baa5db4eeb8bb54341b029e0d9fa5fb0c"},
        {120, "13f05a0b594787f5ecd315edc96141bd3243203d1b7d4f0836f37308b276ba98"},
        {127, "70156a14adbabf98cff3a71c7084b417abf057a8efd27329ca36b7202c87d81f"},
        {128, "24da1b81d0b16df6428eee73c69fcb2a93c76bc6df706f0c6670fe6bfe800464"},
        {129, "0ec9eb33e74510bcdd1f2ea55206e82f21649c5c2becbf2b433eb475b34c01bd"},
    };
    char text[200], out[65];

    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hex_of(text, cases[i].len, out);
        CHECK_STR(out, cases[i].out);
    }
}

TEST("a digest is the first sixteen hex digits")
{
    char out[17];

    dpg_digest_hex(DPG_LIT("abc"), out);
    CHECK_STR(out, "ba7816bf8f01cfea");
}

CHECK_MAIN()
