/* SPDX-License-Identifier: MIT */
/*
 * The explorer: a few threads run the library's own code, and every order in
 * which their atomic accesses can follow each other is tried.
 *
 * The library is compiled with -fsanitize=thread and linked with hooks of our
 * own (hooks.c) in place of libtsan: every access to memory calls one.  The
 * threads are coroutines of one thread (engine.c).  Before each atomic access a
 * coroutine stops, and the engine decides who goes on; plain accesses belong to
 * the atomic one before them.  All writes are logged, so that the engine can go
 * back to any state it has been in and let another thread go on there, and the
 * memory and stacks make a hash, so that no state is entered twice.
 *
 * What is checked:
 *   - what the scenario checks while it runs, and when all have ended
 *   - no report of the library (lab_bug())
 *   - from every state every thread comes to its end when it alone goes on: nobody
 *     waits for anybody (a cycle of states by steps of one thread is an error)
 *   - with --orders: plain accesses of two threads to the same word, one of them a
 *     write, are ordered by the releases and acquires in between (vector clocks)
 *
 * The exploration is sequentially consistent: what a weaker machine may reorder is
 * seen only as far as --orders sees it.
 */
#ifndef TESTS_EXPLORE_H
#define TESTS_EXPLORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EX_THREADS = 3 };

/* what a scenario notes for itself: its order is nobody's affair */
#define EX_BOOKS __attribute__((section("ex_books")))

struct ex_scenario {
	const char *name;
	/* before: once; whatever it does is where all executions begin */
	void (*setup)(void);
	/* the threads; NULL: none */
	void (*thread[EX_THREADS])(void);
	/* when all have ended; it may change what it likes, that is undone */
	void (*check)(void);
};

/* the last one has no name */
extern const struct ex_scenario ex_page_scenarios[], ex_object_scenarios[];

/* which of the threads we are; of a scenario's setup() and check(): 0 */
extern unsigned int ex_self;

/* the CPU that a thread finds itself on; 0 unless set up otherwise */
extern unsigned int ex_cpu[EX_THREADS];

/* what fork() does to memory that is wiped in a child; at once */
void ex_wipe(void);

/* how often it was called in all executions; for what may happen, but at one point alone */
unsigned int ex_note(void);

/* the system has no memory to map, from the end of setup() on */
extern bool ex_no_memory;

_Noreturn void ex_fail(const char *what, const char *file, int line);

#define ex_must(x)                                                                                 \
	do {                                                                                       \
		if (!(x))                                                                          \
			ex_fail(#x, __FILE__, __LINE__);                                           \
	} while (0)

/* ---- engine.c for hooks.c ---- */

/* true: a coroutine runs, accesses count */
extern bool ex_running;
/* true: writes are logged: exploration has begun */
extern bool ex_logging;
extern bool ex_orders;

/* before an atomic access: let the engine decide who goes on */
void ex_stop(uintptr_t where);
/* before memory that is not on a stack of ours is written */
void ex_log(const void *at, size_t bytes);
/* fold what was written since into the hash */
void ex_settle(void);
bool ex_is_stack(const void *at);

#endif
