/* SPDX-License-Identifier: MIT */
/* Inside liblabyrinth-trace.so. */
#ifndef LAB_TRACE_TRACE_H
#define LAB_TRACE_TRACE_H

#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

#include "gfp/trace.h"

/* A stack as unwinding sees it. */
struct stack_view {
	uintptr_t ip, sp, bp, bx, r12, r13, r14, r15;
	const char *bytes; /* what lies at @sp: the stack itself or a copy */
	size_t len;
};

/* What is known of an address of code. */
struct place {
	char symbol[96];     /* "": unknown */
	uintptr_t off, size; /* in the symbol, bytes; without one, @off is that in the file */
	char object[48];     /* the file's name without directories; "": unknown */
	int is_program;	     /* the executable itself */
};

/**
 * stack_bound() - up to where the stack that @sp is on is certainly mapped
 *
 * Context: AS-Safe, wait-free, no system call.
 */
uintptr_t stack_bound(uintptr_t sp);

/** stack_learn() - find out where the stacks of this process lie; once, at start-up */
void stack_learn(void);

/** object_find() - the loaded object that @address lies in; -1: none; takes no lock */
int object_find(uintptr_t address, struct dl_find_object *found);

/** object_holds() - are so many bytes of a loaded object readable there */
int object_holds(uintptr_t address, size_t bytes);

/**
 * place_of() - name an address of code
 *
 * Reads the symbol table of the object's file.
 *
 * Context: inside unwind(); no lock, not a cancellation point; system calls.
 */
void place_of(uintptr_t address, struct place *place);

/**
 * unwind() - print a stack, the innermost frame first
 *
 * Context: one at a time; the others get one line instead.  AS-Safe, signals
 *          are blocked meanwhile.
 */
void unwind(const struct stack_view *view, labyrinth_trace_put_fn *put, void *arg);

/** unwind_init() - once, at start-up; -1: no memory */
int unwind_init(void);

#endif /* LAB_TRACE_TRACE_H */
