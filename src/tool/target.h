/* SPDX-License-Identifier: MIT */
/*
 * Another process that contains Labyrinth, and how its memory is read: by
 * process_vm_readv(2), without its help and without stopping it.
 */
#ifndef LAB_TOOL_TARGET_H
#define LAB_TOOL_TARGET_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/export.h"

struct target {
	pid_t pid;
	char comm[32];
	char object[256];	/* the file that contains the library */
	struct lab_export head; /* a copy; what is newer than we know is left out */
};

/**
 * target_open() - find the library in a process
 * @pid:   its number, as text
 * @quiet: print nothing: the caller asks many
 *
 * Return: TOOL_OK; or an exit code, and the message was printed on standard error.
 */
int target_open(struct target *target, const char *pid, bool quiet);

/** target_read() - copy @n bytes of its memory; false: they cannot be read */
bool target_read(const struct target *target, const void *at, void *to, size_t n);

/** target_gone() - say that it has ended, or cannot be read any more; returns the exit code */
int target_gone(const struct target *target);

/** target_state() - as in /proc/PID/stat, "RSDZT..."; 0: there is no such process */
char target_state(pid_t pid, unsigned long long *start_ticks);

/** target_rss_kb() - its resident memory; 0 if it is not known */
unsigned long target_rss_kb(pid_t pid);

#endif /* LAB_TOOL_TARGET_H */
