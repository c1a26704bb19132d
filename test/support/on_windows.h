/*
 * What the tests use of POSIX, as Windows has it: modes mean nothing there, and a folder does for a pipe that stands where a
 * file should. For check.h alone.
 */
#ifndef ON_WINDOWS_H
#define ON_WINDOWS_H

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#ifdef _WIN32
#include <direct.h>

#define alarm(seconds) ((void)(seconds)) /* whoever runs the program sets the limit */
#define mkdir(path, mode) _mkdir(path)
#define mkfifo(path, mode) _mkdir(path)
#define setenv(name, value, over) _putenv_s(name, value)
#define unsetenv(name) _putenv_s(name, "")

static inline struct tm *gmtime_r(const time_t *at, struct tm *out)
{
    return gmtime_s(out, at) == 0 ? out : NULL;
}

#endif
#endif
