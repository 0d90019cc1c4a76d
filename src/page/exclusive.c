/* SPDX-License-Identifier: MIT */
/* The pages of the exclusive zone: taking, giving.  How it comes to be: exclusive_build.c. */
#include "page/exclusive.h"
#include "page/event.h"

lab_word_t lab_excl_current;

/* the zone, if it is of this process */
static struct lab_excl *ours(void)
{
	struct lab_excl *excl = lab_excl_now();

	return excl && lab_word_get(&excl->born) ? excl : NULL;
}

struct lab_zone *lab_zone_exclusive(void)
{
	struct lab_excl *excl = ours();

	return excl ? &excl->zone : &lab_zones[LAB_ZONE_EXCLUSIVE];
}

/*
 * Where the pages are, read before any is taken: afterwards fork() may have wiped
 * it.  What is read from a wiped zone is not used, as there are no bits to take.
 */
struct view {
	uintptr_t base;
	size_t origin;
};

static struct view view_of(const struct lab_excl *excl)
{
	struct view view = { excl->base, excl->origin };

	lab_forget();
	return view;
}

static void *page_at(const struct view *view, size_t bit)
{
	return (void *)(view->base + ((bit - view->origin) << LAB_PAGE_SHIFT));
}

/* the page's bit; SIZE_MAX: it is none of this zone */
static size_t bit_of(const struct lab_excl *excl, const void *page)
{
	struct view view = view_of(excl);
	uintptr_t offset = (uintptr_t)page - view.base;

	return offset < excl->bytes ? view.origin + (offset >> LAB_PAGE_SHIFT) : SIZE_MAX;
}

bool lab_excl_contains(const void *page)
{
	const struct lab_excl *excl = ours();

	return excl && bit_of(excl, page) != SIZE_MAX;
}

/* ---- the count ---- */

static bool step_above_floor(uint64_t *raw, uint64_t floor_and_n)
{
	uint64_t floor = floor_and_n >> 16, n = floor_and_n & 0xffff;

	if (*raw < floor + n)
		return false;
	*raw -= n;
	return true;
}

static bool count_take(struct lab_excl *excl, uint64_t floor, unsigned int n)
{
	uint64_t old;

	return lab_word_step(&excl->zone.free, &old, step_above_floor, floor << 16 | n,
			     memory_order_relaxed, memory_order_relaxed);
}

/* ---- the bits ---- */

/*
 * As lab_bits_take(), but a child of fork() in the middle of it finds no bits: it
 * was wiped.  Then the mask is 0.
 */
static struct lab_take bits_take(struct lab_excl *excl, unsigned int want)
{
	struct lab_take take = { .mask = 0 };
	size_t word = lab_word_get(&excl->hint), left;

	while (lab_word_get(&excl->born)) {
		for (left = excl->nwords; left > 0; left--, word++) {
			uint64_t seen;

			if (word >= excl->nwords)
				word = 0;
			seen = lab_word_get(&excl->bits[word]);
			while (seen) {
				take.word = (unsigned int)word;
				take.mask = lab_lowest(seen, want);
				/* acquire: pairs with lab_bits_give() [pool.bits] */
				if (atomic_compare_exchange_weak_explicit(
					    &excl->bits[word], &seen, seen & ~take.mask,
					    memory_order_acquire, memory_order_relaxed)) {
					lab_word_set(&excl->hint, word);
					return take;
				}
			}
		}
	}
	take.mask = 0;
	return take;
}

/* the count goes up by those that were not free already */
void lab_excl_add(struct lab_excl *excl, size_t bit, size_t n)
{
	size_t given = 0, word = bit / 64;

	if (word < lab_word_get(&excl->hint))
		lab_word_set(&excl->hint, word);
	while (n > 0) {
		unsigned int at = (unsigned int)(bit % 64);
		unsigned int len = n < 64 - at ? (unsigned int)n : 64 - at;

		given +=
			len - lab_popcount(lab_bits_give(&excl->bits[bit / 64], lab_mask(at, len)));
		bit += len;
		n -= len;
	}
	lab_word_add(&excl->zone.free, given);
}

/* ---- taking ---- */

/* the first bit of a run, or SIZE_MAX */
static size_t run_take(struct lab_excl *excl, unsigned int order, uint64_t floor)
{
	size_t bit;

	if (!lab_bits_may_have_run(excl->bits, excl->nwords, order) ||
	    !count_take(excl, floor, 1u << order))
		return SIZE_MAX;
	bit = lab_bits_take_run(excl->bits, excl->nwords, order);
	if (bit == SIZE_MAX)
		lab_word_add(&excl->zone.free, 1ull << order);
	return bit;
}

void *lab_excl_take(unsigned int order, uint64_t floor)
{
	struct lab_excl *excl = ours();
	struct view view;
	size_t bit, i;

	if (!excl || order > LAB_EXCL_RUN_MAX)
		return NULL;
	view = view_of(excl);
	bit = run_take(excl, order, floor);
	if (bit == SIZE_MAX)
		return NULL;
	lab_word_add(&excl->zone.taken, 1ull << order);
	for (i = 1; i < 1ul << order; i++)
		lab_byte_set(lab_excl_owner(page_at(&view, bit + i)), LAB_EXCL_BODY);
	lab_byte_set(lab_excl_owner(page_at(&view, bit)), (uint8_t)(LAB_EXCL_LIVE | order));
	return page_at(&view, bit);
}

unsigned int lab_excl_take_some(unsigned int want, uint64_t floor, void **pages)
{
	struct lab_excl *excl = ours();
	struct lab_take take;
	struct view view;
	unsigned int got = 0;

	if (!excl)
		return 0;
	view = view_of(excl);
	while (want && !count_take(excl, floor, want))
		want /= 2;
	if (!want)
		return 0;
	take = bits_take(excl, want);
	for (; take.mask; take.mask &= take.mask - 1) {
		pages[got] = page_at(&view, (size_t)take.word * 64 + lab_ctz(take.mask));
		lab_byte_set(lab_excl_owner(pages[got++]), LAB_EXCL_STACKED);
	}
	if (got < want)
		lab_word_add(&excl->zone.free, want - got);
	lab_word_add(&excl->zone.taken, got);
	return got;
}

/* ---- giving back ---- */

/* of several who try, one gets it */
static bool owner_swap(lab_byte_t *owner, unsigned int from, unsigned int to)
{
	uint8_t expect = (uint8_t)from;

	return atomic_compare_exchange_strong_explicit(owner, &expect, (uint8_t)to,
						       memory_order_relaxed, memory_order_relaxed);
}

/* the bytes of the @n pages from @page on */
static void owners_set(const char *page, size_t n, uint8_t value)
{
	size_t i;

	/* the first one last: it says that the others belong to it */
	for (i = n; i-- > 0;)
		lab_byte_set(lab_excl_owner(page + (i << LAB_PAGE_SHIFT)), value);
}

void lab_excl_unstack(void *page)
{
	struct lab_excl *excl = ours();
	size_t bit = excl ? bit_of(excl, page) : SIZE_MAX;

	if (owner_swap(lab_excl_owner(page), LAB_EXCL_STACKED, LAB_EXCL_FREE) && bit != SIZE_MAX)
		lab_excl_add(excl, bit, 1);
}

static enum lab_excl_verdict inherited(void)
{
	lab_event_add(LAB_EV_INHERITED_FREE, 1);
	return LAB_EXCL_INHERITED;
}

enum lab_excl_verdict lab_excl_give(void *page, unsigned int order)
{
	struct lab_excl *excl = ours();
	size_t bit = excl ? bit_of(excl, page) : SIZE_MAX, n = 1ul << order;

	if ((uintptr_t)page % LAB_PAGE_BYTES || order > LAB_EXCL_RUN_MAX)
		return LAB_EXCL_REFUSED;
	if (bit == SIZE_MAX)
		return inherited();
	if (!owner_swap(lab_excl_owner(page), LAB_EXCL_LIVE | order, LAB_EXCL_STACKED))
		return lab_word_get(&excl->born) ? LAB_EXCL_REFUSED : inherited();
	owners_set(page, n, LAB_EXCL_FREE);
	lab_excl_add(excl, bit, n);
	return LAB_EXCL_GIVEN;
}

bool lab_excl_split(void *page, unsigned int order)
{
	if ((uintptr_t)page % LAB_PAGE_BYTES || order > LAB_EXCL_RUN_MAX)
		return false;
	if (!lab_excl_contains(page))
		return true;
	/* refused, but by what fork() has wiped meanwhile */
	if (lab_byte_get(lab_excl_owner(page)) != (LAB_EXCL_LIVE | order))
		return !lab_excl_contains(page);
	owners_set(page, 1ul << order, LAB_EXCL_LIVE);
	return true;
}
