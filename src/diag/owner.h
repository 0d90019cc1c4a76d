/* SPDX-License-Identifier: MIT */
/*
 * Who has allocated what is in use: a record for each page, and for each object
 * that was sampled.  Mirrors mm/page_owner.c.
 *
 * Records lie in a table by address, two buckets of eight for each; nobody waits,
 * and what finds both full is counted, and not recorded.
 */
#ifndef LAB_DIAG_OWNER_H
#define LAB_DIAG_OWNER_H

#include "diag/stackdepot.h"
#include "diag/watch.h"

/* What a record says; a copy. */
struct lab_owner {
	uintptr_t address;
	uint64_t bytes, ns;
	lab_stack_t stack;
	uint32_t gfp;
	uint32_t pid, tgid; /* the thread, and the process, as the kernel numbers them */
	int16_t order;	    /* LAB_OBJECT: an object */
	bool sampled;	    /* it counts in the figures of its stack */
	char comm[16];
};

/** lab_owner_init() - get the memory for @records at most; 0 or -ENOMEM; system calls */
LAB_NODISCARD int lab_owner_init(size_t records);

/**
 * lab_owner_add() - @owner has it now; the figures of its stack follow
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  No system call; page faults.
 * Order:   releases [owner.key].
 */
void lab_owner_add(const struct lab_owner *owner);

/**
 * lab_owner_remove() - @address is given back
 * @order: that of pages, or LAB_OBJECT; of another order the record stays
 *
 * Context: as above; the caller owns what lies at @address.
 */
void lab_owner_remove(const void *address, int order);

/** lab_owner_split() - pages of one record get one each; mirrors split_page_owner() */
void lab_owner_split(const void *page, unsigned int order);

/** lab_owner_each() - call @see for every record that is not being changed
 *
 * Context: MT-Safe, AS-Safe.  Wait-free but for @see.
 * Order:   acquires [owner.key].
 */
void lab_owner_each(void (*see)(const struct lab_owner *owner, void *arg), void *arg);

/** lab_owner_lost() - how many found no room */
uint64_t lab_owner_lost(void);

#endif /* LAB_DIAG_OWNER_H */
