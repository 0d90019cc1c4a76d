/* SPDX-License-Identifier: MIT */
/*
 * The resident zones: the reserve and the exclusive zone.  Their frames are
 * in memory, writable without a fault, and locked where RLIMIT_MEMLOCK allows.
 * Taking from them makes no system call and never waits.
 *
 * A zone starts small and is refilled a step at a time from ordinary slow
 * paths, up to its cap; the kernel's kswapd, without a thread.
 */
#ifndef LAB_PAGE_RESERVE_H
#define LAB_PAGE_RESERVE_H

#include "page/zone.h"

/**
 * lab_reserve_init() - set a resident zone up and make its first step resident
 * @id:   LAB_ZONE_RESERVE or LAB_ZONE_EXCLUSIVE
 * @cap:  frames it may grow to, 0: none
 * @step: frames to begin with
 *
 * Context: once per zone, from the constructor.  System calls.
 * Return:  0 or -ENOMEM: the zone is then empty.
 */
int lab_reserve_init(enum lab_zone_id id, unsigned int cap, unsigned int step);

/**
 * lab_reserve_refill() - one step of residency, if the zone is below high
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  A system call (madvise), so never
 *          called for an atomic request.
 */
void lab_reserve_refill(enum lab_zone_id id);

/**
 * lab_reserve_revive() - make a zone resident that fork() wiped; else nothing
 *
 * Context: as lab_reserve_refill(), and mlock2(2): for page calls that may
 *          sleep, never from malloc(), see lab_os_lock_on_fault().
 */
void lab_reserve_revive(enum lab_zone_id id);

/**
 * lab_reserve_take() - 2^order frames, if @floor stay free
 * @order: 0 .. 9
 * @floor: frames that must be left; the watermark the caller may go down to
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  No system call, no page fault.
 * Mirrors: __zone_watermark_ok() and rmqueue(), mm/page_alloc.c.
 * Return:  true, or false: not above the floor, or no such run.
 */
LAB_NODISCARD bool lab_reserve_take(enum lab_zone_id id, unsigned int order, uint64_t floor,
				    struct lab_frames *out);

/** lab_reserve_take_some() - up to @want single frames above @floor */
unsigned int lab_reserve_take_some(enum lab_zone_id id, unsigned int want, uint64_t floor,
				   struct lab_frames *out);

/**
 * lab_reserve_is_ours() - is the zone resident in this process
 *
 * False in a child of fork() until it is revived, for the exclusive zone, which
 * the kernel wiped.  Also false before the zone is set up.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.
 */
static LAB_ALWAYS_INLINE bool lab_reserve_is_ours(enum lab_zone_id id)
{
	uintptr_t epoch = lab_word_get(&lab_zones[id].epoch);

	return LAB_LIKELY(epoch != 0) && LAB_LIKELY(lab_word_get((lab_word_t *)epoch) != 0);
}

#endif /* LAB_PAGE_RESERVE_H */
