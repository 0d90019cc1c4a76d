/* SPDX-License-Identifier: MIT */
/*
 * operator new in its eight forms, in C under the names that the C++ ABI gives
 * them, so that no C++ library is needed unless the program brings it.
 *
 * Only success is ours.  When there is no memory, the C++ library's own
 * operator of the same name takes over: it comes back into our malloc(), calls
 * the new-handler, and throws or catches as its form has to, which C cannot.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

#include "labyrinth.h"

#define EXPORT __attribute__((visibility("default")))
#define SLOW   __attribute__((noinline, cold))
/* libstdc++'s aligned forms add to the size before they look at it */
#define CLAMP(size) ((size) > PTRDIFF_MAX ? (size_t)PTRDIFF_MAX : (size))

/*
 * The next definition of a symbol, or that of a C++ library loaded RTLD_LOCAL.
 * Found ahead where handlers run in atomic sections: in one, nobody should wait
 * for the loader's lock.
 */
static void *theirs(void *found_before, const char *name)
{
	static const char *const libraries[] = { "libstdc++.so.6", "libc++.so.1" };
	void *found = found_before ? found_before : dlsym(RTLD_NEXT, name), *library;
	size_t i;

	for (i = 0; !found && i < sizeof(libraries) / sizeof(*libraries); i++) {
		library = dlopen(libraries[i], RTLD_LAZY | RTLD_NOLOAD);
		if (library)
			found = dlsym(library, name);
	}
	if (!found)
		abort();
	return found;
}

/* a form with these parameters: ours, then on failure theirs */
#define FORM(name, alloc, params, args)                                                            \
	EXPORT void *name params;                                                                  \
	static void *found##name;                                                                  \
	SLOW static void *slow##name params                                                        \
	{                                                                                          \
		void *(*form)params = (void *(*)params)theirs(found##name, #name);                 \
                                                                                                   \
		size = CLAMP(size);                                                                \
		return form args;                                                                  \
	}                                                                                          \
	void *name params                                                                          \
	{                                                                                          \
		void *ptr = alloc;                                                                 \
                                                                                                   \
		return __builtin_expect(ptr != NULL, 1) ? ptr : slow##name args;                   \
	}

#define PLAIN(name) FORM(name, labyrinth_heap_malloc(size), (size_t size), (size))
#define NOTHROW(name)                                                                              \
	FORM(name, labyrinth_heap_malloc(size), (size_t size, const void *tag), (size, tag))
#define ALIGNED(name)                                                                              \
	FORM(name, labyrinth_heap_memalign(align, size), (size_t size, size_t align), (size, align))
#define ALIGNED_NOTHROW(name)                                                                      \
	FORM(name, labyrinth_heap_memalign(align, size),                                           \
	     (size_t size, size_t align, const void *tag), (size, align, tag))

PLAIN(_Znwm)
PLAIN(_Znam)
NOTHROW(_ZnwmRKSt9nothrow_t)
NOTHROW(_ZnamRKSt9nothrow_t)
ALIGNED(_ZnwmSt11align_val_t)
ALIGNED(_ZnamSt11align_val_t)
ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t)
ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t)

/* labyrinth_find_operators() - for who will need them in a handler; see signals.c */
__attribute__((visibility("hidden"))) void labyrinth_find_operators(void);
void labyrinth_find_operators(void)
{
#define FIND(name) found##name = dlsym(RTLD_NEXT, #name)
	FIND(_Znwm);
	FIND(_Znam);
	FIND(_ZnwmRKSt9nothrow_t);
	FIND(_ZnamRKSt9nothrow_t);
	FIND(_ZnwmSt11align_val_t);
	FIND(_ZnamSt11align_val_t);
	FIND(_ZnwmSt11align_val_tRKSt9nothrow_t);
	FIND(_ZnamSt11align_val_tRKSt9nothrow_t);
}
