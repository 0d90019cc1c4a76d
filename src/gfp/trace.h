/* SPDX-License-Identifier: MIT */
/*
 * What the library and liblabyrinth-trace.so have in common.  The object
 * unwinds stacks with libunwind; the library needs libc alone and knows it by
 * this table, which the object's constructor hands over.
 */
#ifndef LAB_GFP_TRACE_H
#define LAB_GFP_TRACE_H

#include <stdint.h>

#define LABYRINTH_TRACE_VERSION 2u

/* stacks kept for records that wait; one for each slot of the ring of gfp/warn.c */
#define LABYRINTH_TRACE_SLOTS 8u

/* receives one line of text, without the newline */
typedef void labyrinth_trace_put_fn(void *arg, const char *line);

struct labyrinth_trace {
	unsigned int version; /* LABYRINTH_TRACE_VERSION */
	unsigned int slots;   /* LABYRINTH_TRACE_SLOTS or more */

	/*
	 * Keep the caller's registers and the top of its stack for print().
	 * Context: AS-Safe, wait-free, no system call, no lock; reads nothing
	 * that might not be mapped; writes memory that is resident.
	 */
	void (*capture)(unsigned int slot);

	/*
	 * The stack that capture() kept, the innermost frame first, as the kernel
	 * prints it: " function+0x12/0x34", " [<object>+0x12]".
	 * Context: AS-Safe, non-blocking; system calls (reads the symbol tables).
	 */
	void (*print)(unsigned int slot, labyrinth_trace_put_fn *put, void *arg);

	/* The caller's own stack, at once; all else as print(). */
	void (*print_here)(labyrinth_trace_put_fn *put, void *arg);

	/*
	 * The caller's return addresses, the innermost first, without those of the
	 * library.  A stack that cannot be followed is cut.
	 * Context: AS-Safe, lock-free.  Where code is met for the first time one
	 * context at a time learns how to step over it, with signals blocked (two
	 * system calls); the others have a cut stack meanwhile.
	 * Return:  how many, at most @max.
	 */
	unsigned int (*stack)(uintptr_t *ips, unsigned int max);

	/*
	 * What stack() has collected, a line for each as print() has them; with
	 * @bare the function's name, or else the object's and the offset in it.
	 * Context: as print().  While another context prints, addresses only.
	 */
	void (*name)(const uintptr_t *ips, unsigned int n, int bare, labyrinth_trace_put_fn *put,
		     void *arg);

	/* How often a stack was cut because another context was learning. */
	uint64_t (*cut)(void);
};

/**
 * labyrinth_trace_register() - failure reports have a stack from now on
 * @trace: stays where it is for the life of the process
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.
 * Return:  0, or -1: of another version; nothing is registered.
 */
int labyrinth_trace_register(const struct labyrinth_trace *trace);

#endif /* LAB_GFP_TRACE_H */
