/* SPDX-License-Identifier: MIT */
/*
 * One block: 2 MiB, 512 frames, a counter word and bitmaps.  After LLFree
 * (Wrenger et al., USENIX ATC 2023), with a mapped state of its own, because
 * user memory comes and goes.
 */
#ifndef LAB_PAGE_BLOCK_H
#define LAB_PAGE_BLOCK_H

#include "page/frame.h"

#define LAB_BLOCK_WORDS 8u
#define LAB_BLOCK_ORDER 9u
#define LAB_WORD_ORDER	6u /* of the frames of one word of its bitmap */
#define LAB_BLOCK_ALL	((1u << LAB_BLOCK_WORDS) - 1u)

/*
 *   free    frames that may be taken              0 .. 512; the law of the pool
 *   whole   one context has claimed all of it     implies free == 0
 *   mapped  its memory may be touched             else free == 0
 *   dead    the program's mapping lies there      never changes again
 *   zone    enum lab_zone_id                      changed by the claimant only
 *   gen     +1 on each whole claim                wraps; defeats A-B-A
 */
union lab_block_word {
	uint64_t raw;
	struct {
		uint64_t free : 10;
		uint64_t whole : 1;
		uint64_t mapped : 1;
		uint64_t dead : 1;
		uint64_t zone : 2;
		uint64_t gen : 32;
	};
};
static_assert(sizeof(union lab_block_word) == 8, "block state must stay one machine word");
static_assert(LAB_BLOCK_FRAMES < 1u << 10, "free must be able to count a full block");

/*
 * While a block is whole-claimed its bits are all ones and stay so: the word
 * alone says that none is free.
 */
struct lab_block {
	lab_word_t word;
	lab_word_t huge; /* 1: may be a huge page, see thp.h */
	lab_word_t pad[6];
	lab_word_t bits[LAB_BLOCK_WORDS];  /* 1: free */
	lab_word_t clean[LAB_BLOCK_WORDS]; /* 1: reads as zero; meaningful while free */
	lab_word_t pad2[8];
} LAB_LINE_ALIGNED;

enum lab_zone_id { LAB_ZONE_HEAP, LAB_ZONE_RESERVE, LAB_ZONE_EXCLUSIVE, LAB_NR_ZONES };

/* Frames taken from a block. */
struct lab_frames {
	lab_pfn_t pfn;	     /* frame of bit 0 of mask, or the first of a run */
	uint64_t mask;	     /* frames taken, if by lab_block_take_some() */
	unsigned int nclean; /* of those taken, how many read as zero */
	bool raced;	     /* by lab_block_take_some(): another context was at the word too */
};

static LAB_ALWAYS_INLINE struct lab_block *lab_block_at(size_t index)
{
	return (struct lab_block *)((char *)lab_mem.block + (index << 8));
}

/**
 * lab_block_take_some() - take up to @want single frames
 * @index: block number
 * @zone:  the block must belong to it
 * @want:  1 .. 64
 * @out:   the frames; all lie in one word of the bitmap
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  No system call.
 * Order:   acquires [pool.bits].
 * Mirrors: rmqueue_bulk(), mm/page_alloc.c.
 * Return:  how many were taken; 0: not now.
 */
unsigned int lab_block_take_some(size_t index, enum lab_zone_id zone, unsigned int want,
				 struct lab_frames *out);

/**
 * lab_block_take_many() - the same, of several words of the bitmap
 * @out:   @words of them, or one whose mask is 0 comes first
 * @words: 1 .. LAB_BLOCK_WORDS
 */
unsigned int lab_block_take_many(size_t index, enum lab_zone_id zone, unsigned int want,
				 struct lab_frames *out, unsigned int words);

/**
 * lab_block_take_clean(), lab_block_take_dirty() - the same, only frames that read
 *	as zero, or that may not
 */
unsigned int lab_block_take_clean(size_t index, enum lab_zone_id zone, unsigned int want,
				  struct lab_frames *out);
unsigned int lab_block_take_dirty(size_t index, enum lab_zone_id zone, unsigned int want,
				  struct lab_frames *out);

/** lab_block_count_clean() - free frames that read as zero; a figure */
unsigned int lab_block_count_clean(size_t index);

/**
 * lab_block_take_run() - take 2^order aligned frames
 * @words: LAB_BLOCK_ALL; up to LAB_WORD_ORDER, a bit for each word of the bitmap that they
 *         may lie in
 * @order: 0 .. LAB_BLOCK_ORDER
 *
 * As above.  Return: true, or false: not now.
 */
LAB_NODISCARD bool lab_block_take_run(size_t index, enum lab_zone_id zone, unsigned int words,
				      unsigned int order, struct lab_frames *out);

/**
 * lab_block_take_fit() - take @n adjacent frames, wherever they begin
 * @words: as above; they may lie in several of these
 * @n:     1 .. 512
 *
 * As above.  Of the smallest hole that holds them, the lowest such.
 */
LAB_NODISCARD bool lab_block_take_fit(size_t index, enum lab_zone_id zone, unsigned int words,
				      unsigned int n, struct lab_frames *out);

/**
 * lab_block_take_at() - take @n frames from frame @first of the block, exactly
 * @n: 1 .. 512 - @first
 */
LAB_NODISCARD bool lab_block_take_at(size_t index, enum lab_zone_id zone, unsigned int first,
				     unsigned int n, struct lab_frames *out);

/**
 * lab_block_give() - give back @n frames from frame @first of the block
 *
 * Context: MT-Safe, AS-Safe.  Lock-free, never fails.  No system call.
 * Order:   releases [pool.bits], [block.word].
 */
void lab_block_give(size_t index, unsigned int first, unsigned int n);

/** lab_block_give_mask() - give back frames of one word of the bitmap */
void lab_block_give_mask(size_t index, unsigned int word, uint64_t mask);

/**
 * lab_block_give_bits(), lab_block_count() - the same in two halves: bits of several
 *	words first, then the count of all of them
 */
void lab_block_give_bits(size_t index, unsigned int word, uint64_t mask);
void lab_block_count(size_t index, unsigned int n);

/** lab_block_set_clean() - frames that the caller owns read as zero again */
void lab_block_set_clean(size_t index, unsigned int first, unsigned int n);

/**
 * lab_block_claim() - claim a block as a whole
 * @mapped: true: a mapped block of @zone that is all free;
 *          false: one that is not mapped
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.
 * Order:   acquires [block.word].
 */
LAB_NODISCARD bool lab_block_claim(size_t index, enum lab_zone_id zone, bool mapped);

/** lab_blocks_claim() - claim @n adjacent heap blocks, mapped or not, or none */
LAB_NODISCARD bool lab_blocks_claim(size_t index, size_t n);

/* What becomes of a claimed block. */
enum lab_block_fate {
	LAB_BLOCK_FREE,	    /* mapped, all frames free */
	LAB_BLOCK_EMPTY,    /* mapped, no frame free: zones that grow by frames */
	LAB_BLOCK_UNMAPPED, /* its address range is given back */
	LAB_BLOCK_DEAD	    /* the program's mapping lies there */
};

/**
 * lab_block_release() - end a claim
 * @zone: the zone that owns it from now on
 *
 * Order: releases [block.word].
 */
void lab_block_release(size_t index, enum lab_zone_id zone, enum lab_block_fate fate);

/** lab_block_is_clean() - does all of a claimed block read as zero */
bool lab_block_is_clean(size_t index);

#endif /* LAB_PAGE_BLOCK_H */
