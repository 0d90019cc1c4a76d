/* SPDX-License-Identifier: MIT */
/*
 * A resident zone, the reserve.  Its frames are in memory, writable without a
 * fault, and locked where RLIMIT_MEMLOCK allows.  Taking from it makes no system
 * call and never waits.  The other one is in page/exclusive.h.
 *
 * A zone starts small and is refilled a step at a time from ordinary slow
 * paths, up to its cap; the kernel's kswapd, without a thread.
 */
#ifndef LAB_PAGE_RESERVE_H
#define LAB_PAGE_RESERVE_H

#include "page/zone.h"

/**
 * lab_reserve_init() - set a resident zone up and make its first step resident
 * @id:   LAB_ZONE_RESERVE
 * @cap:  frames it may grow to, 0: none
 * @step: frames to begin with
 *
 * Context: once per zone, from the constructor.  System calls.
 * Return:  0 or -ENOMEM: the zone is then empty.
 */
int lab_reserve_init(enum lab_zone_id id, unsigned int cap, unsigned int step);

/* the most frames that the reserve may have: 1 GiB */
#define LAB_RESERVE_MAX (1u << 18)

/**
 * lab_reserve_resize() - change the cap of the reserve at run time
 * @cap: frames, 0 .. LAB_RESERVE_MAX
 *
 * What is above the new cap is given back by later refills, as it becomes free.
 *
 * Context: MT-Safe.  System calls.
 * Return:  0, -EINVAL, -ENOMEM, or -EBUSY: another one is under way.
 */
int lab_reserve_resize(uint64_t cap);

/**
 * lab_reserve_refill() - one step towards the size that the zone should have
 *
 * Makes frames resident while fewer than the zone's goal are free, or gives
 * back what is above the cap.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  A system call (madvise), so never
 *          called for an atomic request.
 */
void lab_reserve_refill(enum lab_zone_id id);

/* frames that the reserve begins with, if its cap allows, and does not shrink below */
#define LAB_RESERVE_LEAST 48u

/**
 * lab_reserve_shrink() - give a few free frames of the reserve back, as long as it has
 *	more than @frames, and than LAB_RESERVE_LEAST, and above low
 *
 * Later refills make them resident again.
 *
 * Context: as lab_reserve_refill(); 16 pages at most, about 16 us.
 * Return:  true: some went.
 */
bool lab_reserve_shrink(uint64_t frames);

/**
 * lab_reserve_fill() - all the frames that the zone may have
 *
 * For when the heap is refused memory: min, which ordinary requests leave to atomic
 * ones, is in proportion to what the zone has.  Context: as lab_reserve_refill().
 */
void lab_reserve_fill(enum lab_zone_id id);

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

/** lab_reserve_take_zeroed() - the same, only frames of the reserve that read as zero */
unsigned int lab_reserve_take_zeroed(unsigned int want, uint64_t floor, struct lab_frames *out);

/** lab_reserve_take_dirty() - the same, only frames that may not */
unsigned int lab_reserve_take_dirty(unsigned int want, uint64_t floor, struct lab_frames *out);

/** lab_reserve_give_zeroed() - frames of one word go back, and read as zero now */
void lab_reserve_give_zeroed(const struct lab_frames *frames);

/**
 * lab_reserve_zero_miss() - a request for zeroed pages had to clear one itself
 *
 * Refills clear two pages ahead for each, so a program that never asks pays nothing.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.
 */
void lab_reserve_zero_miss(void);

/**
 * lab_reserve_zero_some() - clear up to @want free frames of the reserve, as far as
 *	there is demand
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  About 50 ns each: for ordinary slow paths.
 * Return:  how many.
 */
unsigned int lab_reserve_zero_some(unsigned int want);

/** lab_reserve_has_zeroed() - may lab_reserve_take_zeroed() find any; a hint */
bool lab_reserve_has_zeroed(void);

/** lab_reserve_free_zeroed() - free frames of the reserve that read as zero; a figure */
uint64_t lab_reserve_free_zeroed(void);

/**
 * lab_reserve_draw() - who asks for a page of it, of malloc()'s needs apart
 *
 * From the first such request on, or a change of its cap, or with a refiller, the
 * reserve does not shrink with the heap.
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.
 */
static LAB_ALWAYS_INLINE void lab_reserve_draw(void)
{
	if (LAB_UNLIKELY(!lab_word_get(&lab_zones[LAB_ZONE_RESERVE].drawn)))
		lab_word_set(&lab_zones[LAB_ZONE_RESERVE].drawn, 1);
}

/**
 * lab_reserve_is_ours() - has the zone been set up
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.
 */
static LAB_ALWAYS_INLINE bool lab_reserve_is_ours(enum lab_zone_id id)
{
	return LAB_LIKELY(lab_word_get(&lab_zone_at(id)->ready) != 0);
}

#endif /* LAB_PAGE_RESERVE_H */
