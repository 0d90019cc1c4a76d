/* SPDX-License-Identifier: MIT */
/*
 * Requests that fail on purpose: should_fail_ex(), lib/fault-inject.c, with
 * mm/fail_page_alloc.c and mm/failslab.c in front of it.
 */
#ifndef LAB_DIAG_FAULT_H
#define LAB_DIAG_FAULT_H

#include "base/export_fault.h"
#include "diag/watch.h"

/* the largest seed that the option fail_seed takes, see api/option_keys.h */
#define LAB_FAULT_SEED_MAX ((1ull << 40) - 1)

/* the attributes, which others write too: each word by itself */
extern LAB_HIDDEN struct lab_export_fault lab_fault;

/**
 * lab_fault_init() - begin the random numbers; @seed 0: at random
 *
 * Context: from the constructor, or again at any time: wait-free.
 */
void lab_fault_init(uint64_t seed);

/**
 * lab_fault_refuses() - shall this request fail
 *
 * Counts it (LAB_EV_FAULT_INJECTED, and in its attributes) and leaves a message,
 * at once if the request may wait, else deferred, see gfp/warn.h.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  No system call unless it may wait.
 */
bool lab_fault_refuses(const struct lab_request *request);

/** lab_fault_nth() - the calling thread's fail-nth; lab_fault_marked() - make-it-fail */
lab_word_t *lab_fault_nth(void);
lab_word_t *lab_fault_marked(void);

#endif /* LAB_DIAG_FAULT_H */
