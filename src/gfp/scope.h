/* SPDX-License-Identifier: MIT */
/*
 * Atomic sections of a thread; PF_MEMALLOC and its kind, include/linux/sched/mm.h.
 *
 * There are two kinds.  An explicit section lasts from labyrinth_gfp_save() to
 * labyrinth_gfp_restore().  A handler's lasts as long as the frame that called
 * the handler: whoever is above that frame, on another stack, or another process,
 * is not in it any more.  An explicit one opened inside a handler ends with it.
 */
#ifndef LAB_GFP_SCOPE_H
#define LAB_GFP_SCOPE_H

#include "base/word.h"

/*
 * Nonzero once this process has had a section, and then for good: malloc()'s hot
 * path is closed (lab_hot_close()).  So whoever has none pays for none, and there
 * is no count that an abandoned handler could leave wrong.
 */
extern LAB_HIDDEN lab_word_t lab_scope_used;

/*
 * The thread's innermost section: 0; 1, an explicit one; or the address of a
 * handler's and tags, see scope.c.  @low bounds that one's stack.  Handlers put
 * both back as they found them, so the code that they interrupt need not care.
 */
struct lab_scope {
	uintptr_t word;
	uintptr_t low;
};
extern LAB_HIDDEN __thread volatile struct lab_scope lab_scope;

/** lab_scope_look() - the answer for a thread that has opened a section */
bool lab_scope_look(void);

/**
 * lab_scope_is_atomic() - is the calling thread inside an atomic section
 *
 * Ends, on the way, a section whose handler has been left by a jump or by fork().
 * Reads no thread-local storage before there was a section: it may be called
 * before our relocations are done.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.  No system call.
 */
static LAB_ALWAYS_INLINE bool lab_scope_is_atomic(void)
{
	return LAB_UNLIKELY(lab_word_get(&lab_scope_used)) && LAB_UNLIKELY(lab_scope.word) &&
	       lab_scope_look();
}

/**
 * lab_scope_prepare() - let sections of handlers tell a child of fork()
 *
 * Context: once, from the constructor.  A system call (madvise).  Where it is
 *          refused (before Linux 4.14) such a section goes on in the child.
 */
void lab_scope_prepare(void);

#endif /* LAB_GFP_SCOPE_H */
