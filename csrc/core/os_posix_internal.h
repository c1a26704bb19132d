/*
 * What os_posix.c and os_posix_file.c share: the calls that a signal may interrupt, and how errno becomes a fault. Nobody
 * else includes this.
 */
#ifndef DPG_OS_POSIX_INTERNAL_H
#define DPG_OS_POSIX_INTERNAL_H

#include "os.h"

#if defined(__GNUC__)
#pragma GCC visibility push(hidden)
#endif

dpg_os_trouble dpg_posix_fault(dpg_os_fault *fault, int number); /* an errno */
dpg_os_trouble dpg_posix_fault_of(dpg_os_fault *fault, dpg_os_trouble trouble, const char *text);

/* Each gives -1 and errno when it fails. */
int dpg_posix_open_at(int folder, const char *name, int flags, unsigned mode);
int dpg_posix_sync(int fd); /* what was written is on the disk itself, as far as the system can be made to */
int dpg_posix_sync_folder(int fd);
int dpg_posix_sync_parent(const char *path); /* a new name is durable only once the folder around it is */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#endif
