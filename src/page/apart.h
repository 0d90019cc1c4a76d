/* SPDX-License-Identifier: MIT */
/*
 * Where CPUs take frames for slabs while others do, too: each from areas of 512 KiB of its
 * own.  The live bytes of slabs that lie side by side are side by side in lines, and a CPU
 * that reads a line fetches others of the same page of 4 KiB as well: it takes them away from
 * a CPU that writes there, again and again.  Measured: two threads that share no line took
 * 4 to 8 % more CPU time for a malloc() and a free() than each alone; now 0 to 1 %.
 */
#ifndef LAB_PAGE_APART_H
#define LAB_PAGE_APART_H

#include "page/block.h"

#define LAB_APART_RECENT 32u

/* Words of a block's bitmap to an area, whose bytes in the map from 128 bytes on fill a page. */
#define LAB_APART_WORDS 2u
#define LAB_APART_AREAS (LAB_BLOCK_WORDS / LAB_APART_WORDS) /* of a block */

/* Where the last LAB_APART_RECENT runs of frames for slabs were taken. */
struct lab_apart {
	uint32_t own;	/* 1 + area that this CPU took from last; 0: alone, or another's too */
	unsigned int n; /* of areas that others took from; 0: alone */
	uint32_t others[LAB_APART_RECENT];
};

/**
 * lab_apart_look() - where @cpu should take from, and where it should not
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.  A hint.
 */
void lab_apart_look(struct lab_apart *apart, unsigned int cpu);

/** lab_apart_words() - the words of a block, a bit each, that other CPUs did not take from */
unsigned int lab_apart_words(const struct lab_apart *apart, size_t block);

/**
 * lab_apart_took() - @cpu took a run that lies in @area
 *
 * Context: as above.
 */
void lab_apart_took(unsigned int cpu, uint32_t area);

static inline uint32_t lab_apart_area(lab_pfn_t pfn)
{
	return pfn / 64 / LAB_APART_WORDS;
}

/* the words of an area, in its block */
static inline unsigned int lab_apart_mask(uint32_t area)
{
	return ((1u << LAB_APART_WORDS) - 1) << area % LAB_APART_AREAS * LAB_APART_WORDS;
}

#endif /* LAB_PAGE_APART_H */
