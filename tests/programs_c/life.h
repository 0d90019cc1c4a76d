/* SPDX-License-Identifier: MIT */
/*
 * The ledger of life.c: blocks from every moment of a process, kept in a
 * library that is initialised before, and finished after, what is preloaded.
 *
 * life_visit() of a moment verifies the blocks of all moments before, frees or
 * moves some of each, and adds blocks of its own.  Any thread, any time; what
 * happens for each of many threads looks at a sample of the ledger only.
 */
#ifndef TESTS_LIFE_H
#define TESTS_LIFE_H

#include <stdint.h>

enum life_moment {
	LIFE_LIB_IFUNC, /* the library is relocated, what is preloaded is not yet */
	LIFE_IFUNC,	/* the program is relocated, no constructor has run */
	LIFE_PREINIT,	/* the first code of the program */
	LIFE_LIB_CONSTRUCTOR,
	LIFE_CONSTRUCTOR,
	LIFE_MAIN,
	LIFE_THREAD,
	LIFE_KEY_DESTRUCTOR,
	LIFE_TSS_DESTRUCTOR,
	LIFE_CXX_THREAD_EXIT,
	LIFE_PLUGIN_CONSTRUCTOR,
	LIFE_PLUGIN_DESTRUCTOR,
	LIFE_ATEXIT,
	LIFE_ON_EXIT,
	LIFE_DESTRUCTOR,
	LIFE_LIB_DESTRUCTOR, /* what is preloaded has been finished */
	LIFE_MOMENTS,
};

#define LIFE_SEEN(moment) (1u << (moment))

void life_visit(enum life_moment moment);

/* The moments that the process is to have seen when it ends; else it fails. */
void life_expect(unsigned int moments);

#endif
