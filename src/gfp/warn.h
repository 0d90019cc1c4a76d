/* SPDX-License-Identifier: MIT */
/*
 * The failure report; warn_alloc(), mm/page_alloc.c.  A request that may not
 * make system calls leaves a record in a ring of fixed size; the next ordinary
 * call, or the refiller's thread, writes it.
 *
 * A report begins with the kernel's line, behind the prefix of all our messages:
 *
 *   labyrinth[1234]: redis-server: page allocation failure: order:0, mode:0x820(GFP_ATOMIC), ...
 *
 * so that what searches for "page allocation failure: order:" finds both.  It
 * ends in tid= if it was written at once.  If it was deferred: in thread= (the
 * number of a thread costs a system call; pthread_self() does not) and ago=.
 * Then the stack, if liblabyrinth-trace.so is loaded, and a line per zone with
 * the figures of the moment of failure; free_pcp is that of the writing.
 *
 * The ring lies in memory that the kernel wipes in a child of fork(): a record
 * is written once, by the process in which the request failed.
 */
#ifndef LAB_GFP_WARN_H
#define LAB_GFP_WARN_H

#include "base/word.h"
#include "gfp/scope.h"
#include "labyrinth.h"
#include "os/wiped.h"

/**
 * lab_warn_init() - map the ring and touch it
 *
 * Before it, or if there is no memory, deferred reports are lost and counted.
 *
 * Context: once, from the constructor.  System calls.
 */
void lab_warn_init(void);

/**
 * lab_warn_alloc() - a page request failed
 *
 * Counts it by its class (LAB_EV_FAIL_KERNEL to LAB_EV_FAIL_ORDER), always.
 * Writes at once if @gfp may wait (and we are in no atomic section), else leaves
 * a record.  One report each 10 s; none with __GFP_NOWARN.
 *
 * Each failure without __GFP_NOWARN ends in one of LAB_EV_WARN (when written),
 * LAB_EV_WARN_SUPPRESSED and LAB_EV_WARN_LOST.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free; no system call unless @gfp may wait.
 */
void lab_warn_alloc(labyrinth_gfp_t gfp, unsigned int order);

/**
 * lab_warn_stall() - a request has been waiting for so many seconds; at once
 *
 * Counts LAB_EV_STALL, always; one report each 10 s, none with __GFP_NOWARN.
 */
void lab_warn_stall(labyrinth_gfp_t gfp, unsigned int order, uint64_t seconds);

/* A request that failed on purpose, diag/fault.h. */
struct lab_warn_fault {
	const char *name;
	uint64_t interval, probability, space, times; /* UINT64_MAX: -1 */
	uint64_t bytes;				      /* asked for */
	uint64_t seed;
};

/**
 * lab_warn_fault() - "FAULT_INJECTION: forcing a failure", one each 10 s
 * @with_stack: where liblabyrinth-trace.so is loaded
 *
 * Mirrors: fail_dump(), lib/fault-inject.c.
 */
void lab_warn_fault(labyrinth_gfp_t gfp, const struct lab_warn_fault *fault, bool with_stack);

/**
 * lab_warn_once() - one line, deferred like a report unless @gfp may wait
 * @done: 0 at first; 1 once the line is said or sure to be
 * @text: a literal: what is wrong and what was done about it
 */
void lab_warn_once(lab_word_t *done, labyrinth_gfp_t gfp, unsigned int order, const char *text);

/* Nonzero: records wait in the ring. */
#define lab_warn_pending (lab_wiped.warn_pending)

/**
 * lab_warn_flush() - write what waits
 *
 * Flushers need not wait for each other: each record is written by one of
 * them.  A record that its writer has abandoned (left by siglongjmp(), or
 * its thread is frozen) is given up after 60 s and counted as lost.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  write(2), so for ordinary calls only.
 * Errno:   preserved.
 * Order:   acquires [warn.slot], [warn.pending].
 * Return:  how many records it wrote.
 */
unsigned int lab_warn_flush(void);

/** lab_warn_poll() - write what waits, if anything does: for ordinary slow paths */
static inline void lab_warn_poll(void)
{
	if (LAB_UNLIKELY(lab_word_get(&lab_warn_pending)) && !lab_scope_is_atomic())
		(void)lab_warn_flush();
}

/* ms between reports, seconds until a record is given up; variables for tests */
extern LAB_HIDDEN lab_word_t lab_warn_interval_ms, lab_warn_stuck_s;

#endif /* LAB_GFP_WARN_H */
