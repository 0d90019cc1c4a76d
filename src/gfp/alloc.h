/* SPDX-License-Identifier: MIT */
/*
 * Pages by flags: the order of attempts of __alloc_pages(), mm/page_alloc.c.
 *
 *   above low       the zone's free pages
 *   below low       the refiller is woken, once per crossing
 *   above the floor what the flags allow, table A4; the set-aside of atomic runs
 *   may wait        the heap; then reclaim, again and again, and naps in between
 *
 * Single pages come through the per-CPU stacks of the callers' CPUs first: that
 * is api/'s fast path.
 */
#ifndef LAB_GFP_ALLOC_H
#define LAB_GFP_ALLOC_H

#include "labyrinth.h"
#include "page/exclusive.h"
#include "page/reserve.h"

/**
 * lab_gfp_floor() - free pages that must be left for others
 *
 * Table A4: min for most; __GFP_HIGH half of it, and a quarter less of the rest
 * if it may not wait; __GFP_MEMALLOC none.  __GFP_NOMEMALLOC takes the last two
 * back.  Integer division at each step, as in __zone_watermark_ok().
 */
uint64_t lab_gfp_floor(enum lab_zone_id id, labyrinth_gfp_t gfp);

/** lab_gfp_zone() - the zone that the flags ask for */
static inline enum lab_zone_id lab_gfp_zone(labyrinth_gfp_t gfp)
{
	return gfp & LABYRINTH___GFP_EXCLUSIVE ? LAB_ZONE_EXCLUSIVE : LAB_ZONE_RESERVE;
}

/** lab_gfp_is_ours() - is there such a zone in this process; false in a child whose
 *	exclusive zone fork() has wiped
 */
static inline bool lab_gfp_is_ours(enum lab_zone_id id)
{
	return id == LAB_ZONE_EXCLUSIVE ? lab_excl_is_ours() : lab_reserve_is_ours(id);
}

/* how long a request may wait before it is reported, and fails */
extern LAB_HIDDEN lab_word_t lab_stall_ms;

/** lab_gfp_effective() - the flags of a request, as its context allows
 *
 * In an atomic section a request that might wait is reported once and becomes
 * GFP_NOWAIT.
 */
labyrinth_gfp_t lab_gfp_effective(labyrinth_gfp_t gfp);

/** lab_gfp_crossed() - note that a zone is below low; wakes the refiller at a crossing */
void lab_gfp_crossed(enum lab_zone_id id, labyrinth_gfp_t gfp);

/**
 * lab_gfp_alloc() - 2^order frames for a request whose stack had none
 * @gfp:   checked flags, effective
 * @order: 0 .. LABYRINTH_MAX_PAGE_ORDER
 * @out:   for order 0 possibly several, by its mask, while there is plenty: the
 *         caller uses one and stacks the others; nclean tells if they read as zero.
 *         Pages of the exclusive zone come one by one, marked as in use
 *
 * Context: MT-Safe, AS-Safe.  Without __GFP_DIRECT_RECLAIM lock-free, no system
 *          call but the wake-up of the refiller.
 * Return:  frames; 0: failed, counted and reported.
 */
unsigned int lab_gfp_alloc(labyrinth_gfp_t gfp, unsigned int order, struct lab_frames *out);

#endif /* LAB_GFP_ALLOC_H */
