/* SPDX-License-Identifier: MIT */
/*
 * Objects that were freed wait before they are used again, filled with a pattern
 * that is looked at when they leave: mm/kasan/quarantine.c with the poison of
 * mm/slub.c.
 */
#ifndef LAB_DIAG_QUARANTINE_H
#define LAB_DIAG_QUARANTINE_H

#include "diag/watch.h"

#define LAB_POISON_FREE 0x6b /* include/linux/poison.h */
#define LAB_POISON_END	0xa5 /* the last byte */

/**
 * lab_quarantine_start() - keep up to @bytes of freed objects
 *
 * Context: from the constructor.  System calls.
 * Return:  0 or -ENOMEM: nothing is kept.
 */
int lab_quarantine_start(size_t bytes);

/**
 * lab_quarantine_put() - a freed object begins to wait
 * @ptr:   of a class not live any more, else live; while it waits it is free to all
 *         who ask, so that a second free is reported
 * @bytes: usable
 *
 * What is larger than the whole does not wait, and inside an atomic section nothing
 * does.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.  No system call.
 * Order:   releases [quarantine.slot].
 * Return:  the object to give back now, as it came in: @ptr, or NULL, or one that
 *          had to make room.
 */
void *lab_quarantine_put(void *ptr, size_t bytes);

/**
 * lab_quarantine_next() - an object whose time is over; NULL: none
 * @all: memory is short: the oldest one, whatever there is
 *
 * It is looked at; if somebody has written to it that is reported, and the process
 * ends.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.
 * Order:   acquires [quarantine.slot].
 */
void *lab_quarantine_next(bool all);

/** lab_quarantine_check() - at the end of the process: look at all that wait */
void lab_quarantine_check(void);

#endif /* LAB_DIAG_QUARANTINE_H */
