/*
 * Folders, files and processes for tests of what is on disk: a scratch folder that goes away with all that is in it,
 * and children whose failed checks count for the test that forked them.
 */
#ifndef FILES_H
#define FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base.h"

/* A new folder of ours (0700), up to four at once, for files_remove(). Dies when there is none to be had. */
char *files_scratch(void);
char *files_scratch_in_memory(void); /* the same on a disk of memory, where there is one: for thousands of fsyncs */
void files_remove(char *scratch);    /* with all that is in it, whatever its modes */

/* A path in a folder: in one of a few static buffers, good for the next dozen calls. */
const char *files_at(const char *folder, const char *name);

bool files_put(const char *path, const void *bytes, size_t len, int mode); /* false: errno says why */
bool files_get(const char *path, dpg_buf *out);                            /* appends; false: none, or unreadable */
bool files_is(const char *path, const void *bytes, size_t len);            /* it holds just that */
int files_mode(const char *path);                                          /* -1: nothing there */
int files_count(const char *folder, const char *part);                     /* names that hold `part`; "": all */
const char *files_find(const char *folder, const char *part);              /* the first such name's path, or NULL */

int files_descriptors(void); /* how many are open; -1: no telling here */

#ifndef _WIN32
/* Waits; how a child ended: its exit code, or -signal. */
int files_wait(pid_t child);
#endif

#endif
