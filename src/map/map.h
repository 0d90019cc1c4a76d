/* SPDX-License-Identifier: MIT */
/*
 * mmap() and its kin, served from the heap's frames where that is possible.
 *
 * A routed page is a frame of kind LAB_KIND_MAP, an ordinary private anonymous
 * page to the kernel.  Each frame bears its own mark, so any part of a mapping
 * may be protected, moved, mapped over or given back.
 *
 *   MAP      the program's, untouched by any call: default protection and advice
 *   CHANGED  the program's, and no longer as we made it: advised, protected,
 *            locked, mapped over.  The kernel alone knows; on munmap() a fresh
 *            page is mapped over it
 *   HELD     in the hands of one call, which ends soon or was abandoned; a hole
 *   LOST     not ours, the kernel alone knows: while it moves pages there, or
 *            for ever, if it refused to restore the page
 *   LAB_PCP_MAP  unmapped to the program; waits on a stack to be routed again
 *
 * The kind is the truth, and who changes it from one of these has won it, by
 * compare-exchange.  An entry of a stack is a hint: who pops it has to win its
 * frames.  So a page on another CPU's stack can be mapped over at once.
 *
 * A frame that was routed never becomes heap again as it is: a fresh page is
 * mapped there first.  What a program did to it by system calls of its own,
 * past us, ends there.
 */
#ifndef LAB_MAP_MAP_H
#define LAB_MAP_MAP_H

#include "page/zone.h"
#include "pcp/pcp.h"

/* Pages of one request that may be routed, at most. */
#define LAB_MAP_MAX 16u
static_assert(LAB_PCP_MAP + LAB_MAP_MAX == LAB_PCP_NR, "a stack for each number of pages");

enum { LAB_MAP_SHARDS = 16 };

/* A counter on a line of its own. */
struct lab_map_count {
	lab_word_t n;
} LAB_LINE_ALIGNED;

struct lab_map {
	lab_word_t limit;  /* bytes of the largest request that is routed; 0: none */
	lab_word_t locked; /* mlockall() was called: every page of ours may be locked */
	lab_word_t passed, restored, lost;
	/* by page, so that CPUs at work do not share a line */
	struct lab_map_count routed[LAB_MAP_SHARDS];
} LAB_LINE_ALIGNED;

extern LAB_HIDDEN struct lab_map lab_map;

/* What a page is to the program. */
enum lab_map_page {
	LAB_MAP_KERNELS, /* not of ours, or malloc's: the kernel's answer is right */
	LAB_MAP_HOLE,	 /* a free frame of ours: nothing is mapped there, as far as it knows */
	LAB_MAP_OURS	 /* routed */
};

/**
 * lab_map_touches() - does the range meet our window at all; the gate
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.
 */
static LAB_ALWAYS_INLINE bool lab_map_touches(uintptr_t addr, size_t len)
{
	uintptr_t offset = addr - lab_mem.base;

	return LAB_UNLIKELY(offset < lab_mem.nr_sections << LAB_SECTION_SHIFT) ||
	       LAB_UNLIKELY(-offset < len);
}

static LAB_ALWAYS_INLINE bool lab_map_is_ours(uint8_t kind)
{
	return kind == LAB_KIND_MAP || kind == LAB_KIND_MAP_CHANGED;
}

/** lab_map_win() - take a frame from one kind to another; false: it was not of that kind */
static LAB_ALWAYS_INLINE bool lab_map_win(lab_pfn_t pfn, uint8_t from, uint8_t to)
{
	return atomic_compare_exchange_strong_explicit(&lab_mem.kind[pfn], &from, to,
						       memory_order_relaxed, memory_order_relaxed);
}

/**
 * lab_map_take() - @n pages that read as zero
 * @n: 1 .. LAB_MAP_MAX
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  May make system calls (growth).
 * Return:  the first byte, or NULL: the kernel has to serve.
 */
void *lab_map_take(unsigned int n);

/** lab_map_ready() - a page that lab_pcp_try_pop() gave is the program's; NULL: it is not ours */
void *lab_map_ready(void *page);

/**
 * lab_map_unmap() - munmap() of a range that meets the window
 *
 * Return: 0 or -errno, the kernel's.
 */
long lab_map_unmap(uintptr_t addr, size_t len);

/** lab_map_unstacked() - the rest of munmap() of one page whose stack is full */
void lab_map_unstacked(void *page);

/** lab_map_trim() - empty this CPU's stacks */
void lab_map_trim(void);

/** lab_map_restore() - @n frames that the caller holds become heap again, as fresh pages */
void lab_map_restore(lab_pfn_t pfn, size_t n);

/** lab_map_give_fresh() - frames that the caller holds are fresh pages already: back they go */
void lab_map_give_fresh(lab_pfn_t pfn, size_t n);

/**
 * lab_map_page_at() - what the page at @at is, and how far the same goes
 * @end:  look no further
 * @next: receives the end of what is the same
 */
enum lab_map_page lab_map_page_at(uintptr_t at, uintptr_t end, uintptr_t *next);

/* ---- calls on a range (range.c) ---- */

/* One of the calls whose first two parameters are a range. */
struct lab_map_call {
	long nr, x, y;
	bool changes;	 /* protection, advice or locks of the pages */
	bool goes_on;	 /* past a hole, whose ENOMEM comes at the end */
	bool grows_down; /* PROT_GROWSDOWN */
	bool cancellable;
};

/**
 * lab_map_act() - do such a call on a range that meets the window
 *
 * Return: as the kernel's.
 */
long lab_map_act(const struct lab_map_call *call, uintptr_t addr, size_t len);

/** lab_map_mark() - routed pages of a range are CHANGED from now on */
void lab_map_mark(uintptr_t addr, uintptr_t end);

/* ---- placing and moving (place.c) ---- */

/** lab_map_place() - mmap() with an address in the window
 *
 * Return: as the kernel's.
 */
long lab_map_place(uintptr_t addr, size_t len, int prot, int flags, int fd, long offset);

/** lab_map_note() - the kernel has put a mapping of the program's into the window */
void lab_map_note(uintptr_t addr, size_t len);

/** lab_map_move() - mremap() from or to the window */
long lab_map_move(uintptr_t from, size_t old_len, size_t new_len, int flags, uintptr_t to);

#endif /* LAB_MAP_MAP_H */
