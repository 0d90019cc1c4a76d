/* SPDX-License-Identifier: MIT */
/*
 * Making pages free: refills, direct reclaim, waiting, and the refiller's
 * thread.  Mirrors mm/vmscan.c.
 */
#ifndef LAB_GFP_RECLAIM_H
#define LAB_GFP_RECLAIM_H

#include "labyrinth.h"
#include "page/zone.h"

/**
 * lab_refill() - ordinary upkeep of the resident zones: residency, zeroed pages
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  System calls, so never for an atomic request.
 */
void lab_refill(void);

/**
 * lab_reclaim() - one round of direct reclaim for a request that may wait
 *
 * Empties the per-CPU stacks of all CPUs, gives back what is set aside, runs the
 * shrinkers, gives idle heap memory back to the system.
 *
 * Return: pages of progress; 0: nothing helped.
 */
size_t lab_reclaim(enum lab_zone_id zone, unsigned int order);

/**
 * lab_reclaim_wait() - sleep a little for pages that others may free
 * @turn: 0 for the first wait of a request, then 1, ...
 *
 * 1 ms at first, up to 100 ms.
 */
void lab_reclaim_wait(unsigned int turn);

/**
 * lab_kswapd_wake() - the zone has fallen below low: wake the refiller if it sleeps
 *
 * Context: MT-Safe, AS-Safe.  Wait-free: at most one futex(2) wake per crossing of
 *          low, none unless the thread was asked for (kswapd:1).
 */
void lab_kswapd_wake(enum lab_zone_id zone);

/** lab_kswapd_start() - start the thread if it was asked for and this process has none
 *
 * Context: ordinary calls.
 */
void lab_kswapd_start(void);

#endif /* LAB_GFP_RECLAIM_H */
