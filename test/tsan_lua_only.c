/*
 * Preloaded beside the thread sanitizer when specs run under it (test/run): it is for this Lua, and not for the programs that
 * a spec starts, since shells die of it.
 */
#include <stdlib.h>

__attribute__((constructor)) static void keep_it(void)
{
    unsetenv("LD_PRELOAD");
}
