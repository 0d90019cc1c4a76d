/* SPDX-License-Identifier: MIT */
/*
 * For programs that misuse the heap on purpose: aim() tells check_misuse.sh on
 * stdout which process is about to misuse which address, and hides the address
 * from the compiler's warnings.
 */
#ifndef TESTS_MISUSE_H
#define TESTS_MISUSE_H

#define _GNU_SOURCE
#include "labyrinth.h"

#include <malloc.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Absent without Labyrinth; have_page_api() ends the program then. */
extern __typeof__(labyrinth_alloc_pages) labyrinth_alloc_pages __attribute__((weak));
extern __typeof__(labyrinth_alloc_page) labyrinth_alloc_page __attribute__((weak));
extern __typeof__(labyrinth_free_pages) labyrinth_free_pages __attribute__((weak));
extern __typeof__(labyrinth_free_page) labyrinth_free_page __attribute__((weak));
extern __typeof__(labyrinth_malloc) labyrinth_malloc __attribute__((weak));

#define EXIT_NO_API 77

static inline void have_page_api(void)
{
	if (!labyrinth_alloc_pages || !labyrinth_free_pages || !labyrinth_free_page)
		_exit(EXIT_NO_API);
}

/* what is freed lies on the stack of a CPU: stay on it */
static inline void stay_here(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(sched_getcpu(), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static inline void *hide(void *ptr)
{
	void *volatile hidden = ptr;

	return hidden;
}

static inline void *aim(void *ptr)
{
	dprintf(1, "%d %p\n", getpid(), ptr);
	return hide(ptr);
}

static inline void *get(size_t size)
{
	void *block = hide(malloc(size));

	if (!block)
		_exit(1);
	memset(block, 0x5a, size);
	return block;
}

/* a block from the reserve */
static inline void *get_atomic(size_t size)
{
	void *block;

	if (!labyrinth_malloc)
		_exit(EXIT_NO_API);
	block = hide(labyrinth_malloc(size, LABYRINTH_GFP_ATOMIC));
	if (!block)
		_exit(1);
	memset(block, 0x5a, size);
	return block;
}

#endif /* TESTS_MISUSE_H */
