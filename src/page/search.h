/* SPDX-License-Identifier: MIT */
/*
 * Which block of the heap has the frames that a request wants: hints of blocks with free
 * frames, the lowest first, and how CPUs keep out of each other's way.
 */
#ifndef LAB_PAGE_SEARCH_H
#define LAB_PAGE_SEARCH_H

#include "page/block.h"

/* What a search is after; one shape, so that there is one search. */
struct lab_want {
	unsigned int some;  /* nonzero: that many single frames */
	unsigned int words; /* in so many words of a bitmap, at most */
	unsigned int fit;   /* else, nonzero: so many adjacent ones */
	unsigned int order; /* else one run of 2^order, aligned to its size */
	bool slab;	    /* of these two: up to 64 frames, apart from other CPUs' slabs */
};

/** lab_want_frames() - how many frames are the least that will do */
static inline unsigned int lab_want_frames(const struct lab_want *want)
{
	return want->some ? 1 : want->fit ? want->fit : 1u << want->order;
}

/**
 * lab_heap_search() - take frames that are free, if a hint leads to some
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  No system call.  The zone's counts are the caller's.
 * Order:   acquires [pool.bits].
 * Return:  how many were taken; 0: not now.
 */
unsigned int lab_heap_search(const struct lab_want *want, struct lab_frames *out);

/*
 * By block: 1 + the CPU that took single frames from it last, or 0; a hint.  Not in the
 * blocks: a search looks at those of many, and would disturb who works on these.
 */
extern LAB_HIDDEN lab_byte_t lab_home_of_block[LAB_NR_SECTIONS * LAB_SECTION_BLOCKS];

/**
 * lab_heap_search_own() - single frames of blocks that this CPU took from before, or of
 *	sections that no other one did
 *
 * For where it is crowded; else as above.
 */
unsigned int lab_heap_search_own(const struct lab_want *want, struct lab_frames *out);

/** lab_home_forget() - nothing is left in a block of what a CPU took from it */
void lab_home_forget(size_t block);

/** lab_section_is_shared() - did CPUs other than @cpu take single frames from there last */
bool lab_section_is_shared(size_t section, unsigned int cpu);

/** lab_heap_is_crowded() - do CPUs take single frames by turns, or at a time */
bool lab_heap_is_crowded(void);

/** lab_heap_is_offered() - do searches look at a heap block */
bool lab_heap_is_offered(size_t block);

/** lab_heap_offer() - a heap block has free frames: let searches find it */
void lab_heap_offer(size_t block);

/** lab_heap_review() - make the search hint of a block right */
void lab_heap_review(size_t block);

#endif /* LAB_PAGE_SEARCH_H */
