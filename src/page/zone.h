/* SPDX-License-Identifier: MIT */
/*
 * A zone: blocks with a purpose.  The heap grows and shrinks; the reserve and
 * the exclusive zone are resident and have watermarks (page/reserve.h).
 * Mirrors struct zone, include/linux/mmzone.h.
 */
#ifndef LAB_PAGE_ZONE_H
#define LAB_PAGE_ZONE_H

#include "page/block.h"

/*
 * All counts are frames.
 *   heap:     managed = mapped frames; free is a figure
 *   others:   managed = resident frames; free is taken down before frames are,
 *             so a floor holds exactly
 */
struct lab_zone {
	lab_word_t free;
	lab_word_t managed;
	lab_word_t dirty; /* of free, those that use memory; heap only */
	lab_word_t taken; /* ever */
	lab_word_t failed;
	lab_word_t min, low, high; /* page/watermark.h */
	lab_word_t goal;	   /* free frames up to which the zone grows */
	lab_word_t below;	   /* 1 from a crossing of low down until one up */
	lab_word_t locked;	   /* of managed, those that mlock() took */
	lab_word_t cap;		   /* managed grows up to here */
	lab_word_t populated;	   /* frames claimed for residency, first block on */
	lab_word_t parked;	   /* of those, given back since */
	lab_word_t ready;	   /* 1: the reserve is set up */
	lab_word_t drawn;	   /* 1: requests for pages came to the reserve */
} LAB_LINE_ALIGNED;

/* Of the exclusive zone only the cap is here, see page/exclusive.h. */
extern LAB_HIDDEN struct lab_zone lab_zones[LAB_NR_ZONES];

/** lab_zone_exclusive() - the figures of this process's exclusive zone; or, all 0, of none */
struct lab_zone *lab_zone_exclusive(void);

/** lab_zone_at() - a zone's figures */
static inline struct lab_zone *lab_zone_at(enum lab_zone_id id)
{
	return id == LAB_ZONE_EXCLUSIVE ? lab_zone_exclusive() : &lab_zones[id];
}

/** lab_zone_of() - the zone that a frame of ours belongs to */
enum lab_zone_id lab_zone_of(lab_pfn_t pfn);

/**
 * lab_heap_take_some() - up to @want single frames, growing if there are none for this CPU
 * @want:  1 .. LAB_BLOCK_FRAMES
 * @out:   @words of them, or one whose mask is 0 comes first
 * @words: of a bitmap, that they may lie in, 1 .. LAB_BLOCK_WORDS
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  May make system calls (mmap).
 * Return:  how many were taken; 0: out of memory.
 */
unsigned int lab_heap_take_some(unsigned int want, struct lab_frames *out, unsigned int words);

/**
 * lab_heap_take_run() - @n adjacent frames, aligned to 2^align_order frames
 * @n:           1 .. 512
 * @align_order: 0 .. 9
 *
 * Context: as above.  Return: false: out of memory.
 */
LAB_NODISCARD bool lab_heap_take_run(unsigned int n, unsigned int align_order,
				     struct lab_frames *out);

/**
 * lab_heap_take_slab() - the same for slabs, apart from those that other CPUs make (page/apart.h)
 * @n: 1 .. 64, as is 2^align_order
 */
LAB_NODISCARD bool lab_heap_take_slab(unsigned int n, unsigned int align_order,
				      struct lab_frames *out);

/** lab_heap_extend() - take the @n frames after a run that ends at @pfn, if free */
LAB_NODISCARD bool lab_heap_extend(lab_pfn_t pfn, unsigned int n);

/** lab_heap_take_at() - take the @n frames from @pfn on, if all are free and in one block */
LAB_NODISCARD bool lab_heap_take_at(lab_pfn_t pfn, unsigned int n);

/**
 * lab_zone_give() - give back @n adjacent frames inside one block, to their zone
 *
 * The caller has set their kind to LAB_KIND_FREE.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free, never fails, no system call.
 * Order:   releases [pool.bits].
 */
void lab_zone_give(lab_pfn_t pfn, unsigned int n);

/** lab_zone_give_mask() - frames of one word of a bitmap; @pfn is that of bit 0 */
void lab_zone_give_mask(lab_pfn_t pfn, uint64_t mask);

/* Frames whose bits are set already and which their blocks do not count yet. */
#define LAB_GIVING_NR 32u
struct lab_giving {
	uint32_t block[LAB_GIVING_NR];
	uint16_t n[LAB_GIVING_NR]; /* 0: the place is empty */
	uint32_t of_zone[LAB_NR_ZONES];
};

/**
 * lab_zone_give_part() - the same for many words, most of which share few blocks
 * @giving: all zero to begin with; belongs to the caller
 *
 * Sets the bits; the counts are raised when the place in @giving is wanted, or by
 * lab_zone_give_rest().  Until then nobody finds the frames; who is abandoned in between
 * leaks those that are in @giving.
 *
 * Context: as above.  Order: releases [pool.bits].
 */
void lab_zone_give_part(struct lab_giving *giving, lab_pfn_t pfn, uint64_t mask);

/** lab_zone_give_rest() - the counts of all that is in @giving, which is all zero then */
void lab_zone_give_rest(struct lab_giving *giving);

/**
 * lab_heap_map_some() - claim and map unmapped heap blocks
 * @want: 1 .. LAB_SECTION_BLOCKS; fewer are mapped where memory is scarce
 *
 * Return: 0 or -ENOMEM.
 */
LAB_NODISCARD int lab_heap_map_some(size_t want);

/** lab_heap_is_refused() - the heap could not grow when it was tried last; a hint */
bool lab_heap_is_refused(void);

/**
 * lab_zones_follow() - a step of growth for each resident zone that is small beside the heap
 *
 * In proportion, up to the cap; or below low, whatever the heap.  For ordinary slow paths.
 */
void lab_zones_follow(void);

/**
 * lab_reserve_follow() - a step of the reserve towards what it should have
 *
 * As many free pages as lab_reserve_refill() says if somebody counts on it, see
 * lab_reserve_draw(); else as the above.
 */
void lab_reserve_follow(void);

/**
 * lab_zones_shrink() - a step of the reserve after a heap that has shrunk
 *
 * Unless somebody counts on it, see lab_reserve_draw(): then it stays as large as it got.
 * System calls (madvise).  For ordinary slow paths.
 * Return: true: there may be another one to take.
 */
bool lab_zones_shrink(void);

/* ---- runs of blocks: more than 2 MiB (run.c) ---- */

/**
 * lab_run_take() - claim adjacent blocks and map their first @bytes
 * @bytes: a multiple of the page size
 * @align: power of two; up to LAB_BLOCK_BYTES it costs nothing
 * @clean: receives whether all of it reads as zero
 *
 * Return: the first block, or SIZE_MAX: out of memory.
 */
size_t lab_run_take(size_t bytes, size_t align, bool *clean);

/** lab_run_extend() - the same for the @n blocks from @index, exactly there */
LAB_NODISCARD bool lab_run_extend(size_t index, size_t n);

/** lab_run_give() - give back @n adjacent claimed, mapped blocks */
void lab_run_give(size_t index, size_t n);

/** lab_run_give_unmapped() - the same, when their memory has moved elsewhere */
void lab_run_give_unmapped(size_t index, size_t n);

/* ---- giving memory back (purge.c) ---- */

/**
 * lab_heap_decay() - give idle memory back to the system, a bounded piece
 *
 * Called from slow paths of ordinary requests, never of atomic ones.  Keeps
 * what was used within the last seconds, see purge.c.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  System calls (madvise).
 * Return:  true: so much went back that the stacks above should be emptied, too.
 */
bool lab_heap_decay(void);

/**
 * lab_heap_purge() - give all idle memory back
 * @unmap: address space too: for want of it
 *
 * Return: frames given back.
 */
size_t lab_heap_purge(bool unmap);

#endif /* LAB_PAGE_ZONE_H */
