/* SPDX-License-Identifier: MIT */
/*
 * The failure report; warn_alloc(), mm/page_alloc.c.  A request that may not
 * make system calls leaves a record in a ring of fixed size; the next ordinary
 * call, or the refiller's thread, writes it.
 */
#ifndef LAB_GFP_WARN_H
#define LAB_GFP_WARN_H

#include "base/word.h"
#include "labyrinth.h"

/**
 * lab_warn_alloc() - a page request failed
 *
 * Writes at once if @gfp may wait (and we are in no atomic section), else leaves
 * a record.  One report each 10 s; none with __GFP_NOWARN.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free; no system call unless @gfp may wait.
 */
void lab_warn_alloc(labyrinth_gfp_t gfp, unsigned int order);

/** lab_warn_stall() - a request has been waiting for so many seconds; at once */
void lab_warn_stall(labyrinth_gfp_t gfp, unsigned int order, uint64_t seconds);

/** lab_warn_once() - one line, deferred like a report unless @gfp may wait
 * @text: a literal: what is wrong and what was done about it
 */
void lab_warn_once(lab_word_t *done, labyrinth_gfp_t gfp, unsigned int order, const char *text);

/* Nonzero: records wait in the ring. */
extern LAB_HIDDEN lab_word_t lab_warn_pending;

/** lab_warn_flush() - write what waits; returns how many; from ordinary calls only */
unsigned int lab_warn_flush(void);

#endif /* LAB_GFP_WARN_H */
