/* SPDX-License-Identifier: MIT */
/*
 * Runs of the reserve that are set aside for atomic requests of several pages;
 * MIGRATE_HIGHATOMIC, mm/page_alloc.c, adapted to small zones: the unit is a run
 * of order LAB_ASIDE_ORDER, where the kernel's is a pageblock of 2 MiB, and a zone
 * of LAB_ASIDE_MIN frames may have one unit, although that is more than 1 % of it.
 *
 * What is set aside is not counted free.  An atomic request adds it to the free
 * count when it looks at its floor, others do not.
 */
#ifndef LAB_PAGE_HIGHATOMIC_H
#define LAB_PAGE_HIGHATOMIC_H

#include "page/zone.h"

#define LAB_ASIDE_ORDER 3u
#define LAB_ASIDE_UNITS 16u
#define LAB_ASIDE_MIN	64u

/**
 * lab_highatomic_reserve() - set one more unit aside, if the zone may have it
 *
 * To be called when an atomic request of several pages had to go below low.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  No system call.
 * Mirrors: reserve_highatomic_pageblock().
 */
void lab_highatomic_reserve(void);

/** lab_highatomic_frames() - set aside now; a figure */
uint64_t lab_highatomic_frames(void);

/**
 * lab_highatomic_take() - 2^order frames of what is set aside; the rest of the unit
 *	is free again
 * @order: 0 .. LAB_ASIDE_ORDER
 *
 * Context: as above.  Return: false: nothing is set aside.
 */
LAB_NODISCARD bool lab_highatomic_take(unsigned int order, struct lab_frames *out);

/**
 * lab_highatomic_release() - all that is set aside is free again
 *
 * Mirrors: unreserve_highatomic_pageblock().
 * Return:  frames.
 */
size_t lab_highatomic_release(void);

#endif /* LAB_PAGE_HIGHATOMIC_H */
