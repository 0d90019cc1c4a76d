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

/* registers of the function that it is put into; the return address is right here */
#define VIEW_HERE(view)                                                                            \
	__asm__ volatile("leaq 0(%%rip), %%rax\n\t"                                                \
			 "movq %%rax, %0\n\t"                                                      \
			 "movq %%rsp, %1\n\t"                                                      \
			 "movq %%rbp, %2\n\t"                                                      \
			 "movq %%rbx, %3\n\t"                                                      \
			 "movq %%r12, %4\n\t"                                                      \
			 "movq %%r13, %5\n\t"                                                      \
			 "movq %%r14, %6\n\t"                                                      \
			 "movq %%r15, %7"                                                          \
			 : "=m"((view)->ip), "=m"((view)->sp), "=m"((view)->bp), "=m"((view)->bx), \
			   "=m"((view)->r12), "=m"((view)->r13), "=m"((view)->r14),                \
			   "=m"((view)->r15)                                                       \
			 :                                                                         \
			 : "rax", "memory")

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

/** unwind_name() - see struct labyrinth_trace, name() */
void unwind_name(const uintptr_t *ips, unsigned int n, int bare, labyrinth_trace_put_fn *put,
		 void *arg);

/* How to get from a frame to its caller's. */
enum step_kind {
	STEP_END,   /* the outermost one, or not known */
	STEP_SP,    /* its end is @cfa bytes above the stack pointer */
	STEP_BP,    /* ... above the frame pointer */
	STEP_DEREF, /* ... what lies @cfa bytes above the frame pointer points there */
	STEP_SIGNAL /* the kernel made it; the registers lie in it */
};

struct step {
	enum step_kind kind;
	intptr_t cfa;
	intptr_t bp; /* where the caller's frame pointer is kept, from the end; 0: as it is */
};

/**
 * unwind_step() - ask libunwind how to step over the frame of code at @pc
 *
 * Context: one at a time.  AS-Safe, signals are blocked meanwhile.
 * Return:  0; -1: another context is inside.
 */
int unwind_step(uintptr_t pc, struct step *step);

/** frames_collect(), frames_cut() - see struct labyrinth_trace, stack(), cut() */
unsigned int frames_collect(uintptr_t *ips, unsigned int max);
uint64_t frames_cut(void);

/** frames_init() - once, at start-up; @library: an address in it, 0: unknown */
void frames_init(uintptr_t library);

/** unwind_init() - once, at start-up; -1: no memory */
int unwind_init(void);

#endif /* LAB_TRACE_TRACE_H */
