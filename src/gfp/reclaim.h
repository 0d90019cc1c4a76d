/* SPDX-License-Identifier: MIT */
/*
 * Making pages free: refills, direct reclaim, waiting, and the refiller's
 * thread.  Mirrors mm/vmscan.c.
 */
#ifndef LAB_GFP_RECLAIM_H
#define LAB_GFP_RECLAIM_H

#include "labyrinth.h"
#include "page/zone.h"
#include "pcp/pcp.h"

/**
 * lab_upkeep() - one step of what keeps the resident zones ready
 *
 * Residency below high, zeroed pages, reports that wait to be written.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  System calls, so never for an atomic request.
 */
void lab_upkeep(void);

/**
 * lab_refill() - what an ordinary slow path does for the resident zones
 *
 * One step of lab_upkeep(), or, with kswapd:1, sees to it that this process has
 * the thread that does it.
 *
 * Context: as lab_upkeep().
 */
void lab_refill(void);

/**
 * lab_reclaim() - one round of direct reclaim for a request that may wait
 * @zone:  that has too little; LAB_ZONE_HEAP: the system refused more memory
 * @order: log2 of the pages wanted
 *
 * Empties the per-CPU stacks of all CPUs, gives back what is set aside, runs the
 * shrinkers, gives idle heap memory back to the system, refills.  In an atomic
 * section, so inside a shrinker too, it does nothing: reclaim does not recurse.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free, but for the shrinkers, which are the
 *          program's.  System calls.
 * Mirrors: __perform_reclaim(), mm/page_alloc.c.
 * Return:  pages of progress; 0: nothing helped, another round will not either
 *          unless somebody frees something.
 */
size_t lab_reclaim(enum lab_zone_id zone, unsigned int order);

/**
 * lab_pages_drain() - empty the stacks of single pages into their zones
 * @drain: those of all CPUs, or of this one
 *
 * Context: MT-Safe, AS-Safe.  What @drain does apart: lock-free.
 * Return:  pages that went back.
 */
size_t lab_pages_drain(lab_pcp_drain_t *drain);

/**
 * lab_shrink() - let the program's caches give something back
 *
 * Each is asked for a quarter of what it has, at least LAB_SHRINK_BATCH objects,
 * in portions of LAB_SHRINK_BATCH, until it gives no more.  Runs inside an atomic
 * section.
 *
 * Mirrors: do_shrink_slab(), mm/shrinker.c.  Differs: no priorities.
 * Return:  objects, as the shrinkers count them.
 */
#define LAB_SHRINK_BATCH 128u
#define LAB_NR_SHRINKERS 32u
size_t lab_shrink(void);

/**
 * lab_reclaim_wait() - sleep a little for pages that others may free
 * @turn: 0 for the first wait of a request, then 1, ...
 *
 * 1 ms at first, twice as long each time, up to 100 ms.
 *
 * Context: MT-Safe, AS-Safe.  clock_nanosleep(2), ended early by a handler.  No
 *          cancellation point.
 */
void lab_reclaim_wait(unsigned int turn);

/* ---- the refiller's thread ---- */

/**
 * lab_kswapd_init() - take the options, and start the thread if it is asked for
 * @thread: kswapd:1
 * @psi:    psi:1; without @thread it has no effect
 *
 * Context: once, at the end of the constructor.
 */
void lab_kswapd_init(bool thread, bool psi);

/** lab_kswapd_is_here() - does this process have the thread, or is it about to */
bool lab_kswapd_is_here(void);

/**
 * lab_kswapd_wake() - the zone has fallen below low: wake the refiller if it sleeps
 *
 * Context: MT-Safe, AS-Safe.  Wait-free: at most one futex(2) wake per crossing of
 *          low, none unless the thread was asked for (kswapd:1) and sleeps.
 * Order:   releases [kswapd.word].
 * Mirrors: wakeup_kswapd(), mm/vmscan.c.
 */
void lab_kswapd_wake(enum lab_zone_id zone);

/**
 * lab_kswapd_start() - start the thread if it was asked for and this process has none
 *
 * In a child of fork(), by the first ordinary call of a thread that blocks no
 * signal: pthread_create() takes libc's locks, which a handler may have
 * interrupted, and handlers run with signals blocked.  Not while a child of
 * vfork() lives.  Until then ordinary slow paths do the work.
 *
 * Context: ordinary calls.
 */
void lab_kswapd_start(void);

#endif /* LAB_GFP_RECLAIM_H */
