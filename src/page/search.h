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

/** lab_heap_is_offered() - do searches look at a heap block */
bool lab_heap_is_offered(size_t block);

/** lab_heap_offer() - a heap block has free frames: let searches find it */
void lab_heap_offer(size_t block);

/** lab_heap_review() - make the search hint of a block right */
void lab_heap_review(size_t block);

#endif /* LAB_PAGE_SEARCH_H */
