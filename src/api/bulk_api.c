/* SPDX-License-Identifier: MIT */
/* Many pages at once, sizes that are no power of two, and blocks made single. */
#include <errno.h>

#include "api/report.h"
#include "diag/watch.h"
#include "gfp/alloc.h"
#include "gfp/flags.h"
#include "gfp/reclaim.h"
#include "os/os.h"
#include "page/reserve.h"
#include "pcp/flow.h"

/*
 * The kind of the frame at @page, as lab_live_byte(page, LAB_PAGE_SHIFT) has it, with
 * what the map begins at in a register: the compiler cannot know that the bytes which
 * a loop stores are not part of it.
 */
static LAB_ALWAYS_INLINE lab_byte_t *kind_in(uintptr_t kinds, const void *page)
{
	return (lab_byte_t *)(kinds + ((uintptr_t)page >> LAB_PAGE_SHIFT));
}

/*
 * ---- bulk ----
 *
 * The loops over the caller's slots are unrolled: rolled up, these few instructions
 * took 4 cycles a page each (measured: 2.8 instead of 1.35 ns a page there and back).
 */

/* pages of this CPU's stack into @n empty slots; returns how many */
static size_t bulk_from_stack(size_t n, void **pages)
{
	unsigned int want =
		n < LAB_PCP_CAP(LAB_PCP_API) ? (unsigned int)n : LAB_PCP_CAP(LAB_PCP_API);
	unsigned int got = lab_pcp_pop_many(LAB_PCP_API, pages, want), i;
	const uintptr_t kinds = lab_mem.live[LAB_PAGE_SHIFT];

#pragma GCC unroll 8
	for (i = 0; i < got; i++)
		lab_byte_set(kind_in(kinds, pages[i]), LAB_KIND_API);
	/* an attempt that was interrupted may have written there */
	for (; i < want; i++)
		pages[i] = NULL;
	return got;
}

/* pages of the reserve, as long as it stays above low */
static size_t bulk_from_zone(size_t n, void **pages)
{
	struct lab_frames frames;
	unsigned int want = n < 64 ? (unsigned int)n : 64;
	uint64_t low = lab_word_get(&lab_zone_at(LAB_ZONE_RESERVE)->low), left;
	size_t i = 0;

	if (!lab_reserve_take_some(LAB_ZONE_RESERVE, want, low, &frames))
		return 0;
	for (left = frames.mask; left; left &= left - 1) {
		lab_pfn_t pfn = frames.pfn + lab_ctz(left);

		lab_kind_set(pfn, LAB_KIND_API);
		pages[i++] = lab_frame_address(pfn);
	}
	lab_flow_took(LAB_PCP_API, i);
	return i;
}

static void clear_all(size_t n, void **pages)
{
	for (; n > 0; n--, pages++)
		lab_os_clear(*pages, LAB_PAGE_BYTES);
}

static LAB_NOINLINE void bulk_watched(labyrinth_gfp_t gfp, size_t n, void *const *pages)
{
	const struct lab_request request = { .bytes = LAB_PAGE_BYTES, .gfp = gfp };
	size_t i;

	for (i = 0; i < n; i++)
		lab_watch_alloc(pages[i], &request);
}

static LAB_NOINLINE bool bulk_refused(labyrinth_gfp_t gfp)
{
	const struct lab_request request = { .bytes = LAB_PAGE_BYTES, .gfp = gfp };

	return lab_watch_refuses(&request);
}

/* some pages into the @n slots, which are empty; @first: nothing was had so far */
static size_t bulk_some(labyrinth_gfp_t gfp, size_t n, void **pages, bool first)
{
	size_t got = 0;

	if (!(gfp & LABYRINTH___GFP_EXCLUSIVE)) {
		got = bulk_from_stack(n, pages);
		if (!got)
			got = bulk_from_zone(n, pages);
		if (lab_is_watched())
			bulk_watched(gfp, got, pages);
		if (got && gfp & LABYRINTH___GFP_ZERO)
			clear_all(got, pages);
	}
	/* the kernel's way: below low one page, by all means, if there was none at all */
	if (!got && (first || gfp & LABYRINTH___GFP_EXCLUSIVE)) {
		pages[0] = labyrinth_alloc_page(gfp);
		got = pages[0] != NULL;
	}
	return got;
}

LAB_PUBLIC size_t labyrinth_alloc_pages_bulk(labyrinth_gfp_t gfp, size_t n, void **pages)
{
	size_t at = 0, end, got;
	bool first = true;

	if (!lab_gfp_check(&gfp, 0)) {
		lab_os_set_errno(EINVAL);
		n = 0;
	}
	gfp = lab_gfp_effective(gfp);
	if (lab_is_watched() && bulk_refused(gfp))
		n = 0;
	if (lab_gfp_zone(gfp) == LAB_ZONE_RESERVE && n)
		lab_reserve_draw();
	/* as any request that may make system calls: else the zone would never grow */
	if (gfp & LABYRINTH___GFP_DIRECT_RECLAIM && n)
		lab_refill();
	while (at < n) {
		if (pages[at]) {
			at++;
			continue;
		}
		for (end = at + 1; end < n && !pages[end]; end++)
			;
		got = bulk_some(gfp, end - at, &pages[at], first);
		if (!got)
			break;
		first = false;
		at += got;
	}
	return at;
}

/* what the stack would not have, to the zone, as many at once as share a bitmap word */
static void return_rest(void *const *pages, size_t n)
{
	lab_pfn_t base = 0, pfn;
	uint64_t mask = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		pfn = lab_pfn_of(pages[i]);
		if (mask && (pfn & ~63u) != base) {
			lab_zone_give_mask(base, mask);
			mask = 0;
		}
		base = pfn & ~63u;
		mask |= 1ull << pfn % 64;
		lab_kind_set(pfn, LAB_KIND_FREE);
	}
	if (mask)
		lab_zone_give_mask(base, mask);
	if (n)
		lab_flow_gave(LAB_PCP_API, n);
}

/* a live single page of the reserve: the shelf's; others go one by one */
static bool is_ours(const void *page)
{
	uintptr_t pfn = lab_pfn_exact(page);

	return lab_mem_covers_fast(pfn) && lab_byte_own(&lab_mem.kind[pfn]) == LAB_KIND_API;
}

/* pages that one step takes from the caller: who is abandoned in it leaks no more */
enum { FREE_STEP = 64 };

/* the first of @pages that the shelf takes are its own from here on; returns how many */
static size_t claim_ours(size_t n, void *const *pages)
{
	const uintptr_t kinds = lab_mem.live[LAB_PAGE_SHIFT], base = lab_mem.base;
	/* acquire: pairs with cover_more() [mem.covered] */
	const uint64_t covered = atomic_load_explicit(&lab_mem.covered, memory_order_acquire);
	size_t i;

#pragma GCC unroll 8
	for (i = 0; i < n; i++) {
		uintptr_t offset = (uintptr_t)pages[i] - base;
		lab_byte_t *kind = kind_in(kinds, pages[i]);

		/* as lab_pfn_exact() */
		if (LAB_UNLIKELY((offset >> LAB_PAGE_SHIFT | offset << (64 - LAB_PAGE_SHIFT)) >=
				 covered) ||
		    LAB_UNLIKELY(lab_byte_own(kind) != LAB_KIND_API))
			break;
		lab_byte_set(kind, LAB_PCP_API);
	}
	return i;
}

/* plain stores: what the compiler makes of such a loop begins slowly (rep stos) */
static void empty_slots(size_t n, void *volatile *pages)
{
	size_t i;

#pragma GCC unroll 8
	for (i = 0; i < n; i++)
		pages[i] = NULL;
}

static LAB_NOINLINE void bulk_free_watched(size_t n, void *const *pages)
{
	size_t i;

	for (i = 0; i < n; i++)
		lab_watch_free_pages(pages[i], 0);
}

LAB_PUBLIC void labyrinth_free_pages_bulk(size_t n, void **pages)
{
	size_t ours, stacked;

	for (; n > 0; n -= ours, pages += ours) {
		ours = claim_ours(n < FREE_STEP ? n : FREE_STEP, pages);
		if (LAB_LIKELY(ours)) {
			if (lab_is_watched())
				bulk_free_watched(ours, pages);
			stacked = lab_pcp_push_many(LAB_PCP_API, pages, (unsigned int)ours);
			return_rest(pages + stacked, ours - stacked);
		} else {
			labyrinth_free_page(pages[0]);
			ours = 1;
		}
		empty_slots(ours, pages);
	}
}

/* ---- exact sizes, and single pages of a block ---- */

/* frames of one block become single pages, given back each by itself */
static void make_single(lab_pfn_t pfn, unsigned int n)
{
	uint8_t kind = lab_zone_of(pfn) == LAB_ZONE_RESERVE ? LAB_KIND_API : LAB_KIND_ORDER;

	if (kind == LAB_KIND_API) {
		lab_flow_gave(LAB_FLOW_ORDER, 1);
		lab_flow_gave(LAB_FLOW_ORDER_PAGES, n);
		lab_flow_took(LAB_PCP_API, n);
	} else {
		lab_flow_took(LAB_FLOW_ORDER, n - 1);
	}
	for (; n > 0; n--, pfn++) {
		if (kind == LAB_KIND_ORDER)
			lab_word_set(&lab_frame_at(pfn)->npages, 0);
		lab_kind_set(pfn, kind);
	}
}

LAB_PUBLIC void labyrinth_split_page(void *page, unsigned int order)
{
	lab_pfn_t pfn = lab_pfn_of(page);

	if (lab_mem_kind(page) == LAB_KIND_EXCL) {
		if (!lab_excl_split(page, order))
			lab_report_split(page, order);
		else if (lab_is_watched())
			lab_watch_split(page, order);
		return;
	}
	if (lab_mem_kind(page) == LAB_KIND_ORDER && (uintptr_t)page % LAB_PAGE_BYTES == 0 &&
	    order <= LABYRINTH_MAX_PAGE_ORDER &&
	    lab_word_get(&lab_frame_at(pfn)->npages) == order) {
		if (lab_is_watched())
			lab_watch_split(page, order);
		make_single(pfn, 1u << order);
	} else if (order || !is_ours(page)) {
		lab_report_split(page, order);
	}
}

LAB_PUBLIC void *labyrinth_alloc_pages_exact(size_t size, labyrinth_gfp_t gfp)
{
	size_t n = (size + LAB_PAGE_BYTES - 1) / LAB_PAGE_BYTES, i;
	unsigned int order;
	char *pages;

	if (!size || size > (size_t)LAB_PAGE_BYTES << LABYRINTH_MAX_PAGE_ORDER) {
		lab_os_set_errno(EINVAL);
		return NULL;
	}
	order = lab_order_of(n);
	lab_gfp_check_exact(&gfp, order);
	pages = labyrinth_alloc_pages(gfp, order);
	if (!pages || order == 0)
		return pages;
	labyrinth_split_page(pages, order);
	for (i = n; i < 1ul << order; i++)
		labyrinth_free_page(pages + i * LAB_PAGE_BYTES);
	return pages;
}

LAB_PUBLIC void labyrinth_free_pages_exact(void *pages, size_t size)
{
	char *page = pages, *end = page + lab_align_up(size, LAB_PAGE_BYTES);

	for (; page && page < end; page += LAB_PAGE_BYTES)
		labyrinth_free_page(page);
}
