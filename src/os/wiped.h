/* SPDX-License-Identifier: MIT */
/*
 * Words that fork() wipes: in a child they read as zero, whatever they held.  So
 * they tell of what the threads of this process are at, and none else; and fork()
 * does not write-protect them, so an atomic request may write here at any time.
 */
#ifndef LAB_OS_WIPED_H
#define LAB_OS_WIPED_H

#include "base/word.h"

#define LAB_WIPED_EVENTS 64

struct lab_wiped {
	lab_word_t drain;  /* 1: a thread works on the stacks of other CPUs, lab_rseq_claim() */
	lab_word_t kswapd; /* the refiller's thread, gfp/kswapd.c */
	/* of the failure report, gfp/warn.c */
	lab_word_t warn_pending;	     /* nonzero: records wait in the ring */
	lab_word_t warn_quiet_until;	     /* ms: failures */
	lab_word_t warn_stalled_until;	     /* ms: stalls */
	lab_word_t warn_missed;		     /* reports held back since the last one */
	lab_word_t resize;		     /* 1: a thread changes the size of the reserve */
	lab_word_t fault_quiet_until;	     /* ms: faults, diag/fault.h */
	lab_word_t events[LAB_WIPED_EVENTS]; /* page/event.h */
	char rest[LAB_PAGE_BYTES - (8 + LAB_WIPED_EVENTS) * sizeof(lab_word_t)];
};
static_assert(sizeof(struct lab_wiped) == LAB_PAGE_BYTES, "a page is wiped as a whole");

extern LAB_HIDDEN struct lab_wiped lab_wiped;

/**
 * lab_wiped_init() - have the kernel wipe them; before they are written
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.  One madvise(2) in the life of a process.
 * Return:  false: this kernel (before 4.14) or a sandbox refuses; do not write them.
 */
bool lab_wiped_init(void);

#endif /* LAB_OS_WIPED_H */
