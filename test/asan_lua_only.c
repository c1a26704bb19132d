/*
 * Preloaded beside the address sanitizer when specs run under it (test/run). The sanitizer gets into every process
 * that a spec starts, as the environment is inherited; leaks are our business in a Lua only, not in mktemp, which
 * leaves its memory to the system.
 */
#include <errno.h>
#include <string.h>

void __lsan_disable(void); /* sanitizer/lsan_interface.h: what this thread allocates from now on is no leak */

__attribute__((constructor)) static void look_away(void)
{
    if (strncmp(program_invocation_short_name, "lua", 3) != 0) __lsan_disable();
}
