/* SPDX-License-Identifier: MIT */
/*
 * Requests that fail on purpose, as the kernel's lib/fault-inject.c with
 * fail_page_alloc, failslab and fail-nth; Documentation/fault-injection/.
 */
#ifndef LABYRINTH_FAULT_H
#define LABYRINTH_FAULT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum labyrinth_fault {
	LABYRINTH_FAIL_PAGE_ALLOC, /* pages by flags; mm/fail_page_alloc.c */
	LABYRINTH_FAILSLAB,	   /* malloc() and its family, labyrinth_malloc(); mm/failslab.c */
	LABYRINTH_NR_FAULTS
};

/**
 * struct labyrinth_fault_attr - which requests fail; the kernel's names and rules
 *
 * A request fails if all say so, in this order: the filters (min_order,
 * __GFP_NOFAIL, ignore_gfp_*), task_filter, times, space, interval, probability.
 * At first a process has those of the kernel: interval 1, times 1, verbose 2,
 * min_order 1, both ignore_gfp_* 1, all others 0.
 */
struct labyrinth_fault_attr {
	uint64_t probability;	     /* per cent, 0 .. 100; 0: none but fail-nth */
	uint64_t interval;	     /* only each so many-th request may fail; 0 is as 1 */
	int64_t times;		     /* how many may fail; -1: no limit */
	int64_t space;		     /* pages, or bytes of objects, that succeed at first */
	uint64_t verbose;	     /* 0: silent; 1: a message; 2: with the stack (trace:1) */
	uint64_t task_filter;	     /* 1: only threads that labyrinth_make_it_fail() names */
	uint64_t ignore_gfp_wait;    /* 1: none with __GFP_DIRECT_RECLAIM: not malloc() */
	uint64_t ignore_gfp_highmem; /* 1: none with __GFP_HIGHMEM */
	uint64_t min_order;	     /* of pages: none below it */
	uint64_t injected;	     /* requests that failed so far; cannot be set */
};

/**
 * labyrinth_fault_get() - read the attributes
 *
 * Context: MT-Safe, AS-Safe.  Wait-free, no system call.
 * Return:  0, or -EINVAL: no such fault.
 */
int labyrinth_fault_get(enum labyrinth_fault fault, struct labyrinth_fault_attr *attr);

/**
 * labyrinth_fault_set() - change the attributes
 * @attr: all of them; injected is passed over
 *
 * From the first call on, all requests of the process take the slow path, for good.
 * Requests under way in other threads may see some old and some new attributes.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free, no system call.
 * Return:  0, or -EINVAL: no such fault, or a value out of range; nothing changed.
 */
int labyrinth_fault_set(enum labyrinth_fault fault, const struct labyrinth_fault_attr *attr);

/**
 * labyrinth_fault_setup() - set four of them by text, as the kernel's boot parameter
 * @text: "interval/probability/space/times"; commas will do as well
 *
 * Context: as labyrinth_fault_set().
 * Mirrors: setup_fault_attr(), lib/fault-inject.c.  Differs: 0 is success.
 * Return:  0, or -EINVAL; nothing changed.
 */
int labyrinth_fault_setup(enum labyrinth_fault fault, const char *text);

/**
 * labyrinth_fault_seed() - where the random numbers of probability begin
 *
 * The same requests with the same seed fail at the same places.  At first it is
 * random; messages name it.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free, no system call.
 */
void labyrinth_fault_seed(uint64_t seed);

/**
 * labyrinth_fail_nth() - let the @n-th request of the calling thread fail, once
 * @n: counts requests that pass the filters, from 1; 0: none
 *
 * It fails whatever the other attributes say.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free, no system call.  Handlers count as the
 *          thread that they interrupt; the kernel's interrupts do not count.
 * Mirrors: /proc/self/task/TID/fail-nth.
 */
void labyrinth_fail_nth(unsigned int n);

/** labyrinth_fail_nth_left() - 0: it has failed, or there is none; requests to go */
unsigned int labyrinth_fail_nth_left(void);

/**
 * labyrinth_make_it_fail() - is the calling thread one that task_filter lets fail
 *
 * Context: MT-Safe, AS-Safe.  Wait-free, no system call.  A child of fork() inherits
 *          it, a new thread does not.
 * Mirrors: /proc/self/make-it-fail.
 * Return:  what it was, 0 or 1.
 */
int labyrinth_make_it_fail(int on);

#ifdef __cplusplus
}
#endif

#endif /* LABYRINTH_FAULT_H */
