/* SPDX-License-Identifier: MIT */
/* Files for dumps, plain memory beside all zones. */
#ifndef LAB_OS_FILE_H
#define LAB_OS_FILE_H

#include "base/word.h"

/**
 * lab_os_reserve() - zero memory somewhere, resident where it is touched
 *
 * Not charged in advance (MAP_NORESERVE), but address space counts at once.
 * Return: 0 or -errno.
 */
LAB_NODISCARD int lab_os_reserve(size_t bytes, uintptr_t *addr);

/** lab_os_open_input() - open a file to read; -errno; no cancellation point */
int lab_os_open_input(const char *path);

/** lab_os_open_output() - open a file to write, made if there is none; closed on exec
 * @anew: what it holds goes; else all is written at its end
 *
 * Return: a descriptor, or -errno.
 */
int lab_os_open_output(const char *path, bool anew);

/** lab_os_close(), lab_os_read(), lab_os_write() - as the system calls; -errno */
void lab_os_close(int fd);
long lab_os_read(int fd, void *to, size_t bytes);
long lab_os_write(int fd, const void *from, size_t bytes);

/** lab_os_task_name() - the calling thread's name, as prctl(2) has it; @name: 16 bytes */
void lab_os_task_name(char *name);

#endif /* LAB_OS_FILE_H */
