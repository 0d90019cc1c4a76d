/* SPDX-License-Identifier: MIT */
/*
 * The exclusive zone: pages that nobody else has, neither a child of fork()
 * nor the kernel's optimizers.  Resident, locked where RLIMIT_MEMLOCK allows,
 * wiped in a child, never huge, never merged.
 *
 *   no access | metadata | no access | pages ... | no access
 *
 * All that an atomic request writes lies in the metadata, in the pages, in the
 * pages' owner bytes, which are their live bytes, or on the stacks of class
 * LAB_PCP_EXCL.  fork() wipes all four in the child, so it write-protects none of
 * them, and the parent's next request takes no fault.  The kind map is only read:
 * LAB_KIND_EXCL says that a frame is, or was in an ancestor, a page of such a zone;
 * the rest is in its owner byte.
 *
 * A child finds zeroes: its zone is void, until a request that may sleep sets a
 * new one up, elsewhere.  It still has the addresses of its parent's pages, which
 * read as zero there; to free them does nothing.  fork() may come at any
 * instruction, by a handler, and the child goes on in the middle of what it was
 * about, in metadata that it sees as zero.  So whoever loops here looks whether the
 * zone is still born, and whoever takes a page off a stack looks at its owner byte.
 */
#ifndef LAB_PAGE_EXCLUSIVE_H
#define LAB_PAGE_EXCLUSIVE_H

#include "page/zone.h"

/*
 * The owner byte of a page.  0: free, or not yet resident.  No object of malloc()
 * has such a live byte, so LAB_EXCL_LIVE at the start of a frame proves that it is a
 * page of this zone in use.
 */
#define LAB_EXCL_FREE	 0u
#define LAB_EXCL_STACKED 1u    /* on a stack, or on the way there or back */
#define LAB_EXCL_BODY	 2u    /* a later page of a run */
#define LAB_EXCL_LIVE	 0x40u /* handed out; with the order, if it is a run */
#define LAB_EXCL_RUN_MAX 9u    /* the largest order */

/* The head of the metadata; what fork() wipes is all zero. */
struct lab_excl {
	uintptr_t base;	   /* address of page 0; this line is written once */
	size_t bytes;	   /* all pages, resident or not; 0: wiped */
	size_t nwords;	   /* of bits[] */
	size_t origin;	   /* bit of page 0: frames from the first block on */
	size_t meta_pages; /* of metadata */
	lab_word_t born;   /* nonzero: of this process */
	struct lab_zone zone;
	lab_word_t hint;   /* a word of bits[] to begin with */
	lab_word_t marked; /* nonzero: the watermarks are computed */
	lab_word_t pad[6];
	lab_word_t bits[]; /* 1: free; the law of the pool, with zone.free as the count */
} LAB_LINE_ALIGNED;

/* Address of the zone's struct lab_excl; 0 before there was one. */
extern LAB_HIDDEN lab_word_t lab_excl_current;

/** lab_excl_now() - the zone, wiped or not; NULL: there never was one */
static LAB_ALWAYS_INLINE struct lab_excl *lab_excl_now(void)
{
	/* acquire: pairs with publish() [excl.zone] */
	uint64_t word = atomic_load_explicit(&lab_excl_current, memory_order_acquire);

	return (struct lab_excl *)(uintptr_t)word;
}

/**
 * lab_excl_is_ours() - does this process have an exclusive zone
 *
 * False in a child of fork() or clone() until lab_excl_revive().
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.
 */
static LAB_ALWAYS_INLINE bool lab_excl_is_ours(void)
{
	const struct lab_excl *excl = lab_excl_now();

	return LAB_LIKELY(excl != NULL) && LAB_LIKELY(lab_word_get(&excl->born) != 0);
}

/** lab_excl_owner() - the owner byte of the page at @page, whose kind is LAB_KIND_EXCL
 *
 * Of an ancestor's page it is LAB_EXCL_FREE.
 */
static LAB_ALWAYS_INLINE lab_byte_t *lab_excl_owner(const void *page)
{
	return lab_live_byte(page, LAB_LIVE128_SHIFT);
}

/**
 * lab_excl_contains() - does an address lie in a page of this process's zone
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.
 */
bool lab_excl_contains(const void *page);

/**
 * lab_excl_init() - set the zone up, its first pages resident
 * @cap:      pages it may grow to, 0: none
 * @step:     pages to begin with
 * @dontdump: leave it out of core dumps
 *
 * Context: from the constructor.  System calls.
 * Return:  0 or a negative error: there is no zone, but the next
 *          lab_excl_revive() tries again.
 */
int lab_excl_init(unsigned int cap, unsigned int step, bool dontdump);

/**
 * lab_excl_revive() - a new zone for a process that has none
 *
 * Several may build at once: one wins, the others undo theirs.  Whoever is
 * frozen or abandoned in here stops nobody and leaks what it has built.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  System calls, mlock2(2) among them: for
 *          page calls that may sleep, never from malloc(), see
 *          lab_os_lock_on_fault().
 * Order:   releases [excl.zone].
 * Return:  true: there is a new one; see lab_pcp_touch_exclusive().
 */
bool lab_excl_revive(void);

/**
 * lab_excl_refill() - one step of residency, if the zone is below high
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  A system call (madvise), so never
 *          called for an atomic request.
 */
void lab_excl_refill(void);

/**
 * lab_excl_take() - 2^order pages, aligned to their size, if @floor stay free
 * @order: 0 .. LAB_EXCL_RUN_MAX
 * @floor: pages that must be left; the watermark the caller may go down to
 *
 * Context: MT-Safe, AS-Safe.  Lock-free.  No system call, no page fault, not
 *          even after fork().
 * Order:   acquires [pool.bits].
 * Return:  the first byte, live; NULL: not above the floor, or no such run.
 */
void *lab_excl_take(unsigned int order, uint64_t floor);

/**
 * lab_excl_take_some() - up to @want single pages above @floor, for a stack
 * @want:  1 .. 64
 * @pages: receives them; their owner byte is LAB_EXCL_STACKED
 *
 * Context: as lab_excl_take().  Return: how many.
 */
unsigned int lab_excl_take_some(unsigned int want, uint64_t floor, void **pages);

/** lab_excl_unstack() - a page from a stack, or meant for one, goes back to the zone
 *
 * Pages of an ancestor's zone, and what is not stacked, are dropped.
 */
void lab_excl_unstack(void *page);

enum lab_excl_verdict {
	LAB_EXCL_GIVEN,	    /* free again */
	LAB_EXCL_INHERITED, /* an ancestor's: counted, else nothing was done */
	LAB_EXCL_REFUSED    /* not in use so: nothing was done */
};

/**
 * lab_excl_give() - give back what is in use
 * @page:  any address in a frame of kind LAB_KIND_EXCL
 * @order: what it was taken with
 *
 * Of two who give the same page at once, one is refused.
 *
 * Context: MT-Safe, AS-Safe.  Lock-free, no system call.
 * Order:   releases [pool.bits].
 */
enum lab_excl_verdict lab_excl_give(void *page, unsigned int order);

/**
 * lab_excl_split() - make a run in use into single pages in use
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.
 * Return:  false: it is not in use so, nothing was done.  An ancestor's: true.
 */
LAB_NODISCARD bool lab_excl_split(void *page, unsigned int order);

/** lab_excl_add() - @n pages are free, from that of bit @bit on; for this part's own use */
void lab_excl_add(struct lab_excl *excl, size_t bit, size_t n);

/** lab_excl_complaint() - what the zone lacks, one line of text; NULL: nothing
 *
 * Context: MT-Safe, AS-Safe.  Wait-free.  The text stays where it is.
 */
const char *lab_excl_complaint(void);

static_assert(!((LAB_EXCL_LIVE | LAB_EXCL_RUN_MAX) & LAB_LIVE), "live bytes tell what is in use");

#endif /* LAB_PAGE_EXCLUSIVE_H */
