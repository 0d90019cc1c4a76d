/* SPDX-License-Identifier: MIT */
/*
 * Every distinct stack once, with figures of what was allocated there.  Mirrors
 * lib/stackdepot.c.  Stacks are never taken out, so a look-up needs no lock and
 * a handle stays good.  The memory is one mapping of a size that is known from
 * the start; what finds no room is counted.
 */
#ifndef LAB_DIAG_STACKDEPOT_H
#define LAB_DIAG_STACKDEPOT_H

#include "base/export_depot.h"
#include "base/word.h"

/* 0: no stack is known.  Else the place of the stack, in units of LAB_DEPOT_UNIT bytes. */
typedef uint32_t lab_stack_t;

extern LAB_HIDDEN struct lab_export_depot lab_depot;

/** lab_depot_word() - a word that readers outside know as a number */
static LAB_ALWAYS_INLINE lab_word_t *lab_depot_word(const uint64_t *word)
{
	return (lab_word_t *)(uintptr_t)word;
}

/**
 * lab_depot_init() - get the memory
 *
 * Context: MT-Safe, AS-Safe.  A system call; once is enough, twice does nothing.
 * Return:  0 or -ENOMEM.
 */
LAB_NODISCARD int lab_depot_init(void);

/**
 * lab_depot_save() - find a stack, or put it there
 * @ips: return addresses, the innermost first; @n of them, LAB_STACK_MAX at most
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  No system call; page faults.
 * Order:   releases [depot.head].
 * Return:  its handle; 0: no room.
 */
lab_stack_t lab_depot_save(const uintptr_t *ips, unsigned int n);

/** lab_depot_stack() - the stack of a handle that is not 0 */
struct lab_export_stack_sums *lab_depot_stack(lab_stack_t handle);

/**
 * lab_depot_each() - call @see for every stack
 *
 * Those that are put there meanwhile may be left out.
 * Context: MT-Safe, AS-Safe.  Wait-free but for @see.
 * Order:   acquires [depot.head].
 */
void lab_depot_each(void (*see)(const struct lab_export_stack_sums *stack, void *arg), void *arg);

#endif /* LAB_DIAG_STACKDEPOT_H */
