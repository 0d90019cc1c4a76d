/* SPDX-License-Identifier: MIT */
/*
 * Where CPUs take frames for slabs while others do, too: each from words of the bitmaps, 256
 * KiB, of its own.  The live bytes of slabs that lie side by side are side by side in lines,
 * and a CPU that reads a line fetches its neighbours as well: it takes them away from
 * another CPU that writes there, again and again.  Measured: two threads that share no
 * line took 4 to 8 % more CPU time for a malloc() and a free() than each alone; now as much.
 */
#ifndef LAB_PAGE_APART_H
#define LAB_PAGE_APART_H

#include "page/block.h"

#define LAB_APART_RECENT 32u

/* Where the last LAB_APART_RECENT runs of frames for slabs were taken. */
struct lab_apart {
	uint32_t own;	/* 1 + word that this CPU took from last; 0: alone, or another's too */
	unsigned int n; /* of words that others took from; 0: alone */
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
 * lab_apart_took() - @cpu took a run that lies in @word
 *
 * Context: as above.
 */
void lab_apart_took(unsigned int cpu, uint32_t word);

#endif /* LAB_PAGE_APART_H */
