/* SPDX-License-Identifier: MIT */
/* Atomic sections of a thread; PF_MEMALLOC and its kind, include/linux/sched/mm.h. */
#ifndef LAB_GFP_SCOPE_H
#define LAB_GFP_SCOPE_H

#include "base/compiler.h"

/**
 * lab_scope_is_atomic() - is the calling thread inside an atomic section
 *
 * Ends, on the way, a section whose handler has been left by a jump or by fork().
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.  No system call.
 */
bool lab_scope_is_atomic(void);

#endif /* LAB_GFP_SCOPE_H */
